/**
 * The end of a wait: so much time is over, or a signal is aborted. To be disposed of once it is not waited for any more.
 *
 * `AbortSignal.timeout` cannot be taken back: each would go on for its whole time, hold what waits for it, and make an error with
 * a stack at the end, for every session that has long been opened.
 */
export class Deadline implements Disposable {
  readonly #passed = Promise.withResolvers<never>();
  readonly #signal: AbortSignal;
  readonly #timer: ReturnType<typeof setTimeout>;
  #isLate = false;

  constructor(timeoutMs: number, signal: AbortSignal) {
    this.#passed.promise.catch(() => {}); // told to whoever waits for it
    this.#signal = signal;
    this.#timer = setTimeout(() => {
      this.#isLate = true;
      this.#passed.reject(new Error("the time is over"));
    }, timeoutMs);
    signal.addEventListener("abort", this.#onAbort);
    if (signal.aborted) this.#onAbort();
  }

  /** Never resolves; rejects when it is over. */
  get passed(): Promise<never> {
    return this.#passed.promise;
  }

  /** Whether it is over because of the time. */
  get isLate(): boolean {
    return this.#isLate;
  }

  /** Whether it is over. */
  get hasPassed(): boolean {
    return this.#isLate || this.#signal.aborted;
  }

  readonly #onAbort = () => {
    clearTimeout(this.#timer);
    this.#passed.reject(this.#signal.reason);
  };

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
    this.#signal.removeEventListener("abort", this.#onAbort);
  }
}
