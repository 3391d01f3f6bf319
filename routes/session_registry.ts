import { quoted } from "../kube/printable.ts";
import { Refusal } from "../kube/status.ts";
import { type SessionEnd, SessionFailure, type StreamEvent, type Tap } from "../session/stream_event.ts";
import { type FeedEnd, type FeedLimits, SessionFeed, type Shown, type Watcher } from "./session_feed.ts";

/** What is known of a session that runs here. */
export interface SessionFacts {
  auditId: string;
  kind: string;
  namespace: string;
  pod: string;
  container?: string;
  /** As whom it runs. */
  username: string;
  startedAt: Date;
  /** Where its recording lies below the store; absent where there is none. */
  recording?: string;
}

/** A session of this process: one that runs, or one of the last that ended. */
export interface KnownSession {
  readonly facts: SessionFacts;
  readonly isLive: boolean;
  /** Ends it. @returns when it has ended and that was written down */
  end(by: string): Promise<void>;
  /** Watches it. @throws {Refusal} TooManyRequests */
  watch(after?: string): Watcher;
}

/** Options of a {@linkcode SessionRegistry}. */
export interface RegistryOptions extends FeedLimits {
  /** Whether those who watch see what is typed. @default {false} */
  showsStdin?: boolean;
  /** Whether those who watch see what port-forwards carry. @default {false} */
  showsForwarded?: boolean;
  /** How many may watch, all sessions together. Each may hold `pendingBytes`. @default {32} */
  maxWatchers?: number;
  /** How many sessions that ended are remembered. @default {1024} */
  maxEnded?: number;
}

/** The sessions of this process, by audit ID: to be watched and ended while they run, and remembered for a while. */
export class SessionRegistry {
  readonly #options: Required<Omit<RegistryOptions, keyof FeedLimits>> & FeedLimits;
  readonly #live = new Map<string, LiveEntry>();
  readonly #ended = new Map<string, KnownSession>();

  constructor(options: RegistryOptions = {}) {
    this.#options = { showsStdin: false, showsForwarded: false, maxWatchers: 32, maxEnded: 1024, ...options };
  }

  /** A session has opened. */
  enter(facts: SessionFacts): LiveEntry {
    const { showsStdin, showsForwarded } = this.#options;
    const isShown: Shown = facts.kind === "portforward"
      ? () => showsForwarded
      : (stream) => stream !== "stdin" || showsStdin;
    const entry = new LiveEntry(facts, {
      feed: new SessionFeed(isShown, this.#options),
      mayWatch: () => this.#mayWatch(),
      onEnd: () => this.#remember(facts),
    });
    this.#live.set(facts.auditId, entry);
    return entry;
  }

  /** A session that runs here, or has a while ago. */
  find(auditId: string): KnownSession | undefined {
    return this.#live.get(auditId) ?? this.#ended.get(auditId);
  }

  #mayWatch(): boolean {
    let watchers = 0;
    for (const { feed } of this.#live.values()) watchers += feed.watchers;
    return watchers < this.#options.maxWatchers;
  }

  #remember(facts: SessionFacts): void {
    const { auditId } = facts;
    this.#live.delete(auditId);
    this.#ended.set(auditId, new EndedEntry(facts));
    if (this.#ended.size <= this.#options.maxEnded) return;
    for (const oldest of this.#ended.keys()) {
      this.#ended.delete(oldest);
      break;
    }
  }
}

/** A session that runs. */
export class LiveEntry implements KnownSession {
  readonly facts: SessionFacts;
  readonly feed: SessionFeed;
  readonly #mayWatch: () => boolean;
  readonly #onEnd: () => void;
  readonly #controller = new AbortController();
  readonly #over = Promise.withResolvers<void>();
  #isLive = true;

  constructor(facts: SessionFacts, { feed, mayWatch, onEnd }: {
    feed: SessionFeed;
    mayWatch: () => boolean;
    onEnd: () => void;
  }) {
    this.facts = facts;
    this.feed = feed;
    this.#mayWatch = mayWatch;
    this.#onEnd = onEnd;
  }

  get isLive(): boolean {
    return this.#isLive;
  }

  /** Aborted, with the end as its reason, when somebody ends the session. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Shows every event to `first`, which may hold it up, and then to those who watch, who may not. */
  tap(first: Tap): Tap {
    const { feed } = this;
    return {
      push(event: StreamEvent): void | Promise<void> {
        const seen = first.push(event);
        feed.push(event);
        return seen;
      },
    };
  }

  end(by: string): Promise<void> {
    const message = `the session was ended by ${quoted(by.slice(0, 256))}`;
    this.stop({ reason: "ended_by_operator", by: "gateway", message });
    return this.#over.promise;
  }

  /** Ends it, for the gateway's own reasons. The first counts. */
  stop(end: SessionEnd): void {
    this.#controller.abort(new SessionFailure(end));
  }

  watch(after?: string): Watcher {
    if (!this.#mayWatch()) {
      throw new Refusal("TooManyRequests", "as many watch sessions as may", {
        details: { retryAfterSeconds: 10 },
        headers: { "Retry-After": "10" },
        rule: "max-watchers",
      });
    }
    return this.feed.watch(after);
  }

  /** It has ended, and that was written down. */
  over(end: FeedEnd): void {
    if (!this.#isLive) return;
    this.#isLive = false;
    this.feed.end(end);
    this.#onEnd();
    this.#over.resolve();
  }
}

/** A session that has ended. */
class EndedEntry implements KnownSession {
  readonly isLive = false;

  constructor(readonly facts: SessionFacts) {}

  end(): Promise<void> {
    return Promise.resolve();
  }

  watch(): Watcher {
    throw new Refusal("Gone", `session "${this.facts.auditId}" has ended`);
  }
}
