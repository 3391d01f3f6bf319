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

  /** Appends the lines of an output, in whatever pieces it comes. */
  writer(): { write(bytes: Uint8Array): void; end(): void } {
    const utf8 = new TextDecoder();
    let rest = "";
    return {
      write: (bytes) => {
        const lines = (rest + utf8.decode(bytes, { stream: true })).split("\n");
        rest = (lines.pop() ?? "").slice(0, MAX_LINE_LENGTH);
        for (const line of lines) this.append(line);
      },
      end: () => {
        if (rest !== "") this.append(rest);
        rest = "";
      },
    };
  }
}
