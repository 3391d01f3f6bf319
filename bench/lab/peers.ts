/** The Go program that is both ends of the benchmark: `bench/go`. */

import { createHash } from "node:crypto";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { z } from "zod";
import { checkGo } from "../../tests/cluster/build.ts";
import { layout } from "../../tests/cluster/layout.ts";
import { run } from "../../tests/cluster/processes.ts";
import { Child } from "./child.ts";
import type { Route, Transport } from "./route.ts";

const MODULE = fileURLToPath(new URL("../go", import.meta.url));
const BUILD = ["build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w"];

/** Most that one piece of work may take. */
const WORK_DEADLINE_MS = 300_000;

/** Builds it, where that was not done from these sources. @returns its absolute path */
export async function buildPeers(): Promise<string> {
  const path = join(layout().bin, "bench-peers");
  const stamp = `${path}.sha256`;
  const hash = await sourceHash();
  const isBuilt = await Deno.stat(path).then(({ isFile }) => isFile, () => false);
  if (isBuilt && await Deno.readTextFile(stamp).catch(() => "") === hash) return path;
  await checkGo();
  await Deno.mkdir(layout().bin, { recursive: true });
  await run(["go", ...BUILD, "-o", path, "."], { cwd: MODULE, env: { CGO_ENABLED: "0" } });
  await Deno.writeTextFile(stamp, hash);
  return path;
}

async function sourceHash(): Promise<string> {
  const hash = createHash("sha256").update(BUILD.join(" "));
  const names = (await Array.fromAsync(Deno.readDir(MODULE))).map(({ name }) => name).sort();
  for (const name of names) hash.update(name).update(await Deno.readFile(join(MODULE, name)));
  return hash.digest("hex");
}

const Transferred = z.object({ bytes: z.number(), seconds: z.number() });
const Forwarded = Transferred.extend({ openMs: z.number() });
const Latencies = z.object({
  count: z.number(),
  p50Ms: z.number(),
  p99Ms: z.number(),
  seconds: z.number(),
  atMs: z.number(),
});

/** What was moved, and how long it took. */
export type Transferred = z.infer<typeof Transferred>;

/** The same of a port-forward; `openMs` is how long all its connections took to open. */
export type Forwarded = z.infer<typeof Forwarded>;

/** How long one of `count` things took; `seconds` is all of them, `atMs` when the last was done, since 1970. */
export type Latencies = z.infer<typeof Latencies>;

/** What is done over which protocol; the rest are flags of the program, see bench/go/main.go. */
export interface Work {
  transport: Transport;
  bytes?: number;
  content?: "letters" | "log" | "noise";
  count?: number;
  concurrency?: number;
  warm?: number;
  command?: "echo" | "burst";
  direction?: "source" | "sink" | "echo";
  connections?: number;
  /** A duration of Go's. */
  wait?: string;
}

/** Sessions that stay open until they are let go. */
export interface Held extends AsyncDisposable {
  opened: Latencies;
  /** Of the client's process. */
  pid: number;
  /** Ends them. @returns how many had ended before */
  release(): Promise<number>;
}

/** The client, as its user. */
export class Peers {
  constructor(readonly program: string, readonly caFile: string, readonly tokenFile: string) {}

  /** Starts the kubelet's streaming server. */
  async upstream(certFile: string, keyFile: string): Promise<{ child: Child; port: number }> {
    const files = [
      `--cert=${certFile}`,
      `--key=${keyFile}`,
      `--ca=${this.caFile}`,
      `--token=${this.tokenFile}`,
    ];
    const child = Child.spawn([this.program, "upstream", ...files]);
    const port = await child.announced((line) => z.object({ port: z.number() }).safeParse(line).data?.port);
    child.ignore();
    return { child, port };
  }

  stdout(route: Route, work: Work): Promise<Transferred> {
    return this.#once("stdout", route, work, Transferred);
  }

  stdin(route: Route, work: Work): Promise<Transferred> {
    return this.#once("stdin", route, work, Transferred);
  }

  forward(route: Route, work: Work): Promise<Forwarded> {
    return this.#once("forward", route, work, Forwarded);
  }

  echo(route: Route, work: Work): Promise<Latencies> {
    return this.#once("echo", route, work, Latencies);
  }

  open(route: Route, work: Work): Promise<Latencies> {
    return this.#once("open", route, work, Latencies);
  }

  /** Makes pods. @param tokenFile of someone who may */
  pods(url: string, tokenFile: string, work: Omit<Work, "transport">): Promise<Latencies> {
    const admin = new Peers(this.program, this.caFile, tokenFile);
    return admin.#once("pods", { url, isKubelet: false }, { ...work, transport: "spdy" }, Latencies);
  }

  /** Opens sessions that do nothing, or (`stall`) of which one side never reads what the other sends for ever. */
  async hold(verb: "hold" | "stall", route: Route, work: Work): Promise<Held> {
    const child = this.#spawn(verb, route, work, true);
    try {
      const opened = await child.announced((line) => Latencies.safeParse(line).data, WORK_DEADLINE_MS);
      const Lost = z.object({ lost: z.number() });
      return {
        opened,
        pid: child.pid,
        release: async () => {
          await child.endInput();
          return await child.announced((line) => Lost.safeParse(line).data?.lost);
        },
        [Symbol.asyncDispose]: () => child[Symbol.asyncDispose](),
      };
    } catch (thrown) {
      await child[Symbol.asyncDispose]();
      throw thrown;
    }
  }

  /** Output without end, until it is disposed of. */
  flood(route: Route, transport: Transport): Child {
    const child = this.#spawn("stdout", route, { transport, bytes: 0 }, false);
    child.ignore();
    return child;
  }

  async #once<T>(verb: string, route: Target, work: Work, schema: z.ZodType<T>): Promise<T> {
    await using child = this.#spawn(verb, route, work, false);
    return await child.announced((line) => schema.safeParse(line).data, WORK_DEADLINE_MS);
  }

  #spawn(verb: string, { url, isKubelet }: Target, work: Work, input: boolean): Child {
    const flags = Object.entries(work).map(([name, value]) => `--${name}=${value}`);
    const common = [
      `--url=${url}`,
      `--kubelet=${isKubelet}`,
      `--ca=${this.caFile}`,
      `--token=${this.tokenFile}`,
    ];
    return Child.spawn([this.program, verb, ...common, ...flags], { input });
  }
}

type Target = Pick<Route, "url" | "isKubelet">;
