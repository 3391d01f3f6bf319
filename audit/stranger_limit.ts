import { randomUUID } from "node:crypto";
import { type AuditEvent, type CountedRefusals, refusalsEvent } from "./event.ts";
import type { Journal, JournalStatus } from "./journal.ts";
import { sourceNetwork } from "./source_network.ts";
import { TokenBucket } from "./token_bucket.ts";

/** How many refusals of strangers are written down one by one. */
export interface StrangerOptions {
  /** `off`: all of them, however many. */
  limit: "on" | "off";
  /** From one source at once. */
  burstEvents: number;
  /** From one source, after these. */
  eventsPerMinute: number;
  /** From all sources together, at once and in each minute. */
  totalEventsPerMinute: number;
  /** How long refusals are counted before the count is written down. */
  summarySeconds: number;
}

/** What a {@linkcode StrangerLimit} asks of its surroundings. */
export interface StrangerLimitHooks {
  /** A count could not be written down, and is kept. Must not throw. */
  report(message: string, cause: unknown): void;
  /** The time in milliseconds, never going back. @default performance.now */
  now?: () => number;
  /** Calls back from time to time, and returns how to stop that. @default setInterval */
  every?: (ms: number, tick: () => void) => () => void;
}

/** Sources that are known by themselves at a time; all others share one more. A source takes half a kilobyte. */
const MAX_SOURCES = 1024;

/** The name of those others. */
const OTHERS = "others";

interface Source {
  bucket: TokenBucket;
  /** What was counted since the last summary. */
  counted?: CountedRefusals;
}

/**
 * A journal that strangers cannot fill: their refusals are written down one by one up to a rate, and counted beyond it.
 *
 * A stranger is whoever was refused before anybody knew who it is: everything of those who are known is written, always. Of a count
 * two events tell, with the same `auditID`: one when it begins, so that it is known to be under way even where the process is
 * killed, and one with the number, at the end of its interval.
 */
export class StrangerLimit implements Journal {
  readonly #journal: Journal;
  readonly #options: StrangerOptions;
  readonly #report: StrangerLimitHooks["report"];
  readonly #now: () => number;
  readonly #stopTicking: () => void;
  readonly #sources = new Map<string, Source>();
  readonly #total: TokenBucket;
  #summing: Promise<void> | undefined;

  constructor(
    journal: Journal,
    options: StrangerOptions,
    { report, now = () => performance.now(), every = repeat }: StrangerLimitHooks,
  ) {
    this.#journal = journal;
    this.#options = options;
    this.#report = report;
    this.#now = now;
    const perMinute = options.totalEventsPerMinute;
    this.#total = new TokenBucket({ burst: perMinute, perMinute }, now());
    this.#stopTicking = every(options.summarySeconds * 1000, () => void this.#summarize());
  }

  async append(events: readonly AuditEvent[]): Promise<void> {
    const kept = this.#options.limit === "off" ? events : events.filter((event) => this.#isWritten(event));
    if (kept.length > 0) await this.#journal.append(kept);
  }

  status(): JournalStatus {
    return this.#journal.status();
  }

  async close(): Promise<void> {
    this.#stopTicking();
    await this.#summing; // which may have begun before the last refusal
    await this.#summarize();
    await this.#journal.close();
  }

  /** Sources that are remembered. */
  get sources(): number {
    return this.#sources.size;
  }

  /** Whether an event is to be written; if not, it is counted. */
  #isWritten(event: AuditEvent): boolean {
    if (!isOfStranger(event)) return true;
    const [address = ""] = event.sourceIPs;
    const nowMs = this.#now();
    const [name, source] = this.#sourceOf(sourceNetwork(address), nowMs);
    // The source's own share first: who has used it up takes nothing of what is everybody's.
    if (source.bucket.take(nowMs) && this.#total.take(nowMs)) return true;
    const counted = source.counted ??= this.#begin({ source: name, codes: new Map(), lastAddress: address });
    const code = event.responseStatus?.code ?? 0;
    counted.codes.set(code, (counted.codes.get(code) ?? 0) + 1);
    counted.lastAddress = address;
    counted.lastAt = new Date();
    return false;
  }

  #sourceOf(network: string, nowMs: number): [name: string, source: Source] {
    const isKnown = this.#sources.has(network) || this.#sources.size < MAX_SOURCES;
    const name = isKnown ? network : OTHERS;
    let source = this.#sources.get(name);
    if (source === undefined) {
      const { burstEvents: burst, eventsPerMinute: perMinute } = this.#options;
      this.#sources.set(name, source = { bucket: new TokenBucket({ burst, perMinute }, nowMs) });
    }
    return [name, source];
  }

  /** Says that refusals are counted from now on. */
  #begin(what: Pick<CountedRefusals, "source" | "codes" | "lastAddress">): CountedRefusals {
    const at = new Date();
    const counted = { auditId: randomUUID(), ...what, firstAt: at, lastAt: at };
    this.#journal.append([refusalsEvent(counted, "counting", at)]).catch((cause) =>
      this.#report("it is not written down that refusals are counted", cause)
    );
    return counted;
  }

  /** Writes down what was counted; what cannot be written is counted on. */
  #summarize(): Promise<void> {
    return this.#summing ??= this.#writeCounts().finally(() => this.#summing = undefined);
  }

  async #writeCounts(): Promise<void> {
    const nowMs = this.#now();
    const counts: CountedRefusals[] = [];
    for (const [name, { counted, bucket }] of this.#sources) {
      if (counted !== undefined) counts.push(structuredClone(counted));
      else if (bucket.isFull(nowMs)) this.#sources.delete(name);
    }
    if (counts.length === 0) return;
    try {
      await this.#journal.append(counts.map((each) => refusalsEvent(each, "counted")));
    } catch (cause) {
      // It may be there all the same: the next one has the same ID, and holds it.
      return this.#report("counts of refusals are not written down yet", cause);
    }
    for (const written of counts) this.#goOn(written);
  }

  /** What was counted while a count was written is the beginning of the next. */
  #goOn({ source: name, codes: written }: CountedRefusals): void {
    const source = this.#sources.get(name);
    if (source?.counted === undefined) return;
    const { codes, lastAddress } = source.counted;
    const left = new Map(
      [...codes].map(([code, count]) => [code, count - (written.get(code) ?? 0)] as const)
        .filter(([, count]) => count > 0),
    );
    if (left.size > 0) source.counted = this.#begin({ source: name, codes: left, lastAddress });
    else delete source.counted;
  }
}

/** A refusal of somebody whom nobody knows. */
function isOfStranger({ annotations, user }: AuditEvent): boolean {
  return annotations["postern.dev/event"] === "refusal" && user.username === undefined;
}

function repeat(ms: number, tick: () => void): () => void {
  const timer = setInterval(tick, ms);
  return () => clearInterval(timer);
}
