import { Refusal } from "../kube/status.ts";

/** When a client that was refused may ask again, in seconds: by then who balances has found another gateway. */
const RETRY_AFTER_SECONDS = 5;

/**
 * Whether this gateway takes new sessions. It does from its start on, until {@linkcode drain}: then it says at once that
 * it is not ready, refuses what is new, and lets go on what is there.
 */
export class Readiness {
  #isDraining = false;

  /** Whether new sessions are taken. */
  get isReady(): boolean {
    return !this.#isDraining;
  }

  /** From now on nothing new is taken. There is no way back. */
  drain(): void {
    this.#isDraining = true;
  }

  /**
   * Asked before anything else is, so that a gateway that ends costs the API server nothing.
   *
   * @throws {Refusal} ServiceUnavailable, with `Retry-After`
   */
  require(): void {
    if (this.isReady) return;
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
