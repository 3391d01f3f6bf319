import { stringify } from "yaml";
import type { Cluster } from "./cluster.ts";
import { kubectl } from "./kubectl.ts";
import { asAdmin } from "./service_account.ts";

/** The one image that the cluster has. */
export const IMAGE = "postern.test/toolbox:1";

/** What a test may say of a container; the image is the cluster's. */
export interface ContainerSpec {
  command: readonly string[];
  stdin?: boolean;
  stdinOnce?: boolean;
  tty?: boolean;
}

/** A pod of a test's own, by the names of its containers. */
export interface PodSpec {
  containers: Record<string, ContainerSpec>;
  initContainers?: Record<string, ContainerSpec>;
}

/** A process that does nothing and never ends. */
export const ASLEEP = ["sleep", "2147483647"];

/**
 * Makes a pod in `default`, in place of one that an earlier run has left, and waits for it.
 *
 * @param state what `kubectl wait --for` says of it
 */
export async function createPod(
  cluster: Cluster,
  name: string,
  { containers, initContainers = {} }: PodSpec,
  state = "condition=Ready",
): Promise<void> {
  const list = (specs: Record<string, ContainerSpec>) =>
    Object.entries(specs).map(([name, spec]) => ({ name, image: IMAGE, imagePullPolicy: "Never", ...spec }));
  const pod = {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name, namespace: "default" },
    spec: {
      automountServiceAccountToken: false,
      dnsPolicy: "Default",
      terminationGracePeriodSeconds: 0,
      restartPolicy: "Never",
      initContainers: list(initContainers),
      containers: list(containers),
    },
  };
  await deletePod(cluster, name);
  await create(cluster, stringify(pod));
  await asAdmin(cluster, "wait", `pod/${name}`, `--for=${state}`, "--timeout=60s");
}

/** Ends a pod that a test has made; one that is not there is as good. */
export async function deletePod(cluster: Cluster, name: string): Promise<void> {
  await asAdmin(cluster, "delete", "pod", name, "--ignore-not-found", "--now");
}

async function create(cluster: Cluster, manifest: string): Promise<void> {
  const { code, stderr } = await kubectl({
    cluster,
    endpoint: cluster.paths,
    user: "admin",
    args: ["create", "-f", "-"],
    stdin: new TextEncoder().encode(manifest),
  });
  if (code !== 0) throw new Error(`kubectl create: ${new TextDecoder().decode(stderr)}`);
}
