/**
 * The image as `deno task image` writes it, in a namespace that enforces the Pod Security Standard `restricted`: numeric
 * user, no capability, read-only root, seccomp. Each test has a pod of its own.
 */

import assert from "node:assert/strict";
import { join } from "node:path";
import { TestReceiver } from "../../audit/sinks/test_receiver.ts";
import { PostgresqlStore } from "../../catalog/stores/postgresql.ts";
import { readText, S3Client } from "../../recording/sinks/s3_client.ts";
import { buildImage, type Written } from "../../deploy/image/build.ts";
import { ownPlatform } from "../../deploy/image/platform.ts";
import { importImage } from "../cluster/containerd.ts";
import { layout } from "../cluster/layout.ts";
import { type Cluster, runningCluster, writeKubeconfig } from "./support/cluster.ts";
import { kubectl } from "./support/kubectl.ts";
import { PostgresqlServer } from "./support/postgresql.ts";
import { S3Server } from "./support/s3_server.ts";
import { asAdmin } from "./support/service_account.ts";
import { eventually } from "./support/wait.ts";
import { KUBELET, readReport, Ward } from "./support/ward.ts";
import { freePort } from "../support/free_port.ts";

const NAMESPACE = "e2e-image";

/** For what comes a moment later, however busy the machine is. */
const SOON = { deadlineMs: 120_000 };

/** For pods that share the machine's network, as `restricted` forbids: what the tests start listens on 127.0.0.1. */
const HOST_NAMESPACE = "e2e-image-host";

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
  const restricted = { "pod-security.kubernetes.io/enforce": "restricted" };
  await apply([
    { apiVersion: "v1", kind: "Namespace", metadata: { name: NAMESPACE, labels: restricted } },
    { apiVersion: "v1", kind: "Namespace", metadata: { name: HOST_NAMESPACE } },
  ]);
  const { paths: { gatewayCertificate, gatewayKey } } = cluster;
  await apply([
    // That named default comes some time after its namespace, and no pod is admitted before.
    ...[NAMESPACE, HOST_NAMESPACE].map((namespace) => ({
      ...{ apiVersion: "v1", kind: "ServiceAccount", metadata: { name: "postern", namespace } },
    })),
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
  await asAdmin(cluster, "delete", "namespace", NAMESPACE, HOST_NAMESPACE, "--ignore-not-found");
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
    }, { ...SOON, everyMs: 250 });
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
  await becomesReady(NAMESPACE, "serves");
  const log = await eventually("the thread of the index answers", async () => {
    const text = await asAdmin(cluster, "-n", NAMESPACE, "logs", "serves");
    return text.includes("the index of sessions has all events") ? text : undefined;
  }, SOON);
  assert.match(log, /"message":"listening"/);
  assert.doesNotMatch(log, /could not be tuned/); // libc was found, and was allowed
});

