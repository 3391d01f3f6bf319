import { Buffer } from "node:buffer";
import { z } from "zod";
import type { Column } from "../columns.ts";
import type { Seen } from "../matrix.ts";
import { masked, shown } from "../transcript.ts";
import { within } from "../../e2e/support/wait.ts";

/** What a worker answers: outputs in Base64, everything else as text. */
const Reply = z.object({
  id: z.number(),
  /** Exit code, as far as the library says one. */
  code: z.number().nullable().optional(),
  outputs: z.record(z.string(), z.string()).optional(),
  /** What the library threw. */
  error: z.string().optional(),
});

type Reply = z.infer<typeof Reply>;

const DEADLINE_MS = 20_000;

/**
 * A program around a client library that takes one request a line and answers with one line each: starting an interpreter for
 * each of them would take longer than all else.
 */
export class Worker implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #stdin: WritableStreamDefaultWriter<Uint8Array>;
  readonly #waiting = new Map<number, PromiseWithResolvers<Reply>>();
  readonly #reading: Promise<void>;
  #lastId = 0;

  constructor(binary: string, args: readonly string[], env: Record<string, string> = {}) {
    this.#child = new Deno.Command(binary, {
      args: [...args],
      env,
      stdin: "piped",
      stdout: "piped",
      stderr: "inherit",
    })
      .spawn();
    this.#stdin = this.#child.stdin.getWriter();
    this.#reading = this.#read();
  }

  /** Asks for one thing; the answer as it is compared. @throws {DeadlineError} */
  async ask(at: Column, request: Record<string, unknown>): Promise<Seen> {
    const id = ++this.#lastId;
    const answer = Promise.withResolvers<Reply>();
    this.#waiting.set(id, answer);
    const line = JSON.stringify({ id, server: at.url, caFile: at.cluster.paths.caCertificate, ...request });
    await this.#stdin.write(new TextEncoder().encode(`${line}\n`));
    try {
      const { code, outputs = {}, error } = await within(
        DEADLINE_MS,
        `an answer to ${line.slice(0, 300)}`,
        answer.promise,
      );
      return {
        ...(code !== undefined && { "exit code": `${code}` }),
        ...Object.fromEntries(
          Object.entries(outputs).map(([name, base64]) => [name, shown(at, Buffer.from(base64, "base64"))]),
        ),
        ...(error !== undefined && { error: masked(at, error) }),
      };
    } finally {
      this.#waiting.delete(id);
    }
  }

  async #read(): Promise<void> {
    let held = "";
    for await (const text of this.#child.stdout.pipeThrough(new TextDecoderStream())) {
      const lines = (held + text).split("\n");
      held = lines.pop()!;
      for (const line of lines) {
        const reply = Reply.parse(JSON.parse(line));
        this.#waiting.get(reply.id)?.resolve(reply);
      }
    }
    for (const each of this.#waiting.values()) each.reject(new Error("the client's program has ended"));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stdin.close().catch(() => {});
    await within(3_000, "the client's program ends", this.#child.status).catch(() =>
      this.#child.kill("SIGKILL")
    );
    await this.#reading.catch(() => {});
  }
}
