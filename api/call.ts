import type { ObjectReference } from "../audit/event.ts";
import type { Access, ResourceAttributes } from "../authz/authorize.ts";
import type { User } from "../authz/user.ts";
import type { Catalog } from "../catalog/catalog.ts";
import type { RecordingStore } from "../recording/store.ts";

/** What the API needs of the gateway around it. */
export interface ApiGate {
  /** May they? Asks the API server. */
  access(user: User, attributes: ResourceAttributes, signal: AbortSignal): Promise<Access>;
  /** The index of sessions; absent where none is configured. */
  catalog: Catalog | undefined;
  /** The sessions of this replica. */
  sessions: { find(auditId: string): KnownSession | undefined };
  /** Where recordings lie; nowhere, where none are made. */
  store(): Promise<Pick<RecordingStore, "open" | "list"> | undefined>;
}

/** One request, of somebody who is known. */
export interface ApiCall {
  readonly method: string;
  /** The canonical path: what is matched. */
  readonly path: string;
  readonly user: User;
  /** Aborted when the client has gone, or the gateway shuts down. */
  readonly signal: AbortSignal;
  /** What the request is about, for its events. */
  about(verb: string, objectRef: ObjectReference): void;
  /**
   * Writes down that it is allowed: to be waited for before the first byte is given or anything is done. What becomes of the
   * answer is written down then too.
   *
   * @throws {Refusal} where that cannot be written down
   */
  allow(reason: string): Promise<void>;
  /**
   * Asks again and again about an answer that goes on.
   *
   * @param what it is called in the sentence that `onEnd` is told when it may no more
   * @returns how to stop
   */
  whileAllowed(what: string, attributes: ResourceAttributes, onEnd: (message: string) => void): () => void;
}

/** What is known of a session of this replica. */
export interface SessionFacts {
  readonly auditId: string;
  readonly kind: string;
  readonly namespace: string;
  readonly pod: string;
  readonly container?: string;
  /** As whom it runs. */
  readonly username: string;
  readonly startedAt: Date;
  /** Where its recording lies below the store. */
  readonly recording?: string;
}

/** A session of this replica: one that runs, or one of the last that ended. */
export interface KnownSession {
  readonly facts: SessionFacts;
  readonly isLive: boolean;
  /** @returns when it has ended and that was written down */
  end(by: string): Promise<void>;
  /** @param after the `id` of the last event that was seen before */
  watch(after?: string): Watcher;
}

/** Somebody who watches a session. */
export interface Watcher {
  /** Streams that were open when the watching began. */
  readonly streams: readonly { stream: number; name: string }[];
  /** Events are missing behind the one that was seen before. */
  readonly hasGap: boolean;
  /** It did not take what came, and was given up. */
  readonly isTooSlow: boolean;
  /** Events that came, as soon as there are any; empty when no more will. */
  next(): Promise<WatchedEvent[]>;
  close(): void;
}

/** What a session tells those who watch it: `type` names it, all else is its data. */
export interface WatchedEvent {
  id: string;
  at: Date;
  type: string;
}
