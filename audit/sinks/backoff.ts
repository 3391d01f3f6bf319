/** How long to wait between attempts. */
export interface BackoffOptions {
  /** Before the second attempt. */
  initialBackoffSeconds: number;
  /** At most. */
  maxBackoffSeconds: number;
}

/**
 * Times between attempts: each about twice as long as the one before, up to a bound, and of each a random half, so that
 * many gateways do not come back to a receiver at once.
 */
export class Backoff {
  readonly #options: BackoffOptions;
  readonly #random: () => number;
  #failures = 0;

  /** @param random from 0 up to, not including, 1 */
  constructor(options: BackoffOptions, random: () => number = Math.random) {
    this.#options = options;
    this.#random = random;
  }

  /**
   * The time before the next attempt, in milliseconds, now that one has failed.
   *
   * @param askedMs how long the other side asks us to wait; heeded up to the bound
   */
  next(askedMs = 0): number {
    const { initialBackoffSeconds, maxBackoffSeconds } = this.#options;
    // 2^52 still is exact; no bound is as far away.
    const maxMs = maxBackoffSeconds * 1000;
    const full = Math.min(maxMs, initialBackoffSeconds * 1000 * 2 ** Math.min(this.#failures++, 52));
    return Math.max(full / 2 + full / 2 * this.#random(), Math.min(askedMs, maxMs));
  }

  /** An attempt went well: the next failure is a first one. */
  reset(): void {
    this.#failures = 0;
  }
}

/** Waits, but not past the end of `signal`. */
export function pause(ms: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    const timer = setTimeout(done, ms);
    signal.addEventListener("abort", done);
    function done() {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    }
  });
}
