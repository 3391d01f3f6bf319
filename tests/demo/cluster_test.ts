/** The embedded cluster over TLS, without a gateway: SPDY to its kubelet and, where there is one, the real kubectl to its API. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { EmbeddedCluster } from "../../demo/embedded_cluster.ts";
import { kubeconfig } from "../../demo/kubeconfig.ts";
import { GATEWAY_USER, PEOPLE, tokenOf } from "../../demo/manifest.ts";
import { readResponseHead } from "../../protocol/http/response_head.ts";
import { StreamConnection } from "../../session/stream_connection.ts";
import { SpdyPeer } from "../support/spdy_peer.ts";

const KUBECTL = await findKubectl();

async function findKubectl(): Promise<string | undefined> {
  try {
    const { success } = await new Deno.Command("kubectl", { args: ["version", "--client"] }).output();
    return success ? "kubectl" : undefined;
  } catch {
    return undefined;
  }
}

/** A cluster in a folder of its own, with a kubeconfig that leads to its API directly. */
class TestCluster implements AsyncDisposable {
  private constructor(readonly cluster: EmbeddedCluster, readonly folder: string) {}

  static async start(): Promise<TestCluster> {
    const folder = await Deno.makeTempDir({ prefix: "postern-cluster-" });
    const cluster = await EmbeddedCluster.start({ folder });
    const users = PEOPLE.map((name) => ({ name, token: tokenOf(cluster.state.users, name) }));
    const text = kubeconfig({ server: cluster.apiServer, ca: cluster.ca, users });
    await Deno.writeTextFile(join(folder, "kubeconfig"), text);
    return new TestCluster(cluster, folder);
  }

  async kubectl(context: string, ...args: string[]) {
    const { code, stdout, stderr } = await new Deno.Command(KUBECTL!, {
      args: ["--kubeconfig", join(this.folder, "kubeconfig"), "--context", context, ...args],
      env: { KUBECACHEDIR: join(this.folder, "cache"), HOME: this.folder },
    }).output();
    const utf8 = new TextDecoder();
    return { code, stdout: utf8.decode(stdout), stderr: utf8.decode(stderr) };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.cluster[Symbol.asyncDispose]();
    await Deno.remove(this.folder, { recursive: true });
  }
}

function test(name: string, fn: (t: Deno.TestContext) => Promise<void>, ignore = false): void {
  Deno.test({ name, fn, ignore, sanitizeOps: true, sanitizeResources: true });
}

test("the kubelet speaks SPDY over TLS, on the port that the node tells", async () => {
  await using started = await TestCluster.start();
  const { cluster } = started;
  const port = cluster.state.node.status?.daemonEndpoints?.kubeletEndpoint?.Port;
  const tls = await Deno.connectTls({ hostname: "127.0.0.1", port: port!, caCerts: [cluster.ca] });
  const connection = new StreamConnection(tls);
  const head = [
    "POST /exec/default/web/web?command=sh&command=-c&command=echo+$PORT&output=1&error=1 HTTP/1.1",
    "Host: demo-node",
    `Authorization: Bearer ${tokenOf(cluster.state.users, GATEWAY_USER)}`,
    "Connection: Upgrade",
    "Upgrade: SPDY/3.1",
    "X-Stream-Protocol-Version: v4.channel.k8s.io",
    "Content-Length: 0",
  ];
  await connection.write(new TextEncoder().encode(`${head.join("\r\n")}\r\n\r\n`));
  const answer = readResponseHead((await connection.read())!, 65_536);
  assert.equal(answer?.status, 101);
  const peer = new SpdyPeer(connection);
  await peer.open("error", "stdout", "stderr");
  let output = "";
  for (let frame = await peer.next(); frame?.type !== "goaway"; frame = await peer.next()) {
    assert.ok(frame !== null, "the connection ended without GOAWAY");
    if (frame.type === "data" && frame.id === 3) output += frame.text;
  }
  peer.close();
  const page = await fetch(`http://127.0.0.1:${output.trim()}/`);
  assert.equal(await page.text(), "hello from the pod web\n");
});

const QUESTIONS = [
  {
    context: "alice",
    args: ["get", "pods"],
    code: 0,
    says: /^NAME +READY +STATUS +RESTARTS +AGE\ninit +0\/1 +Init:0\/1 +0 /,
  },
  {
    context: "alice",
    args: ["get", "pods", "-o", "wide"],
    code: 0,
    says: /web +2\/2 +Running .* demo-node /,
  },
  { context: "root", args: ["get", "pods,nodes,namespaces", "-A"], code: 0, says: /node\/demo-node +Ready/ },
  { context: "alice", args: ["get", "pods", "-l", "app=web", "-o", "name"], code: 0, says: /^pod\/web\n$/ },
  { context: "alice", args: ["describe", "pod", "init"], code: 0, says: /Reason: +PodInitializing/ },
  {
    context: "root",
    args: ["describe", "node", "demo-node"],
    code: 0,
    says: /Non-terminated Pods: +\(5 in total\)/,
  },
  { context: "alice", args: ["logs", "web", "--tail=1"], code: 0, says: /^listening on port \d+\n$/ },
  {
    context: "alice",
    args: ["api-resources"],
    code: 0,
    says: /selfsubjectrulesreviews .* authorization\.k8s\.io\/v1/,
  },
  { context: "alice", args: ["version"], code: 0, says: /Server Version: v1\.34/ },
  { context: "alice", args: ["auth", "whoami"], code: 0, says: /Username +alice/ },
  {
    context: "alice",
    args: ["auth", "can-i", "create", "pods", "--subresource=exec"],
    code: 0,
    says: /^yes/,
  },
  { context: "bob", args: ["auth", "can-i", "create", "pods", "--subresource=exec"], code: 1, says: /^no/ },
  {
    context: "bob",
    args: ["auth", "can-i", "--list"],
    code: 0,
    says: /pods\/log +\[\] +\[\] +\[get list watch\]/,
  },
  { context: "root", args: ["--as", "bob", "auth", "whoami"], code: 0, says: /Username +bob/ },
  {
    context: "alice",
    args: ["wait", "--for=condition=Ready", "pod/web", "--timeout=5s"],
    code: 0,
    says: /condition met/,
  },
  {
    context: "bob",
    args: ["delete", "pod", "web"],
    code: 1,
    says: /\(Forbidden\): pods "web" is forbidden/,
  },
  {
    context: "bob",
    args: ["get", "pods", "-n", "kube-system"],
    code: 1,
    says: /\(Forbidden\): pods is forbidden/,
  },
];
test(
  KUBECTL === undefined
    ? "kubectl is not on PATH: what it sees of the cluster is not tried"
    : "kubectl sees the cluster",
  async (t) => {
    await using started = await TestCluster.start();
    for (const { context, args, code, says } of QUESTIONS) {
      await t.step(`${context}: kubectl ${args.join(" ")}`, async () => {
        const answer = await started.kubectl(context, ...args);
        assert.match(answer.stdout + answer.stderr, says);
        assert.equal(answer.code, code);
      });
    }
  },
  KUBECTL === undefined,
);
