import { join } from "node:path";
import { stringify } from "yaml";
import { PrefixedConnection } from "../../session/prefixed_connection.ts";
import { StreamConnection } from "../../session/stream_connection.ts";
import { issue, parseAuthority } from "../cluster/certificates.ts";
import type { Cluster } from "../e2e/support/cluster.ts";
import { kubectl } from "../e2e/support/kubectl.ts";
import { IMAGE } from "../e2e/support/pods.ts";
import { asAdmin } from "../e2e/support/service_account.ts";
import { type MuxStream, SpdyMux } from "../support/spdy_mux.ts";

/** A pod whose kubelet does what is asked of it, right or wrong; and one whose kubelet is not there. */
export const FAKED = { pod: "conformance-faked", unreachable: "conformance-unreachable" } as const;

/** The streams of a command, all open, by their type. */
export type Streams = Readonly<Record<string, MuxStream>>;

/** What a kubelet does with a command of this name. */
export type Script =
  | { answer: string }
  | { protocol?: string | null; play(streams: Streams, mux: SpdyMux, tcp: Deno.TlsConn): Promise<void> };

/** What the pods' own nodes are called. */
const NODES = {
  [FAKED.pod]: "conformance-faked-node",
  [FAKED.unreachable]: "conformance-lost-node",
} as const;

/** The name by which the real node's kubelet is reached, too: it leads to this machine. */
const HOST = "node1";

/**
 * A kubelet of our own under a Node of its own, so that API server and gateway can both be shown what no kubelet does. Nothing is
 * scheduled there, and all is gone when it is closed.
 */
export class FakedKubelet implements AsyncDisposable {
  readonly #listener: Deno.TlsListener;
  readonly #scripts: Readonly<Record<string, Script>>;
  readonly #serving: Promise<void>;
  readonly #sessions = new Set<Promise<void>>();
  /** Heads of the requests that came, by the second word of their command. */
  readonly heads = new Map<string, string>();

  private constructor(
    readonly cluster: Cluster,
    listener: Deno.TlsListener,
    scripts: Readonly<Record<string, Script>>,
  ) {
    this.#listener = listener;
    this.#scripts = scripts;
    this.#serving = this.#serve();
  }

  static async open(cluster: Cluster, scripts: Readonly<Record<string, Script>>): Promise<FakedKubelet> {
    const authority = await parseAuthority({
      certificate: await Deno.readTextFile(cluster.paths.caCertificate),
      key: await Deno.readTextFile(join(cluster.directory, "pki", "ca.key")),
    });
    const { certificate: cert, key } = await issue(authority, { commonName: HOST, dnsNames: [HOST] });
    const listener = Deno.listenTls({ hostname: "127.0.0.1", port: 0, cert, key });
    const faked = new FakedKubelet(cluster, listener, scripts);
    await removeObjects(cluster);
    await createObjects(cluster, FAKED.pod, listener.addr.port);
    await createObjects(cluster, FAKED.unreachable, 9);
    return faked;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener.close();
    await this.#serving;
    await removeObjects(this.cluster);
  }

  async #serve(): Promise<void> {
    try {
      for await (const tcp of this.#listener) {
        const session = this.#answer(tcp).catch(() => {}).finally(() => {
          try {
            tcp.close();
          } catch { /* it was closed */ }
          this.#sessions.delete(session);
        });
        this.#sessions.add(session);
      }
    } catch { /* closed, or somebody who knows another authority */ }
  }

  async #answer(tcp: Deno.TlsConn): Promise<void> {
    const { head, rest } = await readHead(tcp);
    const target = new URL(head.split(" ")[1]!, "https://kubelet");
    const [name = "", word = ""] = target.searchParams.getAll("command");
    if (word !== "") this.heads.set(word, head);
    const script = this.#scripts[name] ?? { answer: refusal(404, "Not Found", "no such script") };
    if ("answer" in script) return void await tcp.write(new TextEncoder().encode(script.answer));
    const { protocol = "v4.channel.k8s.io", play } = script;
    const line = protocol === null ? "" : `X-Stream-Protocol-Version: ${protocol}\r\n`;
    const upgrade =
      `HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n${line}\r\n`;
    await tcp.write(new TextEncoder().encode(upgrade));
    const count = 1 +
      ["input", "output", "error"].filter((flag) => target.searchParams.get(flag) === "1").length;
    const { streams, mux } = await openStreams(
      new PrefixedConnection(rest, new StreamConnection(tcp)),
      count,
    );
    await play(streams, mux, tcp);
  }
}

