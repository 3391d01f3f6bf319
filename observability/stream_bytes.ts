/** What is looked at of a session's events. */
type SeenEvent =
  | { type: "data"; stream: string; direction: "in" | "out"; bytes: Uint8Array }
  | { type: "opened" | "half_closed" | "reset" };

/** Streams that have a name of their own; the connections of port-forwards are `data` and `error`. */
const NAMES = ["stdin", "stdout", "stderr", "error", "resize", "data", "other"] as const;
type StreamName = typeof NAMES[number];

/** Bytes of one stream's name, all sessions together. */
export type ByteCounts = Record<"in" | "out", number>;

/**
 * Counts the bytes of all sessions: a tap, which one and all share. It is on the way of every chunk, so it adds to a number and does
 * nothing else; the registry asks for the numbers when it is scraped.
 */
export class StreamBytes {
  readonly counts: Readonly<Record<StreamName, ByteCounts>>;
  readonly #byStream: ReadonlyMap<string, ByteCounts>;

  constructor() {
    const none = (): ByteCounts => ({ in: 0, out: 0 });
    this.counts = {
      ...{ stdin: none(), stdout: none(), stderr: none(), error: none(), resize: none() },
      ...{ data: none(), other: none() },
    };
    this.#byStream = new Map(Object.entries(this.counts));
  }

  push(event: SeenEvent): void {
    if (event.type !== "data") return;
    const counts = this.#byStream.get(event.stream) ?? this.#unknown(event.stream);
    counts[event.direction] += event.bytes.length;
  }

  /** `data:8080` and the like. */
  #unknown(stream: string): ByteCounts {
    return this.#byStream.get(stream.split(":", 1)[0] ?? "") ?? this.counts.other;
  }
}
