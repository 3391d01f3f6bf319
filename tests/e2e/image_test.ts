/**
 * The image as `deno task image` writes it, in a namespace that enforces the Pod Security Standard `restricted`: numeric
 * user, no capability, read-only root, seccomp. Each test has a pod of its own.
 */

import assert from "node:assert/strict";
import { buildImage, type Written } from "../../deploy/image/build.ts";
import { ownPlatform } from "../../deploy/image/platform.ts";
import { importImage } from "../cluster/containerd.ts";
import { layout } from "../cluster/layout.ts";
import { type Cluster, runningCluster } from "./support/cluster.ts";
import { asAdmin } from "./support/service_account.ts";
import { eventually } from "./support/wait.ts";

const NAMESPACE = "e2e-image";

const CONFIGURATION = `apiVersion: postern.dev/v1alpha1
kind: GatewayConfiguration
server:
  port: 8443
  tls:
    certFile: /etc/postern-tls/tls.crt
    keyFile: /etc/postern-tls/tls.key
audit:
  sinks:
    - type: file
      path: /var/log/postern/audit.log
recording:
  mode: "off"
index:
  type: sqlite
  sqlite:
    path: /var/log/postern/index.db
`;

let cluster: Cluster;
let written: Written;

Deno.test.beforeAll(async () => {
  cluster = await runningCluster();
  const folder = await Deno.makeTempDir({ prefix: "postern-e2e-image-" });
  try {
    written = await buildImage([ownPlatform()], folder);
    await importImage(layout(cluster.directory), written.archive);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
  await apply([{
    apiVersion: "v1",
    kind: "Namespace",
    metadata: { name: NAMESPACE, labels: { "pod-security.kubernetes.io/enforce": "restricted" } },
  }]);
  const { paths: { gatewayCertificate, gatewayKey } } = cluster;
  await apply([
    // That named default comes some time after its namespace, and no pod is admitted before.
    { apiVersion: "v1", kind: "ServiceAccount", metadata: { name: "postern", namespace: NAMESPACE } },
    {
      apiVersion: "v1",
      kind: "ConfigMap",
      metadata: { name: "gateway", namespace: NAMESPACE },
      data: { "gateway.yaml": CONFIGURATION },
    },
    {
      apiVersion: "v1",
      kind: "Secret",
      metadata: { name: "tls", namespace: NAMESPACE },
      stringData: {
        "tls.crt": await Deno.readTextFile(gatewayCertificate),
        "tls.key": await Deno.readTextFile(gatewayKey),
      },
    },
  ]);
});
Deno.test.afterAll(async () => {
  await asAdmin(cluster, "delete", "namespace", NAMESPACE, "--ignore-not-found");
});

Deno.test("image: made a second time, it has the same digest", async () => {
  const folder = await Deno.makeTempDir({ prefix: "postern-e2e-image-" });
  try {
    assert.equal((await buildImage([ownPlatform()], folder)).digest, written.digest);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

interface Row {
  name: string;
  pod: string;
  args: readonly string[];
  code: number;
  says: RegExp;
}

const rows: readonly Row[] = [
  {
    name: "the command answers",
    pod: "version",
    args: ["version"],
    code: 0,
    says: /^postern \d+\.\d+\.\d+\ndeno /,
  },
  {
    name: "a command explains itself",
    pod: "help",
    args: ["verify", "--help"],
    code: 0,
    says: /^Usage: postern verify /,
  },
  {
    name: "a command reads what lies in the image",
    pod: "inventory",
    args: ["config", "check", "/usr/share/sbom/postern.cdx.json"],
    code: 1,
    says: /postern\.cdx\.json:/,
  },
  {
    name: "the gateway says which file it misses",
    pod: "unconfigured",
    args: ["serve", "--config", "/etc/postern/none.yaml"],
    code: 1,
    says: /^\/etc\/postern\/none\.yaml: expected a file that can be read/,
  },
];

for (const { name, pod, args, code, says } of rows) {
  Deno.test(`image: ${name}`, async () => {
    await apply([podOf(pod, { args })]);
    const ended = await eventually(`pod ${pod} ends`, async () => {
      const path = "{.status.containerStatuses[0].state.terminated.exitCode}";
      const answer = await asAdmin(cluster, "-n", NAMESPACE, "get", "pod", pod, "-o", `jsonpath=${path}`);
      return answer === "" ? undefined : Number(answer);
    }, { deadlineMs: 60_000, everyMs: 250 });
    const log = await asAdmin(cluster, "-n", NAMESPACE, "logs", pod);
    assert.equal(ended, code, log);
    assert.match(log, says);
  });
}

Deno.test("image: the gateway serves, with its libraries, its threads and nothing but its volume to write to", async () => {
  const readinessProbe = { httpGet: { path: "/readyz", port: 8443, scheme: "HTTPS" }, periodSeconds: 1 };
  await apply([podOf("serves", { readinessProbe }, [
    { name: "gateway", mountPath: "/etc/postern", volume: { configMap: { name: "gateway" } } },
    { name: "tls", mountPath: "/etc/postern-tls", volume: { secret: { secretName: "tls" } } },
    { name: "log", mountPath: "/var/log/postern", volume: { emptyDir: {} } },
  ])]);
  await asAdmin(cluster, "-n", NAMESPACE, "wait", "pod/serves", "--for=condition=Ready", "--timeout=60s");
  const log = await eventually("the thread of the index answers", async () => {
    const text = await asAdmin(cluster, "-n", NAMESPACE, "logs", "serves");
    return text.includes("the index of sessions has all events") ? text : undefined;
  });
  assert.match(log, /"message":"listening"/);
  assert.doesNotMatch(log, /could not be tuned/); // libc was found, and was allowed
});

interface Mount {
  name: string;
  mountPath: string;
  volume: Record<string, unknown>;
}

/** A pod that `restricted` admits. */
function podOf(
  name: string,
  container: { args?: readonly string[]; readinessProbe?: unknown },
  mounts: readonly Mount[] = [],
) {
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name, namespace: NAMESPACE },
    spec: {
      serviceAccountName: "postern",
      restartPolicy: "Never",
      terminationGracePeriodSeconds: 15,
      securityContext: { runAsNonRoot: true, seccompProfile: { type: "RuntimeDefault" } },
      containers: [{
        name: "postern",
        image: written.name,
        imagePullPolicy: "Never",
        securityContext: {
          allowPrivilegeEscalation: false,
          readOnlyRootFilesystem: true,
          capabilities: { drop: ["ALL"] },
        },
        volumeMounts: mounts.map(({ name, mountPath }) => ({ name, mountPath })),
        ...container,
      }],
      volumes: mounts.map(({ name, volume }) => ({ name, ...volume })),
    },
  };
}

async function apply(objects: readonly unknown[]): Promise<void> {
  const file = await Deno.makeTempFile({ suffix: ".json" });
  try {
    await Deno.writeTextFile(file, JSON.stringify({ apiVersion: "v1", kind: "List", items: objects }));
    await asAdmin(cluster, "apply", "-f", file);
  } finally {
    await Deno.remove(file);
  }
}
