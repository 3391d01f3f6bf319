/** How long a process may take to say that it is there. */
const ANNOUNCEMENT_MS = 30_000;

/** What a child is started with. */
export interface ChildOptions {
  /** What announces it, in lines. @default {"stdout"} */
  output?: "stdout" | "stderr";
  /** Whether its standard input stays open until {@linkcode Child.endInput}. @default {false} */
  input?: boolean;
  /** All of its environment. @default {that of this process} */
  env?: Readonly<Record<string, string>>;
}

/** A process of the lab. What it says comes in lines of JSON; what is no JSON is passed over. */
export class Child implements AsyncDisposable {
  readonly #process: Deno.ChildProcess;
  readonly #lines: AsyncIterator<unknown>;
  readonly #command: string;
  #input: WritableStreamDefaultWriter<Uint8Array> | undefined;

  private constructor(
    process: Deno.ChildProcess,
    output: "stdout" | "stderr",
    command: string,
    input: boolean,
  ) {
    this.#process = process;
    this.#command = command;
    this.#lines = parsedLines(process[output]);
    this.#input = input ? process.stdin.getWriter() : undefined;
  }

  /** Starts a program. */
  static spawn(
    command: readonly string[],
    { output = "stdout", input = false, env }: ChildOptions = {},
  ): Child {
    const [program = "", ...args] = command;
    const process = new Deno.Command(program, {
      args,
      ...(env !== undefined && { clearEnv: true, env }),
      stdin: input ? "piped" : "null",
      stdout: output === "stdout" ? "piped" : "null",
      stderr: output === "stderr" ? "piped" : "inherit",
    }).spawn();
    return new Child(process, output, command.slice(0, 3).join(" "), input);
  }

  get pid(): number {
    return this.#process.pid;
  }

  /**
   * Waits for a line that `read` makes something of.
   *
   * @throws {Error} with what the process said, where it ends before, or has not said it in time
   */
  async announced<T>(read: (line: unknown) => T | undefined, withinMs = ANNOUNCEMENT_MS): Promise<T> {
    const said: unknown[] = [];
    const late = setTimeout(() => this.#kill("SIGKILL"), withinMs);
    try {
      for (;;) {
        const { value, done } = await this.#lines.next();
        if (done) throw new Error(`${this.#command} ended, and said ${JSON.stringify(said).slice(0, 2_000)}`);
        const found = read(value);
        if (found !== undefined) return found;
        said.push(value);
      }
    } finally {
      clearTimeout(late);
    }
  }

  /** Drops whatever it says from now on, lest it wait for us. */
  ignore(): void {
    const drain = async () => {
      while (!(await this.#lines.next()).done);
    };
    drain();
  }

  /** Ends its standard input. */
  async endInput(): Promise<void> {
    const input = this.#input;
    this.#input = undefined;
    await input?.close().catch(() => {}); // it has ended
  }

  /** Its exit code. */
  async status(): Promise<number> {
    return (await this.#process.status).code;
  }

  /** Asks it to end; insists after 5 seconds. */
  async [Symbol.asyncDispose](): Promise<void> {
    const insist = setTimeout(() => this.#kill("SIGKILL"), 5_000);
    this.#kill("SIGTERM");
    await this.endInput();
    this.ignore();
    await this.#process.status;
    clearTimeout(insist);
  }

  #kill(signal: Deno.Signal): void {
    try {
      this.#process.kill(signal);
    } catch {
      // It has ended.
    }
  }
}

async function* parsedLines(output: ReadableStream<Uint8Array>): AsyncGenerator<unknown> {
  let rest = "";
  for await (const text of output.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + text).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) yield parseJson(line);
  }
}

function parseJson(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return line;
  }
}
