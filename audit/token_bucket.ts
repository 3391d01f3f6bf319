/** Allows so much at once, and so much a minute after that. Knows no clock: the time is told it, in milliseconds that never go back. */
export class TokenBucket {
  readonly #burst: number;
  readonly #perMs: number;
  #left: number;
  #atMs: number;

  constructor({ burst, perMinute }: { burst: number; perMinute: number }, nowMs: number) {
    this.#burst = burst;
    this.#perMs = perMinute / 60_000;
    this.#left = burst;
    this.#atMs = nowMs;
  }

  /** Takes one, if there is one. */
  take(nowMs: number): boolean {
    this.#fill(nowMs);
    if (this.#left < 1) return false;
    this.#left--;
    return true;
  }

  /** Whether it is as full as a new one: nothing is forgotten with it. */
  isFull(nowMs: number): boolean {
    this.#fill(nowMs);
    return this.#left === this.#burst;
  }

  #fill(nowMs: number): void {
    this.#left = Math.min(this.#burst, this.#left + (nowMs - this.#atMs) * this.#perMs);
    this.#atMs = nowMs;
  }
}
