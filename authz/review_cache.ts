import { createHmac, randomBytes } from "node:crypto";

/** Options of a {@linkcode ReviewCache}. */
export interface ReviewCacheOptions<T> {
  /** How long an answer holds, in milliseconds; 0 or less: it is not kept. */
  ttlMs(answer: T): number;
  /** Answers kept; the one that was not used for longest makes room. */
  maxEntries: number;
  /** The time in milliseconds. @default {performance.now} */
  now?: () => number;
}

/** How a memory did so far. */
export interface CacheCounts {
  readonly hits: number;
  readonly misses: number;
}

/**
 * Remembers the API server's answers for a short time, and lets those who ask the same at once share one question.
 *
 * Keys are kept as keyed hashes, so that no token lies in memory for longer than its request. Errors are never kept. Who
 * gives up waiting does not take the answer from the others.
 */
export class ReviewCache<T> {
  readonly #options: ReviewCacheOptions<T>;
  readonly #hashKey = randomBytes(32);
  readonly #answers = new Map<string, { answer: T; untilMs: number }>();
  readonly #asking = new Map<string, Promise<T>>();
  readonly #now: () => number;
  readonly #counts = { hits: 0, misses: 0 };

  constructor(options: ReviewCacheOptions<T>) {
    this.#options = options;
    this.#now = options.now ?? (() => performance.now());
  }

  /** How often an answer was there, or on its way, and how often it had to be asked for. */
  get counts(): CacheCounts {
    return this.#counts;
  }

  /**
   * The answer to `key`: a kept one, one that is being asked for, or a new one.
   *
   * @param ask must end by itself: nobody can call it back
   * @param signal ends this caller's wait
   */
  async get(key: string, ask: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    const hash = this.#hash(key);
    const kept = this.#answers.get(hash);
    if (kept !== undefined) {
      this.#answers.delete(hash);
      if (kept.untilMs > this.#now()) {
        this.#answers.set(hash, kept);
        this.#counts.hits++;
        return kept.answer;
      }
    }
    const asking = this.#asking.get(hash);
    this.#counts[asking === undefined ? "misses" : "hits"]++;
    return await unlessAborted(asking ?? this.#ask(hash, ask), signal);
  }

  /** What is kept of `key` is not true any more. */
  forget(key: string): void {
    this.#answers.delete(this.#hash(key));
  }

  #hash(key: string): string {
    return createHmac("sha256", this.#hashKey).update(key).digest("base64");
  }

  #ask(hash: string, ask: () => Promise<T>): Promise<T> {
    const asking = ask().then((answer) => {
      this.#keep(hash, answer);
      return answer;
    }).finally(() => this.#asking.delete(hash));
    asking.catch(() => {}); // all who waited may have gone
    this.#asking.set(hash, asking);
    return asking;
  }

  #keep(hash: string, answer: T): void {
    const ttlMs = this.#options.ttlMs(answer);
    if (ttlMs <= 0) return;
    while (this.#answers.size >= this.#options.maxEntries) {
      const [unused] = this.#answers.keys();
      if (unused === undefined) return;
      this.#answers.delete(unused);
    }
    this.#answers.set(hash, { answer, untilMs: this.#now() + ttlMs });
  }
}

async function unlessAborted<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return await work;
  signal.throwIfAborted();
  const aborted = Promise.withResolvers<never>();
  const abort = () => aborted.reject(signal.reason);
  signal.addEventListener("abort", abort);
  try {
    return await Promise.race([work, aborted.promise]);
  } finally {
    signal.removeEventListener("abort", abort);
  }
}
