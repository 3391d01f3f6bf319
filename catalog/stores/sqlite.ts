import { DatabaseSync, type SQLInputValue } from "node:sqlite";
import { CatalogError } from "../catalog_error.ts";
import type { Query, Store, StoredRow } from "../store.ts";
import type { Cell } from "../tables.ts";

/** How long another process's transaction is waited for, in milliseconds. */
const BUSY_TIMEOUT_MS = 2_000;

/** Largest SQL that is kept prepared; what is longer was made for one batch. */
const MAX_PREPARED = 64;

/**
 * A file of SQLite, made with mode 0600.
 *
 * Journal mode WAL with `synchronous=NORMAL`: a killed process loses nothing, a power cut may lose the last transactions and never
 * the file. That is enough here, for what is lost stands in the events, from which the feed catches up.
 *
 * Reads have a connection of their own and see what was committed, also while a transaction is at work.
 */
export class SqliteStore implements Store {
  readonly name: string;
  readonly textType = "text";
  readonly #writer: Connection;
  readonly #reader: Connection;
  #last: Promise<unknown> = Promise.resolve();

  /** @throws {CatalogError} `unavailable` */
  constructor(readonly path: string) {
    this.name = `SQLite ${path}`;
    this.#writer = attempt(this.name, () => {
      makePrivate(path);
      const writer = new Connection(path, false);
      writer.exec("pragma journal_mode=wal; pragma synchronous=normal");
      return writer;
    });
    this.#reader = attempt(this.name, () => new Connection(path, true));
  }

  query(sql: string, values: readonly Cell[] = []): Promise<StoredRow[]> {
    return Promise.resolve().then(() => attempt(this.name, () => this.#reader.all(sql, values)));
  }

  async transaction<T>(work: (query: Query) => Promise<T>): Promise<T> {
    const turn = this.#last.then(() => this.#transaction(work));
    this.#last = turn.catch(() => {});
    return await turn;
  }

  async #transaction<T>(work: (query: Query) => Promise<T>): Promise<T> {
    const writer = this.#writer;
    attempt(this.name, () => writer.exec("begin immediate"));
    try {
      const result = await work((sql, values = []) =>
        Promise.resolve().then(() => attempt(this.name, () => writer.all(sql, values)))
      );
      attempt(this.name, () => writer.exec("commit"));
      return result;
    } catch (thrown) {
      // Some failures, a full disk among them, have rolled back already.
      if (writer.isInTransaction) attempt(this.name, () => writer.exec("rollback"));
      throw thrown;
    }
  }

  async close(): Promise<void> {
    await this.#last;
    this.#reader.close();
    this.#writer.close();
  }
}

/** One connection and the statements that it keeps prepared. */
class Connection {
  readonly #database: DatabaseSync;
  readonly #prepared = new Map<string, ReturnType<DatabaseSync["prepare"]>>();

  constructor(path: string, readOnly: boolean) {
    this.#database = new DatabaseSync(path, { readOnly, timeout: BUSY_TIMEOUT_MS });
  }

  get isInTransaction(): boolean {
    return this.#database.isTransaction;
  }

  exec(sql: string): void {
    this.#database.exec(sql);
  }

  all(sql: string, values: readonly Cell[]): StoredRow[] {
    return this.#prepare(sql).all(...values.map(inputOf));
  }

  close(): void {
    this.#prepared.clear();
    this.#database.close();
  }

  #prepare(sql: string) {
    const known = this.#prepared.get(sql);
    if (known) return known;
    // `$1` is a name to SQLite, `?1` a place.
    const statement = this.#database.prepare(sql.replace(/\$(\d+)/g, "?$1"));
    if (this.#prepared.size >= MAX_PREPARED) this.#prepared.clear();
    this.#prepared.set(sql, statement);
    return statement;
  }
}

function inputOf(value: Cell): SQLInputValue {
  return typeof value === "boolean" ? Number(value) : value;
}

/** SQLite gives the files beside it, `-wal` and `-shm`, the same mode. */
function makePrivate(path: string): void {
  Deno.openSync(path, { create: true, write: true, mode: 0o600 }).close();
  Deno.chmodSync(path, 0o600);
}

function attempt<T>(name: string, work: () => T): T {
  try {
    return work();
  } catch (cause) {
    const message = cause instanceof Error ? cause.message : String(cause);
    throw new CatalogError("unavailable", `${name}: ${message}`, { cause });
  }
}

/**
 * Makes sure that nobody has a file open, and keeps everybody from opening it until what it returns is called.
 *
 * A file that is not there, and one that is no database any more, are nobody's.
 *
 * @throws {CatalogError} `in_use`
 */
export function releaseSqlite(path: string): () => void {
  let database: DatabaseSync | undefined;
  try {
    Deno.lstatSync(path);
    database = new DatabaseSync(path, { timeout: 0 });
    // Leaving WAL takes that no other connection is there, and removes the files beside it.
    database.exec("pragma locking_mode=exclusive; pragma journal_mode=delete; begin exclusive");
    return () => database?.close();
  } catch (cause) {
    database?.close();
    if (cause instanceof Error && /locked|busy/.test(cause.message)) {
      throw new CatalogError("in_use", `${path} is in use: stop the gateway that writes to it first`, {
        cause,
      });
    }
    return () => {};
  }
}
