import type { Catalog } from "./catalog.ts";
import { type AuditEventLike, microTime, readEvent } from "./read_event.ts";

/** Options of a {@linkcode CatalogFeed}. */
export interface FeedOptions {
  /** Names this gateway's feed in the index; no two gateways may have the same. */
  name: string;
  /**
   * Events that were written before, from a time on, a few at a time: by them the feed catches up with what it missed while the
   * index was down, or this gateway was. Without it, `postern index rebuild` does.
   */
  replay?(since: string | undefined): AsyncIterable<readonly AuditEventLike[]>;
  /** Told when the index does not answer, and when it does again, for the log. Must not throw. */
  onChange?(status: FeedStatus): void;
  /** Bytes of events that wait, roughly. @default 33554432 */
  maxPendingBytes?: number;
  /** The first wait after a failure, in milliseconds; each further one is twice as long, up to 30 s. @default 500 */
  retryMs?: number;
}

/** How the index is doing. Sessions do not depend on it. */
export interface FeedStatus {
  /** The last events that were given to the index arrived there, and none is missing. */
  healthy: boolean;
  pendingEvents: number;
  appliedEvents: number;
  /** Events that did not fit into the queue and are not caught up with yet. */
  missedEvents: number;
  /** It is catching up with what was written before. */
  isCatchingUp: boolean;
  lastError?: string;
}

/** Events of one transaction: a few milliseconds of a file, so that no session waits for longer. */
const BATCH = 64;

const MAX_RETRY_MS = 30_000;

/** How much later than made an event may have come here, in milliseconds: sinks have a minute to acknowledge it. */
const SLACK_MS = 120_000;

/**
 * Brings the events of this gateway to the index, in the background.
 *
 * It holds up no session: what waits is bounded, and what does not fit is missed, told, and fetched from the audit files once the
 * index answers again. The same is done at the start, from where the feed had come; the first start reads all that there is.
 */
export class CatalogFeed {
  readonly #catalog: Catalog;
  readonly #options: Required<Omit<FeedOptions, "replay">> & Pick<FeedOptions, "replay">;
  #queue: { event: AuditEventLike; bytes: number }[] = [];
  #pendingBytes = 0;
  #appliedEvents = 0;
  #missedEvents = 0;
  /** From when on events are missing; `""` is from the first one on. */
  #missedSince: string | undefined;
  #lastError: string | undefined;
  #isCatchingUp = false;
  #isClosed = false;
  #working: Promise<void>;
  #wake = Promise.withResolvers<void>();

  constructor(catalog: Catalog, options: FeedOptions) {
    this.#catalog = catalog;
    this.#options = { maxPendingBytes: 33_554_432, retryMs: 500, onChange: () => {}, ...options };
    this.#working = this.#work();
  }

