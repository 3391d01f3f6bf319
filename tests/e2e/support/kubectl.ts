import type { Cluster, User } from "./cluster.ts";
import { DeadlineError, eventually, within } from "./wait.ts";

/** The three ways in which kubectl opens a session. */
export const CLIENTS = ["websocket", "spdy", "kubectl-1.20"] as const;

/** The same, and the kubectl of the cluster's own version in both of its ways. */
export const ALL_CLIENTS = [...CLIENTS, "kubectl-1.34", "kubectl-1.34-spdy"] as const;

/**
 * `websocket`: kubectl 1.32, protocol v5 over WebSocket. `spdy`: the same without WebSocket. `kubectl-1.20`: Debian's,
 * which knows nothing but SPDY and protocol v4. `kubectl-1.34`: over WebSocket, `kubectl-1.34-spdy` without.
 */
export type Client = typeof ALL_CLIENTS[number];

/** Where kubectl connects to: the API server itself, or the gateway. */
export interface Endpoint {
  kubeconfig: string;
}

/** One run of kubectl. */
export interface KubectlRun {
  cluster: Cluster;
  endpoint: Endpoint;
  /** @default {"websocket"} */
  client?: Client;
  /** @default {"root"} */
  user?: User;
  args: readonly string[];
  /**
   * Bytes or a stream, which are written and then ended; `open` is written to by hand; `none` is /dev/null.
   *
   * @default {"none"}
   */
  stdin?: Uint8Array | ReadableStream<Uint8Array> | "open" | "none";
  /** Takes the standard output piece by piece instead of keeping it. */
  onStdout?: (chunk: Uint8Array) => void;
  /** kubectl is killed and the test fails when it takes longer. @default {30_000} */
  deadlineMs?: number;
}

/** How a run ended. */
export interface Outcome {
  /** Exit code; 128 and the signal's number where a signal ended it. */
  code: number;
  stdout: Uint8Array;
  stderr: Uint8Array;
}

/** What is kept of an output; more is a mistake of the test. */
const MAX_KEPT_BYTES = 32 << 20;

/** Runs kubectl to its end. */
export async function kubectl(run: KubectlRun): Promise<Outcome> {
  return await Kubectl.start(run).outcome;
}

/** The command line and environment of a run; a terminal needs them too. */
export function commandOf({ cluster, endpoint, client = "websocket", user = "root", args }: KubectlRun) {
  const opensWebSockets = String(client === "websocket" || client === "kubectl-1.34");
  return {
    binary: binaryOf(cluster, client),
    args: ["--kubeconfig", endpoint.kubeconfig, "--context", user, ...args],
    env: {
      PATH: Deno.env.get("PATH") ?? "/usr/bin:/bin",
      // Where kubectl keeps what it has discovered of a server, by the server's address.
      HOME: `${cluster.directory}/home`,
      TERM: "xterm",
      KUBECTL_REMOTE_COMMAND_WEBSOCKETS: opensWebSockets,
      KUBECTL_PORT_FORWARD_WEBSOCKETS: opensWebSockets,
    },
  };
}

function binaryOf({ paths }: Cluster, client: Client): string {
  if (client === "kubectl-1.20") return paths.kubectl120;
  return client.startsWith("kubectl-1.34") ? paths.kubectl134 : paths.kubectl;
}

/** A kubectl that runs. */
export class Kubectl {
  readonly outcome: Promise<Outcome>;
  readonly #child: Deno.ChildProcess;
  readonly #stdout: Kept;
  readonly #stderr = new Kept();
  readonly #stdin: WritableStreamDefaultWriter<Uint8Array> | undefined;
  #isOver = false;

  static start(run: KubectlRun): Kubectl {
    const { binary, args, env } = commandOf(run);
    const command = new Deno.Command(binary, {
      args,
      env,
      clearEnv: true,
      stdin: run.stdin === undefined || run.stdin === "none" ? "null" : "piped",
      stdout: "piped",
      stderr: "piped",
    });
    return new Kubectl(command.spawn(), run);
  }

