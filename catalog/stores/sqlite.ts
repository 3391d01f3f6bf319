import { DatabaseSync } from "node:sqlite";
import { Worker } from "node:worker_threads";
import { CatalogError } from "../catalog_error.ts";
import type { Query, Statement, Store, StoredRow, Transaction } from "../store.ts";
import type { Cell } from "../tables.ts";
import type { SqliteAnswer, SqliteRequest } from "./sqlite_worker.ts";

/** A request without its number. */
type Question = SqliteRequest extends infer Each ? Each extends { id: number } ? Omit<Each, "id"> : never
  : never;

/**
 * A file of SQLite, made with mode 0600.
 *
 * Journal mode WAL with `synchronous=NORMAL`: a killed process loses nothing, a power cut may lose the last transactions and never
 * the file. That is enough here, for what is lost stands in the events, from which the feed catches up.
 *
 * SQLite waits where it is called. That is a thread of its own, so that a disk that is slow, or a question that reads all of a
 * large index, holds up no session. Reads have a connection of their own and see what was committed.
 */
export class SqliteStore implements Store {
  readonly name: string;
  readonly textType = "text";
  readonly #worker: Worker;
  readonly #asked = new Map<number, PromiseWithResolvers<StoredRow[]>>();
  #asks = 0;
  #failure: string | undefined;
  #last: Promise<unknown> = Promise.resolve();

  private constructor(path: string) {
    this.name = `SQLite ${path}`;
    this.#worker = new Worker(new URL("./sqlite_worker.ts", import.meta.url), { workerData: { path } });
    this.#worker.on("message", (answer: SqliteAnswer) => this.#answered(answer));
    this.#worker.on(
      "error",
      (cause: unknown) => this.#failed(cause instanceof Error ? cause.message : String(cause)),
    );
    this.#worker.on("exit", () => this.#failed("closed"));
  }

  /** @throws {CatalogError} `unavailable` */
  static async open(path: string): Promise<SqliteStore> {
    const store = new SqliteStore(path);
    try {
      await store.#ask({ action: "open" });
    } catch (thrown) {
      await store.close();
      throw thrown;
    }
    return store;
  }

  query(sql: string, values: readonly Cell[] = []): Promise<StoredRow[]> {
    return this.#ask({ action: "run", connection: "reader", statements: [{ sql, values }] });
  }

  async transaction<T>(work: (transaction: Transaction) => Promise<T>): Promise<T> {
    const turn = this.#last.then(() => this.#transaction(work));
    this.#last = turn.catch(() => {});
    return await turn;
  }

  async close(): Promise<void> {
    await this.#last;
    await this.#ask({ action: "close" }).catch(() => {});
    await this.#worker.terminate();
  }

  async #transaction<T>(work: (transaction: Transaction) => Promise<T>): Promise<T> {
    const write = (statements: readonly Statement[]) =>
      this.#ask({ action: "run", connection: "writer", statements });
    const query: Query = (sql, values = []) => write([{ sql, values }]);
    await query("begin immediate");
    try {
      const result = await work({ query, write: async (statements) => void await write(statements) });
      await query("commit");
      return result;
    } catch (thrown) {
      await this.#ask({ action: "rollback" });
      throw thrown;
    }
  }

  #ask(question: Question): Promise<StoredRow[]> {
    if (this.#failure !== undefined) return Promise.reject(this.#unavailable(this.#failure));
    const id = ++this.#asks;
    const asked = Promise.withResolvers<StoredRow[]>();
    this.#asked.set(id, asked);
    this.#worker.postMessage({ id, ...question });
    return asked.promise;
  }

  #answered(answer: SqliteAnswer): void {
    const asked = this.#asked.get(answer.id);
    this.#asked.delete(answer.id);
    if (answer.error === undefined) asked?.resolve(answer.rows);
    else asked?.reject(this.#unavailable(answer.error));
  }

  #failed(message: string): void {
    this.#failure ??= message;
    for (const { reject } of this.#asked.values()) reject(this.#unavailable(message));
    this.#asked.clear();
  }

  #unavailable(message: string): CatalogError {
    return new CatalogError("unavailable", `${this.name}: ${message}`);
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
