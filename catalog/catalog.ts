import type { Filter, Page } from "./filter.ts";
import type { AuditEventLike } from "./read_event.ts";
import type { SessionDetail, SessionRow } from "./tables.ts";

/**
 * The index of sessions: what can be asked quickly, and made anew from events and recordings whenever it is lost. It is no
 * evidence; that lies in the sinks.
 */
export interface Catalog {
  /** For status and log, without credentials. */
  readonly name: string;
  /**
   * Takes events in, all or none of them. Any order will do, and the same event again changes nothing.
   *
   * @throws {CatalogError} `unavailable`; `invalid`, where an event is none
   */
  apply(events: readonly AuditEventLike[], progress?: Progress): Promise<void>;
  /**
   * How far a feed has come, as the last `apply` with its name said.
   *
   * @throws {CatalogError} `unavailable`
   */
  progress(feed: string): Promise<string | undefined>;
  /**
   * Sessions that a filter lets pass, the newest first.
   *
   * @throws {CatalogError} `unavailable`, `invalid`
   */
  sessions(filter: Filter, page?: Page): Promise<SessionRow[]>;
  /** One session with its decisions, streams and connections. @throws {CatalogError} `unavailable` */
  session(auditId: string): Promise<SessionDetail | undefined>;
  /** Never throws. */
  close(): Promise<void>;
}

/** How far a feed has come. */
export interface Progress {
  /** Names the feed; no two gateways may have the same. */
  feed: string;
  /** RFC 3339 with microseconds, UTC: the index has all events of the feed that were made before. */
  until: string;
}
