import type { Catalog, Progress } from "./catalog.ts";
import { type Filter, type Page, searchable, selectSessions } from "./filter.ts";
import { mergeSessions } from "./merge.ts";
import { migrate } from "./migrations.ts";
import { type AuditEventLike, type Contribution, readEvent } from "./read_event.ts";
import type { Query, Statement, Store, Transaction } from "./store.ts";
import {
  type Cells,
  cellsOf,
  ConnectionRow,
  CONNECTIONS,
  DecisionRow,
  DECISIONS,
  fromColumns,
  SessionDetail,
  SessionRow,
  SESSIONS,
  StreamRow,
  STREAMS,
  type Table,
} from "./tables.ts";

/** Most streams, connections and decisions that one answer lists, each. */
const MAX_DETAILS = 1_000;

/** Most events of one transaction: others, and readers of a small file, need not wait long. */
const MAX_BATCH = 256;

/** The index in a database. */
export class SqlCatalog implements Catalog {
  readonly name: string;
  readonly #store: Store;

  private constructor(store: Store) {
    this.#store = store;
    this.name = store.name;
  }

  /**
   * Opens the index, and makes or renews its tables. Closes the store where that fails.
   *
   * @throws {CatalogError}
   */
  static async open(store: Store): Promise<SqlCatalog> {
    try {
      await migrate(store);
    } catch (thrown) {
      await store.close();
      throw thrown;
    }
    return new SqlCatalog(store);
  }

  async apply(events: readonly AuditEventLike[], progress?: Progress): Promise<void> {
    await this.merge(events.map(readEvent).filter((each) => each !== undefined), progress);
  }

  /** Takes in what events say, or what a recording does. @throws {CatalogError} `unavailable` */
  async merge(contributions: readonly Contribution[], progress?: Progress): Promise<void> {
    if (contributions.length === 0 && progress === undefined) return;
    await this.#store.transaction(async (transaction) => {
      await mergeInto(transaction, contributions);
      if (progress) await transaction.write([putProgress(progress)]);
    });
  }

  /** Those of some sessions that the index knows. @throws {CatalogError} `unavailable` */
  async known(auditIds: readonly string[]): Promise<ReadonlySet<string>> {
    if (auditIds.length === 0) return new Set();
    const places = auditIds.map((_, index) => `$${index + 1}`).join(", ");
    const rows = await this.#store.query(
      `select audit_id from sessions where audit_id in (${places})`,
      auditIds,
    );
    return new Set(rows.map((row) => String(row.audit_id)));
  }

  async progress(feed: string): Promise<string | undefined> {
    const [row] = await this.#store.query("select applied_until from feeds where name = $1", [feed]);
    return typeof row?.applied_until === "string" ? row.applied_until : undefined;
  }

  async sessions(filter: Filter, page: Page = {}): Promise<SessionRow[]> {
    const { sql, values } = selectSessions(filter, page, columnsOf(SESSIONS));
    const rows = await this.#store.query(sql, values);
    return rows.map((row) => SessionRow.parse(fromColumns(SESSIONS, row)));
  }

  async session(auditId: string): Promise<SessionDetail | undefined> {
    const sql = `select ${columnsOf(SESSIONS).join(", ")} from sessions where audit_id = $1`;
    const [row] = await this.#store.query(sql, [auditId]);
    if (!row) return undefined;
    const [decisions, streams, connections] = await Promise.all([
      this.#details(DECISIONS, "at", auditId),
      this.#details(STREAMS, "opened_at", auditId),
      this.#details(CONNECTIONS, "opened_at", auditId),
    ]);
    return SessionDetail.parse({
      ...SessionRow.parse(fromColumns(SESSIONS, row)),
      decisions: decisions.slice(0, MAX_DETAILS).map((each) => DecisionRow.parse(each)),
      streams: streams.slice(0, MAX_DETAILS).map((each) => StreamRow.parse(each)),
      connections: connections.slice(0, MAX_DETAILS).map((each) => ConnectionRow.parse(each)),
      more: [decisions, streams, connections].some(({ length }) => length > MAX_DETAILS),
    });
  }

  close(): Promise<void> {
    return this.#store.close();
  }

  /** One more than is given, so that it is known whether there are more. */
  async #details(table: Table, time: string, auditId: string): Promise<Record<string, unknown>[]> {
    const rows = await this.#store.query(
      `select ${columnsOf(table).join(", ")} from ${table.name} where audit_id = $1 ` +
        `order by ${time}, event_key limit ${MAX_DETAILS + 1}`,
      [auditId],
    );
    return rows.map((row) => fromColumns(table, row));
  }
}

/** Takes in what events or recordings say, within a transaction. */
export async function mergeInto(
  transaction: Transaction,
  contributions: readonly Contribution[],
): Promise<void> {
  for (let start = 0; start < contributions.length; start += MAX_BATCH) {
    await mergeBatch(transaction, contributions.slice(start, start + MAX_BATCH));
  }
}

async function mergeBatch(
  { query, write }: Transaction,
  contributions: readonly Contribution[],
): Promise<void> {
  const merged = await storedSessions(query, new Set(contributions.map(({ auditId }) => auditId)));
  for (const { auditId, session } of contributions) {
    const before = merged.get(auditId);
    merged.set(auditId, before ? mergeSessions(before, session) : session);
  }
  const details = contributions.flatMap((each) => each.details);
  await write([
    ...[...merged.values()].map((cells) => put("sessions", withArgvText(cells), "replace")),
    ...details.map(({ table, cells }) => put(table.name, cells, "keep")),
  ]);
}

async function storedSessions(query: Query, auditIds: ReadonlySet<string>): Promise<Map<string, Cells>> {
  const places = [...auditIds].map((_, index) => `$${index + 1}`).join(", ");
  const sql = `select ${columnsOf(SESSIONS).join(", ")} from sessions where audit_id in (${places})`;
  const rows = await query(sql, [...auditIds]);
  return new Map(rows.map((row) => [String(row.audit_id), cellsOf(SESSIONS, row)]));
}

/** The command once more, as it is searched. */
function withArgvText(cells: Cells): Cells {
  const { argv } = fromColumns(SESSIONS, cells);
  return { ...cells, argv_text: Array.isArray(argv) ? searchable(argv.join(" ")) : null };
}

/** Inserts a row; one with its key that is there already is replaced or kept. */
function put(table: string, cells: Cells, there: "replace" | "keep"): Statement {
  const columns = Object.keys(cells);
  const places = columns.map((_, index) => `$${index + 1}`);
  const conflict = there === "keep"
    ? "on conflict do nothing"
    : `on conflict (audit_id) do update set ${
      columns.map((name) => `${name} = excluded.${name}`).join(", ")
    }`;
  return {
    sql: `insert into ${table} (${columns.join(", ")}) values (${places.join(", ")}) ${conflict}`,
    values: Object.values(cells),
  };
}

/** Time passes in one direction: a feed that was told an earlier one has seen old events again. */
function putProgress({ feed, until }: Progress): Statement {
  return {
    sql: "insert into feeds (name, applied_until) values ($1, $2) on conflict (name) do update " +
      "set applied_until = excluded.applied_until where feeds.applied_until < excluded.applied_until",
    values: [feed, until],
  };
}

function columnsOf(table: Table): string[] {
  return Object.values(table.columns).map(({ name }) => name);
}
