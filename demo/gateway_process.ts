import { join } from "node:path";
import { fileURLToPath } from "node:url";

const CHECKOUT = fileURLToPath(new URL("..", import.meta.url));

/** How long it may take to listen, in milliseconds. */
const START_TIMEOUT_MS = 60_000;

/** How long it may take to end, in milliseconds, before it is killed. */
const STOP_TIMEOUT_MS = 10_000;

/** The gateway as it ships: `main.ts`, with the permissions of `deno task start`, in a process of its own. */
export class GatewayProcess implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #logging: Promise<void>;

  private constructor(child: Deno.ChildProcess, readonly port: number, logging: Promise<void>) {
    this.#child = child;
    this.#logging = logging;
  }

  /**
   * Starts it and waits until it listens.
   *
   * @param configuration a configuration file whose log is JSON
   * @param logFile takes what it logs
   * @param env added to ours
   * @throws {Error} with its last words where it does not start
   */
  static async start(
    configuration: string,
    logFile: string,
    env: Readonly<Record<string, string>> = {},
  ): Promise<GatewayProcess> {
    const child = new Deno.Command(Deno.execPath(), {
      args: [...await startArguments(), "--config", configuration],
      cwd: CHECKOUT,
      stdin: "null",
      stdout: "null",
      stderr: "piped",
      env: { NO_COLOR: "1", ...env },
      detached: true, // Ctrl-C is for us: the gateway is told by us, once, and ends in order
    }).spawn();
    const listening = Promise.withResolvers<number>();
    const logging = follow(child.stderr, logFile, (port) => listening.resolve(port));
    logging.then(
      (last) => listening.reject(new Error(`the gateway did not start: ${last}`)),
      (cause) => listening.reject(cause),
    );
    const timer = setTimeout(() => kill(child, "SIGKILL"), START_TIMEOUT_MS);
    try {
      const port = await listening.promise;
      return new GatewayProcess(child, port, logging.then(() => {}));
    } catch (cause) {
      kill(child, "SIGKILL");
      await child.status;
      throw cause;
    } finally {
      clearTimeout(timer);
    }
  }

  get pid(): number {
    return this.#child.pid;
  }

  /** Resolves when it has ended, whoever ended it. */
  get ended(): Promise<Deno.CommandStatus> {
    return this.#child.status;
  }

  /** Ends it as Kubernetes does: asks, waits a while, then insists. */
  async [Symbol.asyncDispose](): Promise<void> {
    kill(this.#child, "SIGTERM");
    const timer = setTimeout(() => kill(this.#child, "SIGKILL"), STOP_TIMEOUT_MS);
    await this.#child.status;
    clearTimeout(timer);
    await this.#logging;
  }
}

function kill(child: Deno.ChildProcess, signal: Deno.Signal): void {
  try {
    child.kill(signal);
  } catch {
    // It has ended.
  }
}

/** The arguments of `deno task start`, so that what the demo shows is what is run elsewhere. */
async function startArguments(): Promise<string[]> {
  const { tasks } = JSON.parse(await Deno.readTextFile(join(CHECKOUT, "deno.json")));
  const [, ...words] = String(tasks.start.command).split(" ");
  return words;
}

/** Copies a log to a file, tells the port when it is known, and returns the last line. */
async function follow(
  output: ReadableStream<Uint8Array>,
  file: string,
  onListening: (port: number) => void,
): Promise<string> {
  using target = await Deno.open(file, { create: true, write: true, truncate: true });
  let rest = "";
  let last = "";
  for await (const text of output.pipeThrough(new TextDecoderStream())) {
    await target.write(new TextEncoder().encode(text));
    const lines = (rest + text).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) {
      last = line;
      const port = readPort(line);
      if (port !== undefined) onListening(port);
    }
  }
  return rest || last;
}

function readPort(line: string): number | undefined {
  try {
    const entry = JSON.parse(line);
    return entry.message === "listening" ? entry.port : undefined;
  } catch {
    return undefined;
  }
}
