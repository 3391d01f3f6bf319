import { stringify } from "yaml";
import { asAdmin } from "../../e2e/support/service_account.ts";
import type { Cluster } from "../../e2e/support/cluster.ts";
import { kubectl } from "../../e2e/support/kubectl.ts";
import { eventually } from "../../e2e/support/wait.ts";

/** The container that commands run in and attaches go to: it says something twice a second. */
export const CONTAINER = "talks";
/** The port that gives back what comes. */
export const ECHO_PORT = 7000;

const container = (name: string, command: string[]) => ({
  ...{ name, command, image: "postern.test/toolbox:1", imagePullPolicy: "Never" },
});

/** A pod of our own, which may be deleted and whose processes nobody misses. */
export class Pod implements AsyncDisposable {
  private constructor(readonly cluster: Cluster, readonly name: string) {}

  static async create(cluster: Cluster): Promise<Pod> {
    const pod = new Pod(cluster, `faults-${crypto.randomUUID().slice(0, 8)}`);
    const talk = "while :; do echo tick; sleep 0.5; done";
    const manifest = {
      ...{ apiVersion: "v1", kind: "Pod", metadata: { name: pod.name, namespace: "default" } },
      spec: {
        ...{ automountServiceAccountToken: false, dnsPolicy: "Default", terminationGracePeriodSeconds: 1 },
        containers: [
          container(CONTAINER, ["sh", "-c", talk]),
          container("echoes", ["toolbox-echo", `echo=${ECHO_PORT}`]),
        ],
      },
    };
    const stdin = new TextEncoder().encode(stringify(manifest));
    const run = { cluster, endpoint: cluster.paths, user: "admin" as const, stdin };
    const { code, stderr } = await kubectl({ ...run, args: ["create", "-f", "-"] });
    if (code !== 0) throw new Error(new TextDecoder().decode(stderr));
    // After an API server was killed, the scheduler takes most of a minute to come back to it.
    const ready = 'jsonpath={.status.conditions[?(@.type=="Ready")].status}';
    await eventually(
      "the pod is ready",
      async () => await asAdmin(cluster, "get", "pod", pod.name, "-o", ready) === "True" || undefined,
      { deadlineMs: 120_000, everyMs: 500 },
    );
    return pod;
  }

  /** Deletes it, as an operator would. */
  async delete(): Promise<void> {
    await asAdmin(this.cluster, "delete", "pod", this.name, "--ignore-not-found", "--wait=false");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.delete();
  }
}
