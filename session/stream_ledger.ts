import type { StreamEvent, Tap } from "./stream_event.ts";

/** One stream of a session, summed up. */
export interface StreamSummary {
  id: number;
  name: string;
  /** Bytes towards the pod. */
  bytesIn: number;
  /** Bytes towards the client. */
  bytesOut: number;
  openedAt: Date;
  durationMs: number;
  /** What ended it: each side's own end, a reset, or the end of the session. */
  endedBy: "closed" | "reset" | "session";
}

interface Entry extends StreamSummary {
  endedAtMs?: number;
  openedAtMs: number;
  halfClosed: Set<string>;
}

/** Counts what passes on each stream: the tap behind the audit's stream events. */
export class StreamLedger implements Tap {
  readonly #entries = new Map<number, Entry>();
  readonly #now: () => number;

  /** @param now the time in milliseconds since 1970 */
  constructor(now: () => number = Date.now) {
    this.#now = now;
  }

  push(event: StreamEvent): void {
    if (event.type === "opened") return this.#open(event.id, event.stream);
    const entry = this.#entries.get(event.id);
    if (entry === undefined) return;
    if (event.type === "data") {
      if (event.direction === "in") entry.bytesIn += event.bytes.length;
      else entry.bytesOut += event.bytes.length;
      return;
    }
    if (event.type === "half_closed") {
      entry.halfClosed.add(event.direction);
      if (entry.halfClosed.size < 2) return;
    }
    if (entry.endedAtMs !== undefined) return;
    entry.endedAtMs = this.#now();
    entry.endedBy = event.type === "reset" ? "reset" : "closed";
  }

  #open(id: number, name: string): void {
    const now = this.#now();
    this.#entries.set(id, {
      id,
      name,
      bytesIn: 0,
      bytesOut: 0,
      openedAt: new Date(now),
      openedAtMs: now,
      durationMs: 0,
      endedBy: "session",
      halfClosed: new Set(),
    });
  }

  /** All streams in the order of their opening; those still open are counted up to now. */
  summaries(): StreamSummary[] {
    const now = this.#now();
    return [...this.#entries.values()].map((entry) => ({
      id: entry.id,
      name: entry.name,
      bytesIn: entry.bytesIn,
      bytesOut: entry.bytesOut,
      openedAt: entry.openedAt,
      durationMs: (entry.endedAtMs ?? now) - entry.openedAtMs,
      endedBy: entry.endedBy,
    }));
  }
}
