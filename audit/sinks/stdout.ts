import { concat, type Sink, writeAll } from "../sink.ts";

const NEWLINE = new Uint8Array([10]);

/** Lines to the standard output, for a cluster's own log collection. As durable as what reads the other end. */
export class StdoutSink implements Sink {
  readonly name = "stdout";
  readonly #output: { write(bytes: Uint8Array): Promise<number> };
  #cut = false;

  /** @param output what is written to */
  constructor(output: { write(bytes: Uint8Array): Promise<number> } = Deno.stdout) {
    this.#output = output;
  }

  async write(lines: Uint8Array): Promise<void> {
    // After a failed write, the end of the last line is unknown: an empty line is better than two in one.
    const bytes = this.#cut ? concat([NEWLINE, lines]) : lines;
    this.#cut = true;
    await writeAll(this.#output, bytes);
    this.#cut = false;
  }

  close(): void {}
}
