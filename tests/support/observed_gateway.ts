import { generateKeyPairSync } from "node:crypto";
import { join } from "node:path";
import { stringify } from "yaml";
import { EmbeddedCluster } from "../../demo/embedded_cluster.ts";
import { GatewayProcess } from "../../demo/gateway_process.ts";
import { kubeconfig } from "../../demo/kubeconfig.ts";
import { GATEWAY_USER, tokenOf } from "../../demo/manifest.ts";
import { TcpProxy } from "../e2e/support/tcp_proxy.ts";
import { type Transcript, upgrade } from "./websocket_client.ts";

/** What the admin port answered. */
export interface AdminAnswer {
  status: number;
  body: string;
}

/** What the cluster was asked. */
export interface SeenRequest {
  at: "apiserver" | "kubelet";
  path: string;
  traceparent: string | null;
}

/** What a test may ask of its gateway. */
export interface ObservedOptions {
  /** Beside ours. */
  env?: Readonly<Record<string, string>>;
  /** @default {0} */
  shutdownDelaySeconds?: number;
}

/** The gateway as it ships with its admin port, in front of the embedded cluster, whose API server can be cut off. */
export class ObservedGateway implements AsyncDisposable {
  private constructor(
    readonly folder: string,
    readonly cluster: EmbeddedCluster,
    /** What API server and kubelet were asked so far. */
    readonly requests: readonly SeenRequest[],
    /** Between the gateway and the API server. */
    readonly apiServer: TcpProxy,
    readonly gateway: GatewayProcess,
    readonly adminUrl: string,
    readonly parts: AsyncDisposableStack,
  ) {}

  static async start({ env = {}, shutdownDelaySeconds = 0 }: ObservedOptions = {}): Promise<ObservedGateway> {
    await using starting = new AsyncDisposableStack();
    const folder = await Deno.makeTempDir({ prefix: "postern-observed-" });
    starting.defer(() => Deno.remove(folder, { recursive: true }));
    const requests: SeenRequest[] = [];
    const cluster = starting.use(
      await EmbeddedCluster.start({
        folder,
        onRequest: (at, { url, headers }) => {
          requests.push({ at, path: new URL(url).pathname, traceparent: headers.get("traceparent") });
        },
      }),
    );
    const apiServer = new TcpProxy(Number(new URL(cluster.apiServer).port));
    starting.defer(() => apiServer.close());
    const configuration = await configure(folder, cluster, apiServer.port, shutdownDelaySeconds);
    const log = join(folder, "gateway.log");
    const gateway = starting.use(await GatewayProcess.start(configuration, log, env));
    const adminUrl = `http://127.0.0.1:${await adminPort(log)}`;
    const parts = starting.move();
    return new ObservedGateway(folder, cluster, requests, apiServer, gateway, adminUrl, parts);
  }

  /** Runs a command in the pod `shell` to its end, over WebSocket. @returns what came; or the code of a refusal */
  async exec(user: string, argv: readonly string[], headers: readonly (readonly [string, string])[] = []) {
    return await this.#session(
      user,
      `exec?${new URLSearchParams(argv.map((word) => ["command", word]))}`,
      headers,
    );
  }

  async #session(
    user: string,
    path: string,
    headers: readonly (readonly [string, string])[],
  ): Promise<Transcript | number> {
    const { port } = this.gateway;
    const tls = await Deno.connectTls({ hostname: "127.0.0.1", port, caCerts: [this.cluster.ca] });
    try {
      const { answer, client } = await upgrade(tls, {
        path: `/api/v1/namespaces/default/pods/shell/${path}&stdout=true`,
        host: `127.0.0.1:${port}`,
        headers: [["Authorization", `Bearer ${tokenOf(this.cluster.state.users, user)}`], ...headers],
        protocols: ["v5.channel.k8s.io"],
      });
      return await client?.receiveAll() ?? answer.status;
    } finally {
      tls.close();
    }
  }

  /** Asks the admin port. */
  async ask(path: string): Promise<AdminAnswer> {
    using client = Deno.createHttpClient({ poolMaxIdlePerHost: 0 });
    const answer = await fetch(`${this.adminUrl}${path}`, { client });
    return { status: answer.status, body: await answer.text() };
  }

  /** Waits until the admin port's answer is one that is waited for. */
  async until(path: string, isIt: (answer: AdminAnswer) => boolean): Promise<AdminAnswer> {
    const endsAt = performance.now() + 60_000;
    for (;;) {
      const answer = await this.ask(path);
      if (isIt(answer)) return answer;
      if (performance.now() > endsAt) {
        throw new Error(`${path} still answers ${answer.status}: ${answer.body}`);
      }
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.parts.disposeAsync();
  }
}

/** @returns the configuration's path */
async function configure(
  folder: string,
  { gatewayCertificate, ca, state }: EmbeddedCluster,
  apiPort: number,
  shutdownDelaySeconds: number,
) {
  const write = async (name: string, text: string) => {
    await Deno.writeTextFile(join(folder, name), text, { mode: 0o600 });
    return join(folder, name);
  };
  await write("gateway.crt", gatewayCertificate.cert);
  await write("gateway.key", gatewayCertificate.key);
  const signing = generateKeyPairSync("ed25519").privateKey.export({ type: "pkcs8", format: "pem" });
  await write("recordings.key", signing.toString());
  const users = [{ name: "postern", token: tokenOf(state.users, GATEWAY_USER) }];
  const server = `https://127.0.0.1:${apiPort}`;
  await write("gateway.kubeconfig", kubeconfig({ server, ca, users }));
  return await write(
    "gateway.yaml",
    stringify({
      apiVersion: "postern.dev/v1alpha1",
      kind: "GatewayConfiguration",
      server: {
        address: "127.0.0.1",
        port: 0,
        tls: { certFile: "gateway.crt", keyFile: "gateway.key" },
        shutdownDelaySeconds,
        drainTimeoutSeconds: Math.max(2, shutdownDelaySeconds),
      },
      kubernetes: { kubeconfig: "gateway.kubeconfig" },
      upstream: { kubelet: { allowedAddresses: ["127.0.0.0/8"] } },
      audit: { sinks: [{ type: "file", path: "audit.log" }] },
      recording: { signingKeyFile: "recordings.key", sink: { type: "folder", path: "recordings" } },
      admin: { listener: "on", port: 0 },
    }),
  );
}

/** The log says it as soon as it listens. */
async function adminPort(log: string): Promise<number> {
  for (let attempt = 0; attempt < 2_400; attempt++) {
    for (const line of (await Deno.readTextFile(log)).split("\n").slice(0, -1)) {
      const { message, port } = JSON.parse(line);
      if (message === "the admin port listens") return port;
    }
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
  throw new Error("the admin port does not listen");
}
