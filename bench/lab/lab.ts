import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { z } from "zod";
import { Child } from "./child.ts";
import { type ControlPlane, prepareControlPlane, startControlPlane } from "./control_plane.ts";
import { type GatewayOptions, writeGatewayFiles } from "./gateway_files.ts";
import { buildPeers, Peers } from "./peers.ts";
import type { Route, RouteName } from "./route.ts";

/** How the lab is set up. */
export interface LabOptions {
  /** The gateway's program. */
  gateway: string;
  /** A folder for CPU profiles of the gateways, written when they end. */
  profileFolder?: string | undefined;
}

/** A gateway of its own, for a figure that wants a fresh one. */
export interface OwnGateway extends AsyncDisposable {
  route: Route;
  configFile: string;
}

/**
 * Everything that is measured, each in a process of its own: etcd and API server, the kubelet's streaming server, a bare
 * splice, gateways. The client is one more, started anew for each piece of work.
 */
export class Lab implements AsyncDisposable {
  readonly #started = new Map<RouteName, Promise<Route>>();
  readonly #resources: AsyncDisposableStack;
  #folders = 0;

  private constructor(
    readonly options: LabOptions,
    readonly folder: string,
    readonly controlPlane: ControlPlane,
    readonly peers: Peers,
    readonly upstream: Route,
    resources: AsyncDisposableStack,
  ) {
    this.#resources = resources;
  }

  static async open(options: LabOptions): Promise<Lab> {
    await using resources = new AsyncDisposableStack();
    const program = await buildPeers();
    const folder = await Deno.makeTempDir({ prefix: "postern-bench-" });
    resources.defer(() => Deno.remove(folder, { recursive: true }));
    const at = await prepareControlPlane(folder);
    const controlPlane = resources.use(await startControlPlane(at));
    const peers = new Peers(program, controlPlane.caFile, controlPlane.userTokenFile);
    // To the kubelet, gateways show a token of theirs, and the API server a certificate.
    const kubelet = new Peers(program, controlPlane.caFile, controlPlane.gatewayTokenFile);
    const { child, port } = await kubelet.upstream(join(at.pki, "kubelet.crt"), join(at.pki, "kubelet.key"));
    resources.use(child);
    await controlPlane.addPod(port);
    const upstream: Route = {
      name: "direct",
      url: `https://127.0.0.1:${port}`,
      isKubelet: true,
      pid: child.pid,
    };
    return new Lab(options, folder, controlPlane, peers, upstream, resources.move());
  }

  /** A route, which is started when it is first asked for. */
  route(name: RouteName): Promise<Route> {
    const started = this.#started.get(name) ?? this.#start(name);
    this.#started.set(name, started);
    return started;
  }

  /** Several of them, in the order asked for. */
  routes(names: readonly RouteName[]): Promise<Route[]> {
    return Promise.all(names.map((name) => this.route(name)));
  }

  /** Who comes by a route: a kubelet takes the gateway's token only. */
  clientOf({ isKubelet }: Route): Peers {
    if (!isKubelet) return this.peers;
    return new Peers(this.peers.program, this.peers.caFile, this.controlPlane.gatewayTokenFile);
  }

  /** A gateway that nobody else uses, started as `deno task start` does: with its permissions, and no more. */
  async ownGateway(options: GatewayOptions = {}): Promise<OwnGateway> {
    const configFile = await this.writeGateway(options);
    const child = await this.spawnGateway(configFile);
    try {
      const port = await child.announced((line) => Listening.safeParse(line).data?.port);
      child.ignore();
      const name = options.recording === "required"
        ? "gateway, recording"
        : options.upstream === "apiserver"
        ? "gateway, apiserver mode"
        : "gateway";
      return {
        route: { name, url: `https://127.0.0.1:${port}`, isKubelet: false, pid: child.pid },
        configFile,
        [Symbol.asyncDispose]: () => child[Symbol.asyncDispose](),
      };
    } catch (thrown) {
      await child[Symbol.asyncDispose]();
      throw thrown;
    }
  }

  /** Writes what a gateway is started with. @returns its configuration file */
  async writeGateway(options: GatewayOptions = {}): Promise<string> {
    const folder = join(this.folder, `gateway-${this.#folders++}`);
    await Deno.mkdir(folder);
    return await writeGatewayFiles(folder, this.controlPlane, options);
  }

  /** Starts the gateway's program; it does not listen yet. */
  async spawnGateway(configFile: string): Promise<Child> {
    const { gateway, profileFolder } = this.options;
    const settings = Task.parse(
      JSON.parse(await Deno.readTextFile(new URL("../../deno.json", import.meta.url))),
    );
    const flags = settings.tasks.start.command.split(" ").filter((word) => word.startsWith("--"));
    const profile = profileFolder === undefined
      ? []
      : ["--cpu-prof", `--cpu-prof-dir=${profileFolder}`, "--cpu-prof-md"];
    const command = [Deno.execPath(), "run", ...flags, ...profile, gateway, "--config", configFile];
    // As in an image: the variables of whoever measures, such as a list of authorities, are none of a gateway's.
    const env = { PATH: Deno.env.get("PATH") ?? "", HOME: this.folder, DENO_NO_UPDATE_CHECK: "1" };
    return Child.spawn(command, { output: "stderr", env });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#resources.disposeAsync();
  }

  async #start(name: RouteName): Promise<Route> {
    switch (name) {
      case "direct":
        return this.upstream;
      case "kube-apiserver":
        return { name, url: this.controlPlane.url, isKubelet: false, pid: this.controlPlane.pid };
      case "splice":
        return await this.#startSplice();
      case "gateway":
        return this.#resources.use(await this.ownGateway()).route;
      case "gateway, recording":
        return this.#resources.use(await this.ownGateway({ recording: "required" })).route;
      case "gateway, apiserver mode":
        return this.#resources.use(await this.ownGateway({ upstream: "apiserver" })).route;
    }
  }

  async #startSplice(): Promise<Route> {
    const program = fileURLToPath(new URL("../splice/main.ts", import.meta.url));
    const { pki } = this.controlPlane.at;
    const files = [join(pki, "kubelet.crt"), join(pki, "kubelet.key"), this.controlPlane.caFile];
    const command = [Deno.execPath(), "run", "-A", program, ...files, new URL(this.upstream.url).port];
    const child = this.#resources.use(Child.spawn(command));
    const port = await child.announced((line) =>
      z.object({ splice: z.number() }).safeParse(line).data?.splice
    );
    child.ignore();
    return { name: "splice", url: `https://127.0.0.1:${port}`, isKubelet: true, pid: child.pid };
  }
}

const Task = z.object({ tasks: z.object({ start: z.object({ command: z.string() }) }) });
const Listening = z.object({ message: z.literal("listening"), port: z.number() });
