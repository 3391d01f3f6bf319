import { spokenDuration } from "./duration.ts";
import { SessionFailure } from "./stream_event.ts";

/** Which end of a session. */
export type Party = "client" | "upstream";

/** How one side is spoken to when there is nothing to say. Both resolve when it is written, and reject when it cannot be. */
export interface Pings {
  /** Asks for a sign of life; {@linkcode Keepalive.answered} is called when all of the answer is there. */
  ask(): Promise<unknown>;
  /** Says something that needs no answer and gets none. */
  tell(): Promise<unknown>;
}

/** How often, and how long; all in milliseconds. */
export interface KeepaliveLimits {
  /**
   * After so long without stream data a side is asked for a sign of life, and again and again; 0: never.
   * @default {0}
   */
  pingMs?: number;
  /**
   * After so long without an answer, or anything else, a side is given up; 0: never.
   * @default {0}
   */
  silenceMs?: number;
  /**
   * How often a side is told something that is not read, because the other one takes nothing: it cannot be heard then.
   * 0: never.
   * @default {10000}
   */
  probeMs?: number;
}

/** Calls `tick` every `ms`, until what it returns is called. */
export type Ticker = (ms: number, tick: () => void) => () => void;

const INTERVAL: Ticker = (ms, tick) => {
  const timer = setInterval(tick, ms);
  return () => clearInterval(timer);
};

/**
 * Keeps one side of a session alive for what stands between (load balancers forget what is silent), and finds out when
 * nobody is there any more.
 *
 * A side that says nothing need not be gone. Who pages output in `less` reads nothing for an hour, and a Go peer handles what
 * comes in order: a ping waits behind data that nobody takes. So a side is given up only if nothing can stand before
 * our question: it answered an earlier one, no stream data has moved since, and yet it says nothing at all. What is sent into a dead
 * connection is left to TCP, which gives up by itself.
 *
 * Nor is a side asked while data moves, or while it is not read. A Go peer answers with a lock that its own writing holds,
 * so one whose stdin is stuck might stop to read.
 *
 * What is called for every frame only sets a flag; time is counted in ticks. So a gateway that was stopped for a while does
 * not take its own absence for that of others.
 */
export class Keepalive implements Disposable {
  readonly #party: Party;
  readonly #pings: Pings;
  readonly #limits: Required<KeepaliveLimits>;
  readonly #fail: (thrown: unknown) => void;
  readonly #stop: () => void;
  #hasMoved = false;
  #wasHeard = false;
  #stillMs = 0;
  #silentMs = 0;
  /** Since it was spoken to. */
  #unspokenMs = 0;
  #isWriting = false;
  /** Asked, and not yet answered. */
  #isAsked = false;
  /** No stream data has moved since it was asked the last time. */
  #isStillSinceAsked = false;
  /** It answered, and no stream data has moved since that was asked. */
  #hasReadAll = false;
  /** Set while what this side sent waits for the other side to take it: it is not read, and cannot be heard. */
  isBlocked = false;
  /** Unset for a side that may leave a question unanswered although it lives; TCP has to find out then. */
  answersPings = true;

  /** @param fail told once, with what a write threw, or with a {@linkcode SessionFailure} when the side is given up */
  constructor(
    party: Party,
    pings: Pings,
    limits: KeepaliveLimits,
    fail: (thrown: unknown) => void,
    every: Ticker = INTERVAL,
  ) {
    const { pingMs = 0, silenceMs = 0, probeMs = 10_000 } = limits;
    this.#party = party;
    this.#pings = pings;
    this.#limits = { pingMs, silenceMs, probeMs };
    this.#fail = fail;
    const shortestMs = Math.min(...[pingMs, silenceMs, probeMs].filter((ms) => ms > 0));
    const tickMs = Math.max(5, shortestMs / 2);
    this.#stop = Number.isFinite(tickMs) ? every(tickMs, () => this.#tick(tickMs)) : () => {};
  }

  /** Bytes came from it, whatever they were. */
  heard(): void {
    this.#wasHeard = true;
  }

  /** Stream data went to it or came from it: it need not be asked now, and may have a lot to read before the next question. */
  moved(): void {
    this.#hasMoved = true;
    this.#isStillSinceAsked = false;
    this.#hasReadAll = false;
  }

  /** The answer to the latest question came. */
  answered(): void {
    this.#isAsked = false;
    this.#hasReadAll = this.#isStillSinceAsked;
  }

  #tick(tickMs: number): void {
    this.#stillMs = this.#hasMoved ? 0 : this.#stillMs + tickMs;
    this.#silentMs = this.#wasHeard ? 0 : this.#silentMs + tickMs;
    this.#unspokenMs += tickMs;
    this.#hasMoved = this.#wasHeard = false;

    const { pingMs, silenceMs, probeMs } = this.#limits;
    if (silenceMs > 0 && this.#silentMs >= silenceMs && this.#mustAnswer()) return this.#giveUp(silenceMs);
    const quietMs = this.isBlocked ? this.#unspokenMs : Math.min(this.#stillMs, this.#unspokenMs);
    const everyMs = this.isBlocked ? probeMs : pingMs;
    if (everyMs > 0 && quietMs >= everyMs && !this.#isWriting) this.#speak();
  }

  /** It was asked, nothing can stand before the question, and the answer would be read. */
  #mustAnswer(): boolean {
    return this.answersPings && this.#isAsked && this.#hasReadAll && !this.isBlocked;
  }

  #giveUp(silenceMs: number): void {
    const party = this.#party;
    const message = `nothing was heard from the ${party} for ${
      spokenDuration(silenceMs)
    } though it was asked`;
    this.#stop();
    this.#fail(new SessionFailure({ reason: `${party}_vanished`, by: party, message }));
  }

  #speak(): void {
    this.#unspokenMs = 0;
    if (this.isBlocked || this.#isAsked) return void this.#write(this.#pings.tell());
    this.#isAsked = this.#isStillSinceAsked = true;
    this.#silentMs = 0; // from here on it counts
    this.#write(this.#pings.ask());
  }

  async #write(written: Promise<unknown>): Promise<void> {
    this.#isWriting = true;
    try {
      await written;
    } catch (lost) {
      this.#stop();
      this.#fail(lost);
    }
    this.#isWriting = false;
  }

  [Symbol.dispose](): void {
    this.#stop();
  }
}