  private constructor(
    child: Deno.ChildProcess,
    { stdin, onStdout, deadlineMs = 30_000, ...run }: KubectlRun,
  ) {
    this.#child = child;
    this.#stdout = new Kept(onStdout);
    let writing: Promise<void> | undefined;
    if (stdin === "open") this.#stdin = child.stdin.getWriter();
    else if (stdin !== undefined && stdin !== "none") writing = feed(child.stdin, stdin);
    const what = `kubectl ${run.args.join(" ").slice(0, 200)} by ${run.endpoint.kubeconfig}`;
    this.outcome = this.#end(writing, deadlineMs, what);
    this.outcome.catch(() => {}); // whoever waits for it is told
  }

  get pid(): number {
    return this.#child.pid;
  }

  /** What was written so far, as text. */
  get stdoutText(): string {
    return this.#stdout.text();
  }

  /** Waits until the standard output holds a text. */
  async shows(text: string, deadlineMs = 10_000): Promise<void> {
    await this.#holds(this.#stdout, text, deadlineMs);
  }

  /** Waits until the standard error holds a text. */
  async showsError(text: string, deadlineMs = 10_000): Promise<void> {
    await this.#holds(this.#stderr, text, deadlineMs);
  }

  async #holds(output: Kept, text: string, deadlineMs: number): Promise<void> {
    await eventually(`kubectl writes ${JSON.stringify(text)}`, () => {
      if (output.text().includes(text)) return true;
      if (!this.#isOver) return undefined;
      throw new Error(`kubectl ended without ${JSON.stringify(text)}: ${this.#stderr.text()}`);
    }, { deadlineMs, everyMs: 20 });
  }

  async write(text: string): Promise<void> {
    await this.#stdin?.write(new TextEncoder().encode(text));
  }

  async endStdin(): Promise<void> {
    await this.#stdin?.close().catch(() => {}); // it may have ended before
  }

  kill(signal: Deno.Signal = "SIGKILL"): void {
    try {
      this.#child.kill(signal);
    } catch { /* it has ended */ }
  }

  async #end(
    writing: Promise<void> | undefined,
    deadlineMs: number,
    what: string,
  ): Promise<Outcome> {
    const ended = Promise.all([
      this.#child.status,
      this.#stdout.read(this.#child.stdout),
      this.#stderr.read(this.#child.stderr),
    ]);
    try {
      const [{ code }] = await within(deadlineMs, what, ended);
      return { code, stdout: this.#stdout.bytes(), stderr: this.#stderr.bytes() };
    } catch (error) {
      this.kill();
      await ended.catch(() => {});
      if (!(error instanceof DeadlineError)) throw error;
      const [stdout, stderr] = [this.#stdout.text().slice(-500), this.#stderr.text().slice(-500)];
      throw new DeadlineError(`${error.message}\nstdout: ${stdout}\nstderr: ${stderr}`);
    } finally {
      this.#isOver = true;
      await writing;
      await this.endStdin();
    }
  }
}

/** The bytes of an output that arrived so far. */
class Kept {
  #chunks: Uint8Array[] = [];
  #bytes = 0;

  constructor(readonly take?: (chunk: Uint8Array) => void) {}

  async read(stream: ReadableStream<Uint8Array>): Promise<void> {
    for await (const chunk of stream) {
      if (this.take !== undefined) {
        this.take(chunk);
        continue;
      }
      this.#bytes += chunk.length;
      if (this.#bytes > MAX_KEPT_BYTES) throw new Error(`kubectl wrote more than ${MAX_KEPT_BYTES} bytes`);
      this.#chunks.push(chunk);
    }
  }

  bytes(): Uint8Array {
    const all = new Uint8Array(this.#bytes);
    let at = 0;
    for (const chunk of this.#chunks) {
      all.set(chunk, at);
      at += chunk.length;
    }
    this.#chunks = [all];
    return all;
  }

  text(): string {
    return new TextDecoder().decode(this.bytes());
  }
}

/** Writes and ends. A kubectl that ends first has read enough. */
async function feed(
  stdin: WritableStream<Uint8Array>,
  source: Uint8Array | ReadableStream<Uint8Array>,
): Promise<void> {
  const stream = source instanceof Uint8Array ? new Blob([source.slice()]).stream() : source;
  await stream.pipeTo(stdin).catch(() => {});
}
