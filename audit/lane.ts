import { AuditError } from "./audit_error.ts";
import { concat, type QueueBounds, type Sink } from "./sink.ts";

/** Bounds of a lane. */
export interface LaneLimits extends QueueBounds {
  /** Bytes that are given to the sink at once; a longer append goes alone. */
  maxBatchBytes: number;
}

/** How a sink is doing. */
export interface LaneStatus {
  name: string;
  /** Sessions go on where it is not healthy. */
  isBestEffort: boolean;
  /** The last write went well, and none has been under way for longer than the deadline. */
  healthy: boolean;
  pendingEvents: number;
  pendingBytes: number;
  writtenEvents: number;
  /** Events whose append was rejected because of the sink. */
  failedEvents: number;
  /** Age of the oldest event that waits, what is being written among it, in milliseconds; 0 where none does. */
  oldestPendingMs: number;
  lastError?: string;
  lastErrorAt?: Date;
}

interface Entry {
  sinceMs: number;
  lines: Uint8Array;
  events: number;
  resolve(): void;
  reject(error: AuditError): void;
}

/**
 * The queue before one sink. What is appended while the sink is writing goes to it together afterwards, so that
 * many sessions share one write and one fsync. Order is kept.
 */
export class Lane {
  readonly #sink: Sink;
  readonly #limits: LaneLimits;
  readonly #onFailure: (sink: string, error: unknown) => void;
  #queue: Entry[] = [];
  #draining: Promise<void> | undefined;
  #writingSinceMs: number | undefined;
  /** When the oldest of what is being written was appended. */
  #writtenSinceMs: number | undefined;
  #pendingBytes = 0;
  #pendingEvents = 0;
  #writtenEvents = 0;
  #failedEvents = 0;
  #lastFailed = false;
  #isOverflowing = false;
  #lastError: { message: string; at: Date } | undefined;

  constructor(sink: Sink, limits: LaneLimits, onFailure: (sink: string, error: unknown) => void) {
    this.#sink = sink;
    this.#limits = { ...limits, ...sink.queue };
    this.#onFailure = onFailure;
  }

  /**
   * Resolves when the sink has the lines.
   *
   * @throws {AuditError} `queue_full` at once, `sink_failed` when the sink says so
   */
  append(lines: Uint8Array, events: number): Promise<void> {
    const { maxPendingBytes, maxPendingEvents } = this.#limits;
    if (
      this.#pendingBytes + lines.length > maxPendingBytes || this.#pendingEvents + events > maxPendingEvents
    ) {
      this.#failedEvents += events;
      return Promise.reject(this.#overflow());
    }
    this.#pendingBytes += lines.length;
    this.#pendingEvents += events;
    return new Promise((resolve, reject) => {
      this.#queue.push({ sinceMs: performance.now(), lines, events, resolve, reject });
      this.#draining ??= this.#drain();
    });
  }

  /** No append is to wait for this sink. */
  get isBestEffort(): boolean {
    return this.#sink.isBestEffort ?? false;
  }

  /** Resolves when nothing waits any more, written or not, and the sink has passed on what it can. */
  async idle(): Promise<void> {
    await this.#draining;
    await this.#sink.flush?.();
  }

  /** Ends the sink. What still waits is rejected by it. */
  close(): void {
    this.#sink.close();
  }

  /** @param stalledAfterMs how long one write may take before the sink counts as unhealthy */
  status(stalledAfterMs: number): LaneStatus {
    const since = this.#writingSinceMs;
    const oldest = this.#writtenSinceMs ?? this.#queue[0]?.sinceMs;
    const stalled = since !== undefined && performance.now() - since > stalledAfterMs;
    return {
      name: this.#sink.name,
      isBestEffort: this.isBestEffort,
      healthy: !this.#lastFailed && !stalled,
      pendingEvents: this.#pendingEvents,
      pendingBytes: this.#pendingBytes,
      writtenEvents: this.#writtenEvents,
      failedEvents: this.#failedEvents,
      oldestPendingMs: oldest === undefined ? 0 : performance.now() - oldest,
      ...(this.#lastError && { lastError: this.#lastError.message, lastErrorAt: this.#lastError.at }),
    };
  }

  async #drain(): Promise<void> {
    // One turn later, what is appended in this one shares the first write too.
    await Promise.resolve();
    while (this.#queue.length > 0) await this.#writeBatch(this.#takeBatch());
    this.#draining = undefined;
  }

  #takeBatch(): Entry[] {
    let bytes = 0;
    const end = this.#queue.findIndex(({ lines }, index) =>
      (bytes += lines.length) > this.#limits.maxBatchBytes && index > 0
    );
    return this.#queue.splice(0, end === -1 ? this.#queue.length : end);
  }

  async #writeBatch(batch: Entry[]): Promise<void> {
    const lines = concat(batch.map((entry) => entry.lines));
    const events = batch.reduce((sum, entry) => sum + entry.events, 0);
    this.#writingSinceMs = performance.now();
    this.#writtenSinceMs = batch[0]?.sinceMs;
    let failure: AuditError | undefined;
    try {
      await this.#sink.write(lines);
      this.#writtenEvents += events;
    } catch (cause) {
      failure = this.#failed(cause, events);
    }
    this.#lastFailed = failure !== undefined;
    this.#isOverflowing = false;
    this.#writingSinceMs = this.#writtenSinceMs = undefined;
    this.#pendingBytes -= lines.length;
    this.#pendingEvents -= events;
    for (const { resolve, reject } of batch) failure ? reject(failure) : resolve();
  }

  #overflow(): AuditError {
    const waiting = `${this.#pendingEvents} events of ${this.#pendingBytes} bytes are waiting`;
    const error = new AuditError("queue_full", `audit sink ${this.#sink.name}: ${waiting}`);
    // Whoever appends is told, but nobody is where nobody waits. Once is enough until there is room again.
    if (this.isBestEffort && !this.#isOverflowing) this.#onFailure(this.#sink.name, error);
    this.#isOverflowing = true;
    return error;
  }

  #failed(cause: unknown, events: number): AuditError {
    const message = cause instanceof Error ? cause.message : String(cause);
    this.#failedEvents += events;
    this.#lastError = { message, at: new Date() };
    this.#onFailure(this.#sink.name, cause);
    return new AuditError("sink_failed", `audit sink ${this.#sink.name}: ${message}`, { cause });
  }
}
