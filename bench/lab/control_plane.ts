/** etcd and a real API server of the benchmark's own, with the objects that a session needs, and no kubelet. */

import { join } from "node:path";
import { buildProgram, checkGo, programsToBuild } from "../../tests/cluster/build.ts";
import { makeCertificates } from "../../tests/cluster/certificates.ts";
import { apiServer, etcd } from "../../tests/cluster/control_plane.ts";
import { type Layout, layout } from "../../tests/cluster/layout.ts";
import { choosePorts } from "../../tests/cluster/ports.ts";
import { writeTokens } from "../../tests/cluster/users.ts";
import { waitUntil } from "../../tests/cluster/wait.ts";
import { Child } from "./child.ts";

const READY_DEADLINE_MS = 60_000;

/** The namespace of the one pod that sessions go to; bench/go knows it, too. */
const NAMESPACE = "bench";

/** An API server, and what is needed to come to it. */
export interface ControlPlane extends AsyncDisposable {
  url: string;
  /** Of the API server's process. */
  pid: number;
  at: Layout;
  /** PEM of the authority of every certificate. */
  caFile: string;
  /** A user who may open sessions in the namespace, and nothing else. */
  userTokenFile: string;
  /** The gateway's own. */
  gatewayTokenFile: string;
  /** Makes the node and its pod, which is said to be running. @param kubeletPort where its kubelet listens */
  addPod(kubeletPort: number): Promise<void>;
}

/** Makes certificates and users in `folder`; Kubernetes is built where the test cluster has not done so. */
export async function prepareControlPlane(folder: string): Promise<Layout> {
  const built = layout();
  await Deno.mkdir(built.bin, { recursive: true });
  if ((await programsToBuild(built)).includes("kube")) {
    await checkGo();
    await buildProgram(built, "kube");
  }
  const at: Layout = { ...layout(folder), kube: built.kube };
  for (const path of [at.pki, at.gateway, at.etc, at.etcd, at.log]) {
    await Deno.mkdir(path, { recursive: true, mode: 0o700 });
  }
  await makeCertificates(at);
  return at;
}

/** Starts both as the test cluster does, audit log and all; etcd need not wait for the disk. */
export async function startControlPlane(at: Layout): Promise<ControlPlane> {
  await using children = new AsyncDisposableStack();
  const ports = choosePorts();
  const tokens = await writeTokens(at);
  const tokenFile = async (name: "alice" | "root") => {
    const path = join(at.etc, `${name}.token`);
    await Deno.writeTextFile(path, tokens[name], { mode: 0o600 });
    return path;
  };
  children.use(
    quiet([...etcd(at, { ports }), "--unsafe-no-fsync", "--log-level=error"], join(at.log, "etcd.log")),
  );
  const server = children.use(quiet(apiServer(at, { ports }), join(at.log, "apiserver.log")));
  const url = `https://127.0.0.1:${ports.apiServer}`;
  const client = children.use(await adminClient(at));
  await waitUntil("the API server is ready", async () => {
    const response = await fetch(`${url}/readyz`, { client });
    await response.body?.cancel();
    return response.ok;
  }, { deadlineMs: READY_DEADLINE_MS });
  const apply = applier(url, client);
  for (const [path, object] of accounts()) await apply("POST", path, object);

  const owned = children.move();
  return {
    url,
    pid: server.pid,
    at,
    caFile: join(at.pki, "ca.crt"),
    userTokenFile: await tokenFile("alice"),
    gatewayTokenFile: await tokenFile("root"),
    addPod: async (kubeletPort) => {
      const status = nodeStatus(kubeletPort);
      await apply("POST", "/api/v1/nodes", { apiVersion: "v1", kind: "Node", metadata: { name: "node1" } });
      await apply("PATCH", "/api/v1/nodes/node1/status", { status });
      await apply("POST", `/api/v1/namespaces/${NAMESPACE}/pods`, pod());
      await apply("PATCH", `/api/v1/namespaces/${NAMESPACE}/pods/worker/status`, {
        status: { phase: "Running", containerStatuses: [containerStatus()] },
      });
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

function quiet(command: readonly string[], log: string): Child {
  const child = Child.spawn(["sh", "-c", 'log=$1; shift; exec "$@" >"$log" 2>&1', "sh", log, ...command]);
  child.ignore();
  return child;
}

/** system:masters, by certificate. */
async function adminClient(at: Layout): Promise<Deno.HttpClient> {
  const [ca, cert, key] = await Promise.all(
    ["ca.crt", "admin.crt", "admin.key"].map((name) => Deno.readTextFile(join(at.pki, name))),
  );
  return Deno.createHttpClient({ caCerts: [ca!], cert: cert!, key: key! });
}

function applier(url: string, client: Deno.HttpClient) {
  return async (method: "POST" | "PATCH", path: string, body: unknown): Promise<void> => {
    const type = method === "POST" ? "application/json" : "application/strategic-merge-patch+json";
    const headers = { "Content-Type": type };
    const response = await fetch(url + path, { client, method, headers, body: JSON.stringify(body) });
    const answer = await response.text();
    if (!response.ok) throw new Error(`${method} ${path} was answered ${response.status}: ${answer}`);
  };
}

/** Without a controller manager nobody makes the namespace's service account. */
function accounts(): [path: string, object: unknown][] {
  const rbac = "/apis/rbac.authorization.k8s.io/v1";
  const user = (name: string) => ({ kind: "User", name, apiGroup: "rbac.authorization.k8s.io" });
  const ref = (kind: string, name: string) => ({ kind, name, apiGroup: "rbac.authorization.k8s.io" });
  const of = { namespace: NAMESPACE };
  return [
    ["/api/v1/namespaces", { metadata: { name: NAMESPACE } }],
    [`/api/v1/namespaces/${NAMESPACE}/serviceaccounts`, { metadata: { name: "default" } }],
    [`${rbac}/clusterrolebindings`, {
      metadata: { name: "gateway" },
      roleRef: ref("ClusterRole", "cluster-admin"),
      subjects: [user("root")],
    }],
    [`${rbac}/namespaces/${NAMESPACE}/roles`, {
      metadata: { ...of, name: "sessions" },
      rules: [
        { apiGroups: [""], resources: ["pods"], verbs: ["get"] },
        {
          apiGroups: [""],
          resources: ["pods/exec", "pods/attach", "pods/portforward"],
          verbs: ["create", "get"],
        },
      ],
    }],
    [`${rbac}/namespaces/${NAMESPACE}/rolebindings`, {
      metadata: { ...of, name: "sessions" },
      roleRef: ref("Role", "sessions"),
      subjects: [user("alice")],
    }],
  ];
}

/** The API server goes by host name, which may well be an address. */
function nodeStatus(kubeletPort: number): unknown {
  return {
    addresses: [{ type: "Hostname", address: "127.0.0.1" }],
    daemonEndpoints: { kubeletEndpoint: { Port: kubeletPort } },
  };
}

/** What its kubelet would have said of it. */
function containerStatus(): unknown {
  const state = { running: { startedAt: new Date().toISOString() } };
  return { name: "main", ready: true, started: true, restartCount: 0, image: "", imageID: "", state };
}

function pod(): unknown {
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { namespace: NAMESPACE, name: "worker" },
    spec: {
      nodeName: "node1",
      automountServiceAccountToken: false,
      containers: [{ name: "main", image: "worker.example/main:1" }],
    },
  };
}
