/** A process of the lab, which says in a line of JSON where it listens. */
export class Child implements AsyncDisposable {
  readonly #process: Deno.ChildProcess;

  private constructor(process: Deno.ChildProcess) {
    this.#process = process;
  }

  get pid(): number {
    return this.#process.pid;
  }

  /**
   * Starts this Deno with `args`.
   *
   * @param output where the process announces itself
   * @param announcement takes what it needs from a line; `undefined` for any other line
   * @throws {Error} with what the process said, where it ends or says nothing within 20 seconds
   */
  static async start<T>(
    args: readonly string[],
    output: "stdout" | "stderr",
    announcement: (line: unknown) => T | undefined,
  ): Promise<{ child: Child; announced: T }> {
    const process = new Deno.Command(Deno.execPath(), {
      args: [...args],
      stdin: "null",
      stdout: output === "stdout" ? "piped" : "null",
      stderr: output === "stderr" ? "piped" : "inherit",
    }).spawn();
    const child = new Child(process);
    const timeout = setTimeout(() => process.kill("SIGKILL"), 20_000);
    try {
      return { child, announced: await firstAnnouncement(process[output], announcement) };
    } catch (cause) {
      await child[Symbol.asyncDispose]();
      throw new Error(`deno ${args.join(" ")} did not start`, { cause });
    } finally {
      clearTimeout(timeout);
    }
  }

  /** Asks it to end; insists after 5 seconds. */
  async [Symbol.asyncDispose](): Promise<void> {
    const insist = setTimeout(() => this.#kill("SIGKILL"), 5_000);
    this.#kill("SIGTERM");
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

/** Reads lines up to the one that is looked for. What comes later is dropped as it comes, lest the process wait for us. */
async function firstAnnouncement<T>(
  output: ReadableStream<Uint8Array>,
  announcement: (line: unknown) => T | undefined,
): Promise<T> {
  const reader = output.pipeThrough(new TextDecoderStream()).getReader();
  let said = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) throw new Error(`it ended, and said: ${said}`);
    said += value;
    for (const line of said.split("\n").slice(0, -1)) {
      const found = announcement(parseJson(line));
      if (found === undefined) continue;
      drain(reader);
      return found;
    }
  }
}

async function drain(reader: ReadableStreamDefaultReader<string>): Promise<void> {
  while (!(await reader.read()).done);
}

function parseJson(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}
