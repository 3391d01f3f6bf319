import type { Cell } from "./tables.ts";

/** A row as a database gives it, by column. */
export type StoredRow = Readonly<Record<string, unknown>>;

/** Asks a database. Parameters are `$1`, `$2`, … in the order of `values`. */
export type Query = (sql: string, values?: readonly Cell[]) => Promise<StoredRow[]>;

/** One thing to be done, with its parameters. */
export interface Statement {
  sql: string;
  values: readonly Cell[];
}

/** Many questions and changes that happen together or not at all. */
export interface Transaction {
  query: Query;
  /** Changes, in their order; faster than one after the other. */
  write(statements: readonly Statement[]): Promise<void>;
}

/** A database, as much of one as the index needs. Its SQL is what SQLite and PostgreSQL both understand. */
export interface Store {
  /** For status and log, without credentials. */
  readonly name: string;
  /** The type of texts, which sort by their bytes. */
  readonly textType: string;
  /** Reads. @throws {CatalogError} `unavailable` */
  query: Query;
  /**
   * Writes all that `work` does, or nothing. Only one transaction is at work at a time, in all processes together.
   *
   * @throws {CatalogError} `unavailable`
   */
  transaction<T>(work: (transaction: Transaction) => Promise<T>): Promise<T>;
  /** Never throws. */
  close(): Promise<void>;
}
