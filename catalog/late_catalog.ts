import type { Catalog, Progress } from "./catalog.ts";
import type { Filter, Page } from "./filter.ts";
import type { AuditEventLike } from "./read_event.ts";
import type { SessionDetail, SessionRow } from "./tables.ts";

/**
 * An index that is opened when it is first needed, and tried again each time until it is there: a gateway starts whether or not its
 * database does, for sessions do not depend on it.
 */
export class LateCatalog implements Catalog {
  readonly name: string;
  readonly #open: () => Promise<Catalog>;
  #opened: Promise<Catalog> | undefined;

  /** @param name until it is open, for status and log */
  constructor(name: string, open: () => Promise<Catalog>) {
    this.name = name;
    this.#open = open;
  }

  async apply(events: readonly AuditEventLike[], progress?: Progress): Promise<void> {
    await (await this.#catalog()).apply(events, progress);
  }

  async progress(feed: string): Promise<string | undefined> {
    return await (await this.#catalog()).progress(feed);
  }

  async sessions(filter: Filter, page?: Page): Promise<SessionRow[]> {
    return await (await this.#catalog()).sessions(filter, page);
  }

  async session(auditId: string): Promise<SessionDetail | undefined> {
    return await (await this.#catalog()).session(auditId);
  }

  async close(): Promise<void> {
    const opened = await this.#opened?.catch(() => undefined);
    await opened?.close();
  }

  async #catalog(): Promise<Catalog> {
    const opening = this.#opened ??= this.#open();
    try {
      return await opening;
    } catch (thrown) {
      if (this.#opened === opening) this.#opened = undefined;
      throw thrown;
    }
  }
}