/** An answer in plain text. */
export function refusal(code: number, reason: string, body: string, ...headers: string[]): string {
  const lines = [`HTTP/1.1 ${code} ${reason}`, "Content-Type: text/plain; charset=utf-8", ...headers];
  return [...lines, `Content-Length: ${body.length}`, "", body].join("\r\n");
}

async function openStreams(
  connection: PrefixedConnection,
  count: number,
): Promise<{ streams: Streams; mux: SpdyMux }> {
  const streams: Record<string, MuxStream> = {};
  const all = Promise.withResolvers<void>();
  const mux = new SpdyMux(connection, async (stream) => {
    await stream.accept();
    streams[stream.headers.get("streamtype") ?? ""] = stream;
    if (Object.keys(streams).length === count) all.resolve();
  });
  await Promise.race([all.promise, mux.ended]);
  return { streams, mux };
}

async function readHead(tcp: Deno.TlsConn): Promise<{ head: string; rest: Uint8Array }> {
  const buffer = new Uint8Array(16 << 10);
  let received = "";
  for (;;) {
    const count = await tcp.read(buffer);
    if (count === null) throw new Error("no request");
    received += String.fromCharCode(...buffer.subarray(0, count));
    const end = received.indexOf("\r\n\r\n");
    if (end < 0) continue;
    const rest = Uint8Array.from(received.slice(end + 4), (character) => character.charCodeAt(0));
    return { head: received.slice(0, end), rest };
  }
}

async function createObjects(cluster: Cluster, pod: keyof typeof NODES, port: number): Promise<void> {
  const node = NODES[pod];
  const tolerations = [{ operator: "Exists" }];
  const containers = [{ name: "faked", image: IMAGE, imagePullPolicy: "Never" }];
  await create(
    cluster,
    { apiVersion: "v1", kind: "Node", metadata: { name: node }, spec: { unschedulable: true } },
    {
      apiVersion: "v1",
      kind: "Pod",
      metadata: { name: pod, namespace: "default" },
      spec: { automountServiceAccountToken: false, nodeName: node, tolerations, containers },
    },
  );
  await patchStatus(cluster, `node/${node}`, {
    addresses: [{ type: "Hostname", address: HOST }],
    daemonEndpoints: { kubeletEndpoint: { Port: port } },
    conditions: [{ type: "Ready", status: "True", reason: "Faked", message: "" }],
  });
  const state = { running: { startedAt: new Date().toISOString() } };
  const status = {
    name: "faked",
    ready: true,
    started: true,
    restartCount: 0,
    image: IMAGE,
    imageID: IMAGE,
    state,
  };
  await patchStatus(cluster, `pod/${pod}`, { phase: "Running", containerStatuses: [status] });
}

async function patchStatus(cluster: Cluster, what: string, status: unknown): Promise<void> {
  await asAdmin(cluster, "patch", what, "--subresource=status", `--patch=${JSON.stringify({ status })}`);
}

async function create(cluster: Cluster, ...objects: readonly unknown[]): Promise<void> {
  const { code, stderr } = await kubectl({
    cluster,
    endpoint: cluster.paths,
    user: "admin",
    args: ["create", "-f", "-"],
    stdin: new TextEncoder().encode(objects.map((each) => stringify(each)).join("---\n")),
  });
  if (code !== 0) throw new Error(`kubectl create: ${new TextDecoder().decode(stderr)}`);
}

/** No kubelet confirms that these pods have ended. */
async function removeObjects(cluster: Cluster): Promise<void> {
  const pods = Object.keys(NODES);
  await asAdmin(cluster, "delete", "pod", ...pods, "--ignore-not-found", "--force", "--grace-period=0");
  await asAdmin(cluster, "delete", "node", ...Object.values(NODES), "--ignore-not-found");
}
