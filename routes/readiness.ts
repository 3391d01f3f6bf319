import { Refusal } from "../kube/status.ts";

/** When a client that was refused may ask again, in seconds: by then who balances has found another gateway. */
const RETRY_AFTER_SECONDS = 5;

/**
 * Whether this gateway takes new sessions. It does from its start on, until it is asked to end: then it says at once that
 * it is not ready, and a while later refuses what is new. What is there goes on.
 *
 * Who balances learns of the first only after a moment, and sends clients here for as long: they are served.
 */
export class Readiness {
  #phase: "ready" | "leaving" | "draining" = "ready";

  /** Whether who balances should lead clients here. */
  get isReady(): boolean {
    return this.#phase === "ready";
  }

  /** From now on it is not ready any more, but takes what still comes. There is no way back. */
  leave(): void {
    if (this.#phase === "ready") this.#phase = "leaving";
  }

  /** From now on nothing new is taken. There is no way back. */
  drain(): void {
    this.#phase = "draining";
  }

  /**
   * Asked before anything else is, so that a gateway that ends costs the API server nothing.
   *
   * @throws {Refusal} ServiceUnavailable, with `Retry-After`
   */
  require(): void {
    if (this.#phase !== "draining") return;
    throw new Refusal("ServiceUnavailable", "the gateway is shutting down: new sessions go to another one", {
      details: { retryAfterSeconds: RETRY_AFTER_SECONDS },
      headers: { "Retry-After": String(RETRY_AFTER_SECONDS) },
      rule: "draining",
    });
  }

  /** The answer to `GET /readyz`, for whoever balances: in words as the API server's, and never kept. */
  response(): Response {
    return new Response(this.isReady ? "ok\n" : "draining\n", {
      status: this.isReady ? 200 : 503,
      headers: {
        "Cache-Control": "no-store",
        "Content-Type": "text/plain; charset=utf-8",
        ...(!this.isReady && { "Retry-After": String(RETRY_AFTER_SECONDS) }),
      },
    });
  }
}
