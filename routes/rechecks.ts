import { Refusal } from "../kube/status.ts";
import { spokenDuration } from "../session/duration.ts";
import type { SessionEnd } from "../session/stream_event.ts";
import { Turns } from "./turns.ts";

/** A session that is asked about while it lives, or whatever else goes on for long. */
export interface Rechecked {
  /** What it is called in the sentence that ends it. @default {"the session"} */
  what?: string;
  /**
   * Asks whether the session may go on. A Refusal of 401 or 403 says that it may not; whatever else is thrown says that nobody
   * could tell.
   */
  ask(signal: AbortSignal): Promise<void>;
  end(end: SessionEnd): void;
}

/** Whether the questions are answered, for the audit and the log: told when it changes. */
export type RecheckState =
  | { isAnswered: false; cause: unknown }
  | { isAnswered: true; durationMs: number };

/** Options of {@linkcode Rechecks}; times in milliseconds. */
export interface RecheckOptions {
  /** From the moment in which a permission is gone, its sessions go on for no longer than this. */
  periodMs: number;
  /** How long a session goes on about which nobody can tell. */
  graceMs: number;
  /** How many sessions are asked about at once. @default {16} */
  atOnce?: number;
  /** How long an answer is waited for, with the wait for a turn. @default {15000} */
  answerMs?: number;
  onChange?: (state: RecheckState) => void;
  /** 0 to 1. @default {Math.random} */
  random?: () => number;
}

/** Pauses between questions that nobody answers, in milliseconds: doubled each time. */
const RETRY = { firstMs: 1_000, mostMs: 30_000 };

/**
 * Asks about every live session again and again, and ends those that may be no more.
 *
 * Every session has its own moments, drawn at random between a half and three quarters of the period, so that sessions that were
 * opened together, or all retried when the API server came back, are not asked about together for long. Who asks for them may answer
 * out of a memory of a quarter of a period: so the same question is asked four times a period at most, however many sessions it
 * is about, and no session outlives its permission by more than one.
 *
 * That nobody can tell is no answer. A session goes on then, for as long as `graceMs`, and is asked about more often. An API
 * server that restarts must not end every session; one that is kept away must not keep them alive either.
 */
export class Rechecks {
  readonly #options: Required<RecheckOptions>;
  readonly #turns: Turns;
  /** Sessions about which nobody could tell, when last asked. */
  readonly #unanswered = new Set<Recheck>();
  #unansweredSinceMs = 0;

  constructor(options: RecheckOptions) {
    const { atOnce = 16, answerMs = 15_000, onChange = () => {}, random = Math.random } = options;
    this.#options = { ...options, atOnce, answerMs, onChange, random };
    this.#turns = new Turns(atOnce);
  }

