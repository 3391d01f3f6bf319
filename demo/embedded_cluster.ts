import { join } from "node:path";
import { issue, makeCa } from "../tests/support/certificates.ts";
import { GatewayServer } from "../server/gateway_server.ts";
import { createApi } from "./api/app.ts";
import { createKubelet } from "./kubelet/kubelet.ts";
import { type ClusterState, createUsers, readCluster } from "./manifest.ts";

/** Lines of a container's output that are kept for `kubectl logs`. */
const LOG_LINES = 1_000;

/** The embedded one-node cluster: API server, kubelet, and the containers that run by themselves. */
export class EmbeddedCluster implements AsyncDisposable {
  readonly #api: Deno.HttpServer<Deno.NetAddr>;
  readonly #kubelet: GatewayServer;
  readonly #web: Deno.ChildProcess;
  readonly #reading: Promise<void>;

  private constructor(
    /** PEM of the authority that signed everything here. */
    readonly ca: string,
    /** A certificate for the gateway, PEM. */
    readonly gatewayCertificate: { cert: string; key: string },
    readonly state: ClusterState,
    parts: {
      api: Deno.HttpServer<Deno.NetAddr>;
      kubelet: GatewayServer;
      web: Deno.ChildProcess;
      reading: Promise<void>;
    },
  ) {
    this.#api = parts.api;
    this.#kubelet = parts.kubelet;
    this.#web = parts.web;
    this.#reading = parts.reading;
  }

  /** @param folder where it keeps its containers' folders and its certificate; made where it is missing */
  static async start(folder: string): Promise<EmbeddedCluster> {
    const ca = await makeCa("postern demo");
    const [server, gateway] = await Promise.all([
      issue(ca, { sans: ["127.0.0.1", "localhost", "demo-node"], commonName: "demo-node" }),
      issue(ca, { sans: ["127.0.0.1", "localhost"], commonName: "postern" }),
    ]);
    const certFile = join(folder, "cluster.crt");
    const keyFile = join(folder, "cluster.key");
    await Deno.mkdir(folder, { recursive: true });
    await Deno.writeTextFile(certFile, server.cert);
    await Deno.writeTextFile(keyFile, server.key, { mode: 0o600 });

    const users = createUsers();
    const podsFolder = join(folder, "pods");
    // The kubelet's port is part of the node, and the node is part of what the kubelet knows: so it is told later.
    let handler = createKubelet({ ...EMPTY, users }, { podsFolder, path: "" });
    const kubelet = await GatewayServer.listen(
      { address: "127.0.0.1", port: 0, tls: { certFile, keyFile, reloadSeconds: 3600 } },
      (request, context) => handler(request, context),
      { onBadRequest: () => {}, report: () => {} },
    );
    const address = { host: "127.0.0.1", port: kubelet.address.port };
    const state = await readCluster(new URL("cluster.yaml", import.meta.url), address, users);
    for (const { metadata, spec } of state.pods) {
      for (const { name } of [...spec?.initContainers ?? [], ...spec?.containers ?? []]) {
        await Deno.mkdir(join(podsFolder, metadata.name, name), { recursive: true });
      }
    }
    handler = createKubelet(state, { podsFolder, path: Deno.env.get("PATH") ?? "/usr/bin:/bin" });

    const web = startWeb(join(podsFolder, "web", "web"));
    const log: string[] = [];
    const reading = keepLines(web.stdout, log);
    const app = createApi(state, (pod, container) => {
      return pod.metadata.name === "web" && container === "web"
        ? log.map((line) => `${line}\n`).join("")
        : "";
    });
    const api = Deno.serve(
      { hostname: "127.0.0.1", port: 0, cert: server.cert, key: server.key, onListen: () => {} },
      app.fetch,
    );
    return new EmbeddedCluster(ca.cert, gateway, state, { api, kubelet, web, reading });
  }

  /** Where the API server listens. */
  get apiServer(): string {
    return `https://127.0.0.1:${this.#api.addr.port}`;
  }

  /** Ends everything that was started, the processes of open sessions too. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#kubelet.close();
    try {
      this.#web.kill("SIGKILL");
    } catch {
      // It has ended.
    }
    await this.#web.status;
    await this.#reading;
    // Watches would stay for ever.
    const done = this.#api.shutdown();
    await Promise.race([done, new Promise((resolve) => setTimeout(resolve, 500))]);
  }
}

/** A cluster before it is known. */
const EMPTY: Omit<ClusterState, "users"> = {
  policy: { roles: [], bindings: [] },
  pods: [],
  node: {},
  namespaces: [],
};

/** The HTTP server of the pod `web`: a process like those of any container. */
function startWeb(folder: string): Deno.ChildProcess {
  return new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "--no-config",
      "--no-prompt",
      "--allow-net=127.0.0.1",
      new URL("web.ts", import.meta.url).pathname,
    ],
    cwd: folder,
    clearEnv: true,
    env: { HOME: folder, NO_COLOR: "1" },
    stdout: "piped",
    stderr: "null",
  }).spawn();
}

async function keepLines(output: ReadableStream<Uint8Array>, lines: string[]): Promise<void> {
  let rest = "";
  for await (const text of output.pipeThrough(new TextDecoderStream())) {
    const parts = (rest + text).split("\n");
    rest = parts.pop() ?? "";
    lines.push(...parts);
    lines.splice(0, Math.max(0, lines.length - LOG_LINES));
  }
}
