import { isUpgradeRequest } from "../protocol/websocket/mod.ts";
import type { Journey } from "./journey.ts";

/** How long a client may take to ask again, in milliseconds. It does so at once. */
const KEPT_MS = 5_000;

/** Refusals that are remembered at once; the oldest makes room. */
const MAX_KEPT = 1_000;

/**
 * kubectl asks twice: where a WebSocket is refused, whatever the reason, it asks the same over SPDY (E-95). Both are answered, and
 * both are written down; the second names the first, so that who counts refusals counts one.
 */
export class FallbackMemory {
  readonly #refused = new Map<string, { auditId: string; untilMs: number }>();
  readonly #now: () => number;

  /** @param now the time in milliseconds */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  /** Remembers a WebSocket that was refused. */
  keep(journey: Journey): void {
    const { upgrade, rawHeaders } = journey.context;
    if (upgrade === undefined || !isUpgradeRequest(rawHeaders)) return;
    const [oldest] = this.#refused.keys();
    if (this.#refused.size >= MAX_KEPT && oldest !== undefined) this.#refused.delete(oldest);
    this.#refused.set(keyOf(journey), { auditId: journey.auditId, untilMs: this.#now() + KEPT_MS });
  }

  /** Tells a request over SPDY which refused one it follows, if it does. Each is followed once. */
  recall(journey: Journey): void {
    const { upgrade, rawHeaders } = journey.context;
    if (upgrade === undefined || isUpgradeRequest(rawHeaders)) return;
    const key = keyOf(journey);
    const first = this.#refused.get(key);
    this.#refused.delete(key);
    if (first !== undefined && first.untilMs > this.#now()) journey.learn({ fallbackOf: first.auditId });
  }
}

/** The same question, from the same client. */
function keyOf({ context, facts }: Journey): string {
  return JSON.stringify([context.remoteAddress, facts.userAgent, context.rawTarget]);
}