  /** Asks about a session from now on. @returns how to stop */
  watch(session: Rechecked): () => void {
    const recheck = new Recheck(session, this.#options, this.#turns, (cause) => this.#settle(recheck, cause));
    return () => {
      recheck.stop();
      this.#settle(recheck, undefined);
    };
  }

  /** Notes what came of a question. @param cause why it has no answer; `undefined` where it has, or the session is over */
  #settle(recheck: Recheck, cause: unknown): void {
    const before = this.#unanswered.size;
    if (cause === undefined) this.#unanswered.delete(recheck);
    else this.#unanswered.add(recheck);
    const after = this.#unanswered.size;
    const { onChange } = this.#options;
    if (before === 0 && after > 0) {
      this.#unansweredSinceMs = performance.now();
      onChange({ isAnswered: false, cause });
    } else if (before > 0 && after === 0) {
      onChange({ isAnswered: true, durationMs: performance.now() - this.#unansweredSinceMs });
    }
  }
}

/** The questions about one session. */
class Recheck {
  readonly #session: Rechecked;
  readonly #options: Required<RecheckOptions>;
  readonly #turns: Turns;
  readonly #settle: (cause: unknown) => void;
  #timer: ReturnType<typeof setTimeout>;
  #asking: AbortController | undefined;
  #isOver = false;
  /** When the first question was asked that has no answer yet. */
  #unansweredSinceMs: number | undefined;
  #retryMs = RETRY.firstMs;

  constructor(
    session: Rechecked,
    options: Required<RecheckOptions>,
    turns: Turns,
    settle: (cause: unknown) => void,
  ) {
    this.#session = session;
    this.#options = options;
    this.#turns = turns;
    this.#settle = settle;
    this.#timer = this.#after(this.#pause());
  }

  stop(): void {
    this.#isOver = true;
    clearTimeout(this.#timer);
    this.#asking?.abort();
  }

  #pause(): number {
    return pauseMs(this.#options.periodMs, this.#options.random());
  }

  #after(ms: number): ReturnType<typeof setTimeout> {
    return setTimeout(() => this.#check(), ms);
  }

  async #check(): Promise<void> {
    const askedAtMs = performance.now();
    const asking = this.#asking = new AbortController();
    const deadline = setTimeout(
      () => asking.abort(new Refusal("Timeout", "there was no answer in time")),
      this.#options.answerMs,
    );
    try {
      await this.#turns.take(() => this.#session.ask(asking.signal), asking.signal);
      this.#answered();
    } catch (thrown) {
      this.#failed(thrown, askedAtMs);
    } finally {
      clearTimeout(deadline);
      this.#asking = undefined;
    }
  }

  #answered(): void {
    if (this.#isOver) return;
    this.#unansweredSinceMs = undefined;
    this.#retryMs = RETRY.firstMs;
    this.#timer = this.#after(this.#pause());
    this.#settle(undefined);
  }

  #failed(thrown: unknown, askedAtMs: number): void {
    if (this.#isOver) return;
    const { what = "the session" } = this.#session;
    const refused = refusalEnd(what, thrown);
    if (refused !== undefined) return this.#end(refused);
    const { periodMs, graceMs, random } = this.#options;
    const sinceMs = this.#unansweredSinceMs ??= askedAtMs;
    const leftMs = sinceMs + graceMs - performance.now();
    if (leftMs <= 0) return this.#end(unanswered(what, graceMs));
    const retryMs = Math.min(this.#retryMs, periodMs / 4) * (1 + random()) / 2;
    this.#retryMs = Math.min(this.#retryMs * 2, RETRY.mostMs);
    this.#timer = this.#after(Math.min(retryMs, leftMs));
    this.#settle(thrown ?? new TypeError("nothing was thrown"));
  }

  #end(end: SessionEnd): void {
    this.stop();
    this.#session.end(end);
    this.#settle(undefined);
  }
}

/** From one question about a session to the next, in milliseconds. @param chance 0 to 1 */
export function pauseMs(periodMs: number, chance: number): number {
  return periodMs * (2 + chance) / 4;
}

/** How something ends of which it was said that it may be no more; `undefined` where that was not said. */
function refusalEnd(what: string, thrown: unknown): SessionEnd | undefined {
  if (!(thrown instanceof Refusal)) return undefined;
  const { reason, message } = thrown;
  if (reason === "Unauthorized") {
    return {
      reason: "credential_revoked",
      by: "gateway",
      message: `the credential that opened ${what} is no longer valid, so ${what} ends`,
    };
  }
  if (reason !== "Forbidden") return undefined;
  return {
    reason: "access_revoked",
    by: "gateway",
    message: `access was withdrawn, so ${what} ends: ${message}`,
  };
}

function unanswered(what: string, graceMs: number): SessionEnd {
  const duration = spokenDuration(graceMs);
  const message = graceMs === 0
    ? `nobody could say whether ${what} may go on, so it ends`
    : `for ${duration} nobody could say whether ${what} may go on, so it ends`;
  return { reason: "access_unconfirmed", by: "gateway", message };
}