  /** Takes events that the sinks have. Never throws, never waits. */
  push(events: readonly AuditEventLike[]): void {
    if (this.#isClosed) return;
    for (const event of events) {
      const bytes = sizeOf(event);
      if (this.#pendingBytes + bytes > this.#options.maxPendingBytes) {
        this.#missedEvents++;
        this.#missed(event.stageTimestamp);
        continue;
      }
      this.#queue.push({ event, bytes });
      this.#pendingBytes += bytes;
    }
    this.#wake.resolve();
  }

  status(): FeedStatus {
    return {
      healthy: this.#lastError === undefined && this.#missedEvents === 0,
      pendingEvents: this.#queue.length,
      appliedEvents: this.#appliedEvents,
      missedEvents: this.#missedEvents,
      isCatchingUp: this.#isCatchingUp,
      ...(this.#lastError !== undefined && { lastError: this.#lastError }),
    };
  }

  /** Takes nothing more, and waits for what is under way no longer than this. What is left is caught up with at the next start. */
  async close(deadlineMs = 5_000): Promise<void> {
    this.#isClosed = true;
    this.#wake.resolve();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const deadline = new Promise<void>((resolve) => timer = setTimeout(resolve, deadlineMs));
    await Promise.race([this.#working, deadline]);
    clearTimeout(timer);
  }

  async #work(): Promise<void> {
    await this.#persist(async () => {
      // Only what can be fetched again is worth to be called missing.
      const until = await this.#catalog.progress(this.#options.name);
      if (this.#options.replay) this.#missed(until ?? "");
    });
    while (!this.#isClosed || this.#queue.length > 0) {
      if (this.#queue.length > 0) await this.#applyBatch();
      else if (this.#missedSince !== undefined && this.#options.replay) {
        await this.#catchUp(this.#options.replay);
      } else await this.#pushed();
      if (this.#isClosed && this.#lastError !== undefined) return;
    }
  }

  /** Resolves at the next push or close. */
  async #pushed(): Promise<void> {
    await this.#wake.promise;
    this.#wake = Promise.withResolvers();
  }

  async #applyBatch(): Promise<void> {
    const batch = this.#queue.slice(0, BATCH);
    const last = batch.at(-1)?.event.stageTimestamp;
    // The mark stays where something is missing until that is there.
    const isWhole = this.#missedSince === undefined && !this.#isCatchingUp && last !== undefined;
    const progress = isWhole ? { feed: this.#options.name, until: earlier(last) } : undefined;
    const isApplied = await this.#persist(async () => {
      await this.#catalog.apply(batch.map(({ event }) => event).filter(isReadable), progress);
      this.#appliedEvents += batch.length;
    });
    if (!isApplied) return;
    this.#queue.splice(0, batch.length);
    this.#pendingBytes -= batch.reduce((sum, { bytes }) => sum + bytes, 0);
    await nextTurn();
  }

  /** Reads again what was written since, without holding up what is new. */
  async #catchUp(replay: NonNullable<FeedOptions["replay"]>): Promise<void> {
    const since = this.#missedSince;
    const missed = this.#missedEvents;
    this.#missedSince = undefined;
    this.#isCatchingUp = true;
    let isWhole = false;
    await this.#persist(async () => {
      for await (const batch of replay(since || undefined)) {
        await this.#catalog.apply(batch.filter(isReadable));
        this.#appliedEvents += batch.length;
        await nextTurn();
        while (this.#queue.length > 0 && !this.#isClosed) await this.#applyBatch();
        if (this.#isClosed) return;
      }
      isWhole = true;
    }, 1);
    this.#isCatchingUp = false;
    if (isWhole) {
      this.#missedEvents -= missed;
      this.#options.onChange(this.status());
    } else if (since !== undefined) {
      this.#missed(since);
    }
  }

  #missed(since: string): void {
    this.#missedSince = this.#missedSince === undefined || since < this.#missedSince
      ? since
      : this.#missedSince;
  }

  /** Does something until it is done, the feed is closed, or it has failed so often. Says when it begins and ceases to fail. */
  async #persist(work: () => Promise<void>, attempts = Infinity): Promise<boolean> {
    let waitMs = this.#options.retryMs;
    for (let attempt = 1;; attempt++) {
      try {
        await work();
        if (this.#lastError !== undefined) {
          this.#lastError = undefined;
          this.#options.onChange(this.status());
        }
        return true;
      } catch (thrown) {
        const isNew = this.#lastError === undefined;
        this.#lastError = thrown instanceof Error ? thrown.message : String(thrown);
        if (isNew) this.#options.onChange(this.status());
      }
      if (this.#isClosed) return false;
      await this.#pause(waitMs);
      if (attempt >= attempts) return false;
      waitMs = Math.min(waitMs * 2, MAX_RETRY_MS);
    }
  }

  /** Waits, but no longer than until the feed is closed. */
  async #pause(ms: number): Promise<void> {
    const endsAt = performance.now() + ms;
    while (!this.#isClosed && performance.now() < endsAt) {
      const left = endsAt - performance.now();
      await new Promise((resolve) => setTimeout(resolve, Math.min(left, 100)));
    }
  }
}

/** Roughly what an event holds in memory, in bytes. */
function sizeOf({ annotations, user }: AuditEventLike): number {
  let bytes = 2_048 + (user.username?.length ?? 0);
  for (const [name, value] of Object.entries(annotations)) bytes += 2 * (name.length + value.length);
  return bytes;
}

/** A time so much earlier that what was made after it and came late is still looked for. */
function earlier(stageTimestamp: string): string {
  return microTime(new Date(Date.parse(stageTimestamp) - SLACK_MS).toISOString());
}

/** One line that says nonsense must not keep the others from the index. */
function isReadable(event: AuditEventLike): boolean {
  try {
    readEvent(event);
    return true;
  } catch {
    return false;
  }
}

/** Lets everything else that is ready go first. */
function nextTurn(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 0));
}
