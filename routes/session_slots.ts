import { Refusal } from "../kube/status.ts";

/** Counts the sessions that are open, and refuses one too many. */
export class SessionSlots {
  readonly #max: number;
  #open = 0;

  constructor(max: number) {
    this.#max = max;
  }

  get open(): number {
    return this.#open;
  }

  /**
   * Takes a place.
   *
   * @returns gives it back; may be called again
   * @throws {Refusal} TooManyRequests
   */
  take(): () => void {
    if (this.#open >= this.#max) {
      throw new Refusal("TooManyRequests", "the gateway has as many sessions open as it may", {
        details: { retryAfterSeconds: 10 },
        headers: { "Retry-After": "10" },
        rule: "max-sessions",
      });
    }
    this.#open++;
    let isTaken = true;
    return () => {
      if (!isTaken) return;
      isTaken = false;
      this.#open--;
    };
  }
}
