import { AuditError } from "./audit_error.ts";
import type { AuditEvent } from "./event.ts";
import { Lane, type LaneLimits, type LaneStatus } from "./lane.ts";
import { safeJson } from "./line.ts";
import type { Sink } from "./sink.ts";

/** Where events are made durable. */
export interface Journal {
  /**
   * Resolves when the required sinks have every event, one line each, in this order.
   *
   * Rejected events may be written all the same, wholly or in part: a line too many is evidence, a line too few
   * is none. So a caller that tries again may have them twice.
   *
   * @throws {AuditError} nothing else
   */
  append(events: readonly AuditEvent[]): Promise<void>;
  /** Takes nothing more, waits for what is under way no longer than the deadline, and ends the sinks. */
  close(): Promise<void>;
  status(): JournalStatus;
}

/** How the journal is doing: unhealthy means that sessions are refused. */
export interface JournalStatus {
  healthy: boolean;
  sinks: LaneStatus[];
}

/** Options of a {@linkcode SinkJournal}. */
export interface JournalOptions extends Partial<LaneLimits> {
  /** Every sink must have the events, or one of them; those of best effort aside. @default true */
  requireAll?: boolean;
  /** How long an append may take. @default 5000 */
  deadlineMs?: number;
  /** Told of every failed write, for the log. Must not throw. */
  onFailure?(sink: string, error: unknown): void;
}

const LIMITS: LaneLimits = { maxPendingBytes: 67108864, maxPendingEvents: 50000, maxBatchBytes: 1048576 };

/**
 * A journal over one or more sinks, each with a queue of its own, so that one does not wait for another.
 *
 * Callers are held back by the promise they wait for. What waits is bounded; past the bound an append is
 * rejected at once, for a disk that is too slow now will not be faster for a longer queue.
 */
export class SinkJournal implements Journal {
  readonly #lanes: Lane[];
  readonly #requireAll: boolean;
  readonly #deadlineMs: number;
  #closing: Promise<void> | undefined;

  constructor(sinks: readonly Sink[], options: JournalOptions = {}) {
    if (sinks.every((sink) => sink.isBestEffort)) throw new TypeError("a journal needs a sink that counts");
    const { requireAll = true, deadlineMs = 5000, onFailure = () => {}, ...limits } = options;
    this.#lanes = sinks.map((sink) => new Lane(sink, { ...LIMITS, ...limits }, onFailure));
    this.#requireAll = requireAll;
    this.#deadlineMs = deadlineMs;
  }

  async append(events: readonly AuditEvent[]): Promise<void> {
    if (this.#closing) throw new AuditError("closed", "the audit journal is closed");
    if (events.length === 0) return;
    const lines = new TextEncoder().encode(events.map((event) => `${safeJson(event)}\n`).join(""));
    const writes: Promise<void>[] = [];
    for (const lane of this.#lanes) {
      const write = lane.append(lines, events.length);
      // What a sink of best effort loses, its lane tells the log.
      if (lane.isBestEffort) write.catch(() => {});
      else writes.push(write);
    }
    await withDeadline(this.#requireAll ? Promise.all(writes) : anyOf(writes), this.#deadlineMs);
  }

  status(): JournalStatus {
    const sinks = this.#lanes.map((lane) => lane.status(this.#deadlineMs));
    const counting = sinks.filter(({ isBestEffort }) => !isBestEffort);
    const healthy = (sink: LaneStatus) => sink.healthy;
    return {
      healthy: !this.#closing && (this.#requireAll ? counting.every(healthy) : counting.some(healthy)),
      sinks,
    };
  }

  close(): Promise<void> {
    return this.#closing ??= this.#close();
  }

  async #close(): Promise<void> {
    const idle = Promise.all(this.#lanes.map((lane) => lane.idle()));
    // A sink that hangs must not keep the process from ending.
    await withDeadline(idle, this.#deadlineMs).catch(() => {});
    for (const lane of this.#lanes) lane.close();
  }
}

async function anyOf(writes: Promise<void>[]): Promise<void> {
  try {
    await Promise.any(writes);
  } catch (error) {
    // All failed; the first to be configured speaks for them.
    throw error instanceof AggregateError ? error.errors[0] : error;
  }
}

/** @throws {AuditError} `deadline` */
async function withDeadline(work: Promise<unknown>, deadlineMs: number): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const deadline = new Promise<never>((_, reject) => {
    const message = `the audit journal took longer than ${deadlineMs} ms`;
    timer = setTimeout(() => reject(new AuditError("deadline", message)), deadlineMs);
  });
  try {
    await Promise.race([work, deadline]);
  } finally {
    clearTimeout(timer);
  }
}