Deno.test("image: what it is granted is enough for every sink, for a session, and for the doctor", async () => {
  await using all = new AsyncDisposableStack();
  const ward = all.use(await Ward.open());
  const [webhook, otlp, traces] = [new TestReceiver(), new TestReceiver(), new TestReceiver()];
  for (const receiver of [webhook, otlp, traces]) all.use(receiver);
  const [postgresql, s3] = await Promise.all([PostgresqlServer.start(), S3Server.start()]);
  all.use(postgresql);
  all.use(s3);
  const key = await s3.requireSignatures();
  await s3.makeBucket("evidence", key);
  const [port, adminPort] = [freePort(), freePort()];

  const { paths } = cluster;
  for (const name of ["gatewayCertificate", "gatewayKey"] as const) {
    await ward.write(name, await Deno.readTextFile(paths[name]));
  }
  await ward.write("s3-id", key.id);
  await ward.write("s3-secret", key.secret);
  await ward.write("postgresql-url", postgresql.url());
  await ward.write("postgresql-ca", postgresql.ca);
  await ward.configure({
    server: {
      ...{ address: "127.0.0.1", port },
      tls: { certFile: "gatewayCertificate", keyFile: "gatewayKey" },
    },
    admin: { listener: "on", port: adminPort },
    upstream: { kubelet: KUBELET },
    audit: {
      sinks: [
        { type: "stdout" },
        { type: "file", path: "/var/log/postern/audit.log" },
        {
          type: "webhook",
          url: `http://127.0.0.1:${webhook.port}/events`,
          spool: { directory: "/var/log/postern/spool" },
        },
        { type: "otlp", url: `http://127.0.0.1:${otlp.port}/v1/logs` },
      ],
    },
    recording: {
      mode: "required",
      signingKeyFile: "recordings.key",
      sink: {
        ...{ type: "s3", endpoint: s3.url, region: "us-east-1", bucket: "evidence" },
        ...{ accessKeyIdFile: "s3-id", secretAccessKeyFile: "s3-secret" },
      },
    },
    index: {
      type: "postgresql",
      postgresql: { urlFile: "postgresql-url", caFile: "postgresql-ca" },
    },
  });
  const names = [...Deno.readDirSync(ward.folder)].filter(({ isFile }) => isFile).map(({ name }) => name);
  const stringData = Object.fromEntries(
    names.map((name) => [name, Deno.readTextFileSync(join(ward.folder, name))]),
  );
  const metadata = { name: "gateway", namespace: HOST_NAMESPACE };
  await apply([{ apiVersion: "v1", kind: "Secret", metadata, stringData }]);

  const mounts = [
    {
      name: "gateway",
      mountPath: "/etc/postern",
      volume: { secret: { secretName: "gateway", defaultMode: 0o440 } },
    },
    { name: "log", mountPath: "/var/log/postern", volume: { emptyDir: {} } },
  ];
  const env = Object.entries({
    OTEL_DENO: "true",
    OTEL_EXPORTER_OTLP_PROTOCOL: "http/json",
    OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${traces.port}`,
    OTEL_BSP_SCHEDULE_DELAY: "100",
  }).map(([name, value]) => ({ name, value }));
  const readinessProbe = {
    httpGet: { host: "127.0.0.1", path: "/readyz", port: adminPort },
    periodSeconds: 1,
  };
  all.defer(async () => {
    await asAdmin(cluster, "-n", HOST_NAMESPACE, "delete", "pod", "sinks", "--ignore-not-found");
  });
  await apply([onHost(podOf("sinks", { env, readinessProbe }, mounts))]);
  await becomesReady(HOST_NAMESPACE, "sinks");

  const kubeconfig = join(ward.folder, "clients-kubeconfig");
  await writeKubeconfig(cluster, `https://127.0.0.1:${port}`, kubeconfig);
  const said = crypto.randomUUID();
  const args = ["exec", "shell", "--", "sh", "-c", `echo ${said}; exit 7`];
  const session = await kubectl({ cluster, endpoint: { kubeconfig }, user: "alice", args, ...SOON });
  assert.deepEqual([session.code, decode(session.stdout)], [7, `${said}\n`], decode(session.stderr));

  for (const [what, receiver] of Object.entries({ webhook, otlp })) {
    await eventually(
      `the ${what} has the session`,
      () => receiver.posted.some(({ text }) => text.includes(said)) || undefined,
      SOON,
    );
  }
  await eventually(
    "its trace is told",
    () => traces.posted.some(({ text }) => /"name":\s*"exec"/.test(text)) || undefined,
    SOON,
  );
  const store = await PostgresqlStore.open({ url: postgresql.url(), ca: postgresql.ca });
  try {
    await eventually("the index has it", async () => {
      const rows = await store.query("select * from sessions");
      return JSON.stringify(rows).includes(said) || undefined;
    }, SOON);
  } finally {
    await store.close();
  }
  const credentials = {
    accessKeyIdFile: join(ward.folder, "s3-id"),
    secretAccessKeyFile: join(ward.folder, "s3-secret"),
  };
  using objects = await S3Client.open({
    endpoint: s3.url,
    region: "us-east-1",
    bucket: "evidence",
    credentials,
  });
  await eventually(
    "its recording is there",
    async () =>
      /<Key>/.test(await objects.send({ method: "GET", query: { "list-type": "2" } }, readText)) || undefined,
    SOON,
  );
  const log = await asAdmin(cluster, "-n", HOST_NAMESPACE, "logs", "sinks");
  assert.match(log, new RegExp(`"kind":"Event".*${said}`)); // the sink that is the standard output
  assert.doesNotMatch(log, /could not be tuned|PermissionDenied|NotCapable|Requires \w+ access/);

  // Inside of it, as the documents say.
  const doctor = await commandInDocs("doctor");
  const ask = ["-n", HOST_NAMESPACE, "exec", "sinks", "--", ...doctor, "--node", "node1", "--output", "json"];
  const examined = await kubectl({ cluster, endpoint: paths, user: "admin", args: ask, ...SOON });
  const { wrong } = readReport(examined.code, decode(examined.stdout));
  assert.deepEqual(wrong, []);
});

/** The image is copied, not stacked: on a busy machine that takes its time. */
async function becomesReady(namespace: string, pod: string): Promise<void> {
  try {
    await eventually(`pod ${pod} is ready`, async () => {
      const path = '{.status.conditions[?(@.type=="Ready")].status}';
      const answer = await asAdmin(cluster, "-n", namespace, "get", "pod", pod, "-o", `jsonpath=${path}`);
      return answer === "True" || undefined;
    }, { ...SOON, everyMs: 250 });
  } catch (error) {
    const log = await asAdmin(cluster, "-n", namespace, "logs", pod).catch(String);
    throw new Error(`${error}\n${log}`);
  }
}

/** What docs/doctor.md says to run in the gateway's pod. */
async function commandInDocs(command: string): Promise<string[]> {
  const text = await Deno.readTextFile(new URL(`../../docs/${command}.md`, import.meta.url));
  const [, found] = /^kubectl .* exec deploy\/postern -- (.*)$/m.exec(text) ?? [];
  assert.ok(found);
  return found.split(" ");
}

function decode(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
}

interface Mount {
  name: string;
  mountPath: string;
  volume: Record<string, unknown>;
}

/** A pod that `restricted` admits. */
function podOf(
  name: string,
  container: { args?: readonly string[]; env?: readonly unknown[]; readinessProbe?: unknown },
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

/** The same, with the machine's network. */
function onHost(pod: ReturnType<typeof podOf>) {
  const { metadata, spec } = pod;
  const securityContext = { ...spec.securityContext, fsGroup: 65532 };
  return {
    ...pod,
    metadata: { ...metadata, namespace: HOST_NAMESPACE },
    spec: { ...spec, securityContext, hostNetwork: true },
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
