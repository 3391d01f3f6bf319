/** A line that a container printed, and when, as RFC 3339 has it. */
export interface LogLine {
  at: string;
  text: string;
}

/** Lines that are kept; older ones are forgotten. */
const MAX_LINES = 1_000;

/** A longer line is cut, in characters. */
const MAX_LINE_LENGTH = 16_384;

/** What a container has printed since it was started, for `kubectl logs`. */
export class ContainerLog {
  readonly #lines: LogLine[] = [];
  readonly #followers = new Set<(line: LogLine) => void>();

  get lines(): readonly LogLine[] {
    return this.#lines;
  }

  append(text: string): void {
    const line = { at: new Date().toISOString(), text: text.slice(0, MAX_LINE_LENGTH) };
    this.#lines.push(line);
    this.#lines.splice(0, this.#lines.length - MAX_LINES);
    for (const follower of this.#followers) follower(line);
  }

  /** Tells what is printed from now on, until the function that it returns is called. */
  follow(onLine: (line: LogLine) => void): () => void {
    this.#followers.add(onLine);
    return () => this.#followers.delete(onLine);
  }

  /** Appends all lines of an output, until it ends. */
  async appendAll(output: ReadableStream<Uint8Array>): Promise<void> {
    let rest = "";
    for await (const text of output.pipeThrough(new TextDecoderStream())) {
      const lines = (rest + text).split("\n");
      rest = (lines.pop() ?? "").slice(0, MAX_LINE_LENGTH);
      for (const line of lines) this.append(line);
    }
    if (rest !== "") this.append(rest);
  }
}
