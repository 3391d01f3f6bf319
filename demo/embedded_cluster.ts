import { join } from "node:path";
import type { Handler } from "../routes/handler.ts";
import { GatewayServer } from "../server/gateway_server.ts";
import type { SocketTuner } from "../server/no_delay.ts";
import { issue, type Leaf, makeCa } from "../tests/support/certificates.ts";
import { createApi } from "./api/app.ts";
import { createKubelet } from "./kubelet/kubelet.ts";
import { PodRunner } from "./kubelet/pod_runner.ts";
import { Webhook } from "./kubelet/webhook.ts";
import { type ClusterState, createUsers, NODE_NAME, NODE_USER, readCluster, tokenOf } from "./manifest.ts";

const MANIFEST = new URL("cluster.yaml", import.meta.url);

/** What an embedded cluster is started with. */
export interface EmbeddedClusterOptions {
  /** Where it keeps its containers' folders (`pods/`) and its certificate; made where it is missing. */
  folder: string;
  /** Where commands of containers are found. @default {"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"} */
  path?: string | undefined;
  /** Turns Nagle's algorithm off at the kubelet. */
  tuner?: SocketTuner | undefined;
  /** Told of every request to the API server and to the kubelet, before it is answered. */
  onRequest?: (at: "apiserver" | "kubelet", request: Request) => void;
}

/** Where a container finds commands, if nothing else is said. */
const CONTAINER_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/**
 * A Kubernetes cluster of one node, in this process: an API server, a kubelet, and pods whose containers are folders and local
 * processes. Users, tokens and certificates are new each time.
 */
export class EmbeddedCluster implements AsyncDisposable {
  readonly #parts: AsyncDisposableStack;

  private constructor(
    /** PEM of the authority that signed everything here. */
    readonly ca: string,
    /** A certificate for the gateway, PEM. */
    readonly gatewayCertificate: Leaf,
    readonly state: ClusterState,
    /** Where the API server listens. */
    readonly apiServer: string,
    parts: AsyncDisposableStack,
  ) {
    this.#parts = parts;
  }

  /** Starts it. When this returns, all of it listens. @throws {Error} where a part cannot start; the others have ended then */
  static async start(
    { folder, path = CONTAINER_PATH, tuner, onRequest = () => {} }: EmbeddedClusterOptions,
  ): Promise<EmbeddedCluster> {
    await using starting = new AsyncDisposableStack();
    const ca = await makeCa("postern demo");
    const certificate = await issue(ca, {
      sans: ["127.0.0.1", "localhost", NODE_NAME],
      commonName: NODE_NAME,
    });
    const gatewayCertificate = await issue(ca, { commonName: "postern" });
    // The kubelet's port is part of the node, and the kubelet asks an API that knows the node: so it learns its work last.
    const work = Promise.withResolvers<Handler>();
    const kubelet = await listen(folder, certificate, work.promise, tuner);
    starting.defer(() => kubelet.close());

    const users = createUsers();
    const { port } = kubelet.address;
    const state = await readCluster(MANIFEST, { kubelet: { host: "127.0.0.1", port }, users });
    const { pods } = state;
    const podsFolder = join(folder, "pods");
    const runner = await PodRunner.start({ pods, podsFolder, path, cacheFolder: join(folder, "deno") });
    starting.use(runner);

    const ended = new AbortController();
    const app = createApi(state, {
      findLog: (pod, container) => runner.logOf(pod, container),
      ended: ended.signal,
    });
    const { cert, key } = certificate;
    const api = Deno.serve({ hostname: "127.0.0.1", port: 0, cert, key, onListen: () => {} }, (request) => {
      onRequest("apiserver", request);
      return app.fetch(request);
    });
    starting.defer(async () => {
      ended.abort();
      await api.shutdown();
    });
    const webhook = new Webhook(app.fetch, tokenOf(users, NODE_USER), NODE_NAME);
    const serve = createKubelet({ webhook, pods, containers: runner });
    work.resolve((request, context) => {
      onRequest("kubelet", request);
      return serve(request, context);
    });
    const server = `https://127.0.0.1:${api.addr.port}`;
    return new EmbeddedCluster(ca.cert, gatewayCertificate, state, server, starting.move());
  }

  /** Ends everything that was started, the processes of open sessions too. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#parts.disposeAsync();
  }
}

async function listen(
  folder: string,
  { cert, key }: Leaf,
  work: Promise<Handler>,
  tuner: SocketTuner | undefined,
): Promise<GatewayServer> {
  const certFile = join(folder, "cluster.crt");
  const keyFile = join(folder, "cluster.key");
  await Deno.writeTextFile(certFile, cert);
  await Deno.writeTextFile(keyFile, key, { mode: 0o600 });
  const options = { address: "127.0.0.1", port: 0, tls: { certFile, keyFile, reloadSeconds: 3600 } };
  const handler: Handler = async (request, context) => (await work)(request, context);
  return await GatewayServer.listen(options, handler, { tuner, onBadRequest: () => {}, report: () => {} });
}
