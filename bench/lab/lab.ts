import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { z } from "zod";
import { issue, makeCa } from "../../tests/support/certificates.ts";
import type { Route } from "../client/open_session.ts";
import { Child } from "./child.ts";
import { writeGatewayFiles } from "./gateway_files.ts";

/** How the lab is set up. */
export interface LabOptions {
  /** The gateway's program. */
  gateway: string;
  /** A folder for a CPU profile of the gateway, written when the lab is closed. */
  profileFolder?: string | undefined;
}

const HOST = "127.0.0.1";
const TOKEN = "bench-user-token";

/**
 * Everything that is measured, each in a process of its own: API server and kubelet, a bare splice, the gateway. The
 * client is the benchmark itself.
 */
export class Lab implements AsyncDisposable {
  private constructor(
    /** To the kubelet itself, through the bare splice, through the gateway, and through one that records. */
    readonly routes: { direct: Route; splice: Route; gateway: Route; recorded: Route },
    /** Process ids, by route: whose cost is the route's. The direct one has none. */
    readonly pids: { splice: number; gateway: number; recorded: number },
    /** For another lab like this one. */
    readonly options: LabOptions,
    private readonly resources: AsyncDisposableStack,
  ) {}

  static async open(options: LabOptions): Promise<Lab> {
    await using resources = new AsyncDisposableStack();
    const folder = await Deno.makeTempDir({ prefix: "postern-bench-" });
    resources.defer(() => Deno.remove(folder, { recursive: true }));
    const file = (name: string) => join(folder, name);
    const [certFile, keyFile, caFile] = [file("tls.crt"), file("tls.key"), file("ca.crt")];
    const ca = await makeCa("postern bench authority");
    const leaf = await issue(ca);
    await Promise.all([
      Deno.writeTextFile(certFile, leaf.cert),
      Deno.writeTextFile(keyFile, leaf.key),
      Deno.writeTextFile(caFile, ca.cert),
    ]);

    const upstream = await startOwn("upstream/main.ts", [certFile, keyFile]);
    resources.use(upstream.child);
    const { kubelet, api } = z.object({ kubelet: z.number(), api: z.number() }).parse(upstream.announced);
    const splice = await startOwn("upstream/splice.ts", [certFile, keyFile, caFile, String(kubelet)]);
    resources.use(splice.child);

    const startIn = async (name: string, isRecorded: boolean) => {
      const own = file(name);
      await Deno.mkdir(own);
      const files = { certFile, keyFile, caFile, apiPort: api, isRecorded };
      const started = await startGateway(options, await writeGatewayFiles(own, files));
      resources.use(started.child);
      return started;
    };
    const gateway = await startIn("gateway", false);
    const recorded = await startIn("recorded", true);

    const route = (name: Route["name"], port: number): Route => ({
      name,
      host: HOST,
      port,
      caCerts: [ca.cert],
      token: TOKEN,
    });
    return new Lab(
      {
        direct: route("direct", kubelet),
        splice: route("splice", z.object({ splice: z.number() }).parse(splice.announced).splice),
        gateway: route("gateway", gateway.announced),
        recorded: route("recorded", recorded.announced),
      },
      { splice: splice.child.pid, gateway: gateway.child.pid, recorded: recorded.child.pid },
      options,
      resources.move(),
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.resources.disposeAsync();
  }
}

/** Starts a program of the benchmark's own. */
function startOwn(program: string, args: readonly string[]) {
  const path = fileURLToPath(new URL(`../${program}`, import.meta.url));
  return Child.start(["run", "-A", path, ...args], "stdout", (line) => line);
}

const task = z.object({ tasks: z.object({ start: z.object({ command: z.string() }) }) });
const listening = z.object({ message: z.literal("listening"), port: z.number() });

/** Starts the gateway as `deno task start` does: with its permissions, and no more. */
async function startGateway({ gateway, profileFolder }: LabOptions, configFile: string) {
  const settings = task.parse(
    JSON.parse(await Deno.readTextFile(new URL("../../deno.json", import.meta.url))),
  );
  const flags = settings.tasks.start.command.split(" ").filter((word) => word.startsWith("--"));
  const profile = profileFolder === undefined
    ? []
    : ["--cpu-prof", `--cpu-prof-dir=${profileFolder}`, "--cpu-prof-md"];
  return await Child.start(
    ["run", ...flags, ...profile, gateway, "--config", configFile],
    "stderr",
    (line) => listening.safeParse(line).data?.port,
  );
}
