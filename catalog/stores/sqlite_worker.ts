import { DatabaseSync, type SQLInputValue } from "node:sqlite";
import { parentPort, workerData } from "node:worker_threads";
import type { Statement, StoredRow } from "../store.ts";
import type { Cell } from "../tables.ts";

/** What the thread of a {@linkcode SqliteStore} is asked. Answers come in the order of requests. */
export type SqliteRequest =
  /** Opens both connections. */
  | { id: number; action: "open" }
  /** Runs statements in their order; the rows are the last one's. */
  | { id: number; action: "run"; connection: "reader" | "writer"; statements: readonly Statement[] }
  /** Ends a transaction that failed, where it has not ended already: a full disk has done so. */
  | { id: number; action: "rollback" }
  | { id: number; action: "close" };

/** Rows, or why there are none. */
export type SqliteAnswer =
  | { id: number; rows: StoredRow[]; error?: undefined }
  | { id: number; error: string };

/** How long another process's transaction is waited for, in milliseconds. */
const BUSY_TIMEOUT_MS = 2_000;

/** Most statements that a connection keeps prepared. */
const MAX_PREPARED = 64;

/** One connection and the statements that it keeps prepared. */
class Connection {
  readonly #database: DatabaseSync;
  readonly #prepared = new Map<string, ReturnType<DatabaseSync["prepare"]>>();

  constructor(path: string, readOnly: boolean) {
    this.#database = new DatabaseSync(path, { readOnly, timeout: BUSY_TIMEOUT_MS });
  }

  exec(sql: string): void {
    this.#database.exec(sql);
  }

  rollback(): void {
    if (this.#database.isTransaction) this.#database.exec("rollback");
  }

  all({ sql, values }: Statement): StoredRow[] {
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

const connections: { writer?: Connection; reader?: Connection } = {};

function answer(request: SqliteRequest): StoredRow[] {
  switch (request.action) {
    case "open":
      open(String(workerData.path));
      return [];
    case "run": {
      const connection = connections[request.connection];
      if (!connection) throw new Error("closed");
      return request.statements.reduce<StoredRow[]>((_rows, statement) => connection.all(statement), []);
    }
    case "rollback":
      connections.writer?.rollback();
      return [];
    case "close":
      // The last one to close takes the journal back into the file, which a reader cannot.
      connections.reader?.close();
      connections.writer?.close();
      return [];
    default:
      return request satisfies never;
  }
}

function open(path: string): void {
  // SQLite gives the files beside it, `-wal` and `-shm`, the same mode.
  Deno.openSync(path, { create: true, write: true, mode: 0o600 }).close();
  Deno.chmodSync(path, 0o600);
  connections.writer = new Connection(path, false);
  connections.writer.exec("pragma journal_mode=wal; pragma synchronous=normal");
  connections.reader = new Connection(path, true);
}

parentPort?.on("message", (request: SqliteRequest) => {
  const { id } = request;
  try {
    parentPort?.postMessage({ id, rows: answer(request) } satisfies SqliteAnswer);
  } catch (thrown) {
    const error = thrown instanceof Error ? thrown.message : String(thrown);
    parentPort?.postMessage({ id, error } satisfies SqliteAnswer);
  }
});
