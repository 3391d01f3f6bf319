import { isIP } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { rootCertificates } from "node:tls";
import postgres from "postgres";
import { CatalogError } from "../catalog_error.ts";
import type { Query, Store, StoredRow, Transaction } from "../store.ts";
import type { Cell } from "../tables.ts";

/** Options of a {@linkcode PostgresqlStore}. */
export interface PostgresqlOptions {
  /** `postgresql://USER:PASSWORD@HOST:PORT/DATABASE`, HOST a name or an IPv4 address; other parameters are not read. */
  url: string;
  /** PEM of who may vouch for the server; without it, whom the system trusts. */
  ca?: string;
  /** @default 4 */
  maxConnections?: number;
  /** Where the tables are. @default "postern" */
  schema?: string;
  /** How long a question or a transaction may take, in milliseconds. @default 15000 */
  timeoutMs?: number;
}

/** Options that the package reads and its types do not know. */
const UNTYPED = { sslnegotiation: null, max_pipeline: 100 };

type Sql = ReturnType<typeof connect>;

/** Held while a transaction is at work, so that gateways write one after the other: "postern" in a number. */
const LOCK = 0x706f7374;

/** The package loses a question that is asked while it still takes a lost connection apart. */
const LOST_CONNECTION_PAUSE_MS = 50;

/** Integers beyond 32 bits come as numbers, not as texts. */
const NUMBER = {
  to: 20,
  from: [20],
  serialize: (value: number) => value.toString(),
  parse: (text: string) => Number(text),
};

/**
 * A schema in PostgreSQL. The connection is TLS with a verified server always, but on the machine itself: what an index says of
 * users and commands is not for the network to read.
 */
export class PostgresqlStore implements Store {
  readonly name: string;
  readonly textType = `text collate "C"`;
  readonly #options: PostgresqlOptions;
  readonly #schema: string;
  readonly #timeoutMs: number;
  readonly #maxConnections: number;
  #sql: Sql;
  #isClosed = false;

  private constructor(options: PostgresqlOptions) {
    const { schema = "postern", timeoutMs = 15_000 } = options;
    if (!/^[a-z_][a-z0-9_]{0,62}$/.test(schema)) {
      throw new CatalogError("invalid", "expected a schema's name of lower-case letters, digits and _");
    }
    this.#options = options;
    this.#schema = schema;
    this.#timeoutMs = timeoutMs;
    this.#maxConnections = maxConnectionsOf(options);
    const { hostname, port, pathname } = serverOf(options.url);
    this.name = `PostgreSQL ${hostname}:${port || 5432}${pathname} schema ${schema}`;
    this.#sql = connect(options, schema, timeoutMs);
  }

  /**
   * Opens a schema, and makes it where there is none.
   *
   * @throws {CatalogError} `invalid`, where the URL is none; `unavailable`
   */
  static async open(options: PostgresqlOptions): Promise<PostgresqlStore> {
    const store = new PostgresqlStore(options);
    try {
      await store.transaction(async ({ query }) => {
        // To be allowed to look is less than to be allowed to make one.
        const [there] = await query("select 1 from pg_namespace where nspname = $1", [store.#schema]);
        if (!there) await query(`create schema ${store.#schema}`);
      });
    } catch (thrown) {
      await store.close();
      throw thrown;
    }
    return store;
  }

  /** A server that was started again has closed every connection: each that is still there is found out by a question. */
  query(sql: string, values: readonly Cell[] = []): Promise<StoredRow[]> {
    return this.#bounded(async (db) => {
      for (let left = this.#maxConnections; left > 0; left--) {
        try {
          return await ask(db, sql, values);
        } catch (thrown) {
          if (!isLostConnection(thrown)) throw thrown;
          await delay(LOST_CONNECTION_PAUSE_MS);
        }
      }
      return await ask(db, sql, values);
    });
  }

  transaction<T>(work: (transaction: Transaction) => Promise<T>): Promise<T> {
    return this.#bounded(async (db) => {
      // A value of the caller's, which `begin` would take for a list of questions where it is one.
      const { value } = await db.begin(async (transaction) => {
        const query: Query = (sql, values = []) => ask(transaction, sql, values);
        await query("select pg_advisory_xact_lock($1)", [LOCK]);
        // Sent one behind the other, without waiting for each.
        const write: Transaction["write"] = async (statements) =>
          void await Promise.all(statements.map(({ sql, values }) => query(sql, values)));
        return { value: await work({ query, write }) };
      });
      return value;
    });
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#sql.end({ timeout: 1 }).catch(() => {});
  }

  /** A server that hangs is left: its connections are closed, and the next question opens new ones. */
  async #bounded<T>(work: (db: Sql) => Promise<T>): Promise<T> {
    if (this.#isClosed) throw new CatalogError("unavailable", `${this.name}: closed`);
    const db = this.#sql;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const deadline = new Promise<never>((_, reject) => {
      timer = setTimeout(() => {
        reject(new CatalogError("unavailable", `${this.name}: no answer within ${this.#timeoutMs} ms`));
        if (db !== this.#sql || this.#isClosed) return;
        this.#sql = connect(this.#options, this.#schema, this.#timeoutMs);
        db.end({ timeout: 0 }).catch(() => {});
      }, this.#timeoutMs);
    });
    const answer = work(db);
    answer.catch(() => {}); // after the deadline nobody listens
    try {
      return await Promise.race([answer, deadline]);
    } catch (cause) {
      if (cause instanceof CatalogError) throw cause;
      throw new CatalogError("unavailable", `${this.name}: ${messageOf(cause)}`, { cause });
    } finally {
      clearTimeout(timer);
    }
  }
}

/**
 * Puts one schema in another's place, which is removed. Whoever asks meanwhile sees the one or the other, whole.
 *
 * @param store of any schema of the database
 * @param last writes to the new schema what came meanwhile, while no gateway writes to the old one
 * @throws {CatalogError} `unavailable`
 */
export async function replaceSchema(
  store: PostgresqlStore,
  from: string,
  to: string,
  last: (transaction: Transaction) => Promise<void>,
): Promise<void> {
  await store.transaction(async (transaction) => {
    const { query } = transaction;
    await query(`set local search_path to ${from}`);
    await last(transaction);
    await query(`drop schema if exists ${to} cascade`);
    await query(`alter schema ${from} rename to ${to}`);
  });
}

function connect(options: PostgresqlOptions, schema: string, timeoutMs: number) {
  const { hostname, port, username, password, pathname } = serverOf(options.url);
  // Everything is said, so that no variable of the environment says otherwise.
  return postgres({
    ...UNTYPED,
    host: hostname,
    port: Number(port || 5432),
    user: decodeURIComponent(username),
    pass: decodeURIComponent(password),
    database: decodeURIComponent(pathname.slice(1)),
    max: maxConnectionsOf(options),
    ssl: isLocal(hostname) && options.ca === undefined ? false : {
      host: hostname,
      rejectUnauthorized: true,
      ca: options.ca ?? [...rootCertificates],
    },
    idle_timeout: 60,
    connect_timeout: Math.ceil(timeoutMs / 1000),
    max_lifetime: 3600,
    backoff: false,
    keep_alive: 30,
    prepare: true,
    debug: false,
    fetch_types: false,
    publications: "alltables",
    target_session_attrs: "read-write",
    onnotice: () => {},
    types: { bigint: NUMBER },
    connection: {
      application_name: "postern",
      search_path: schema,
      statement_timeout: timeoutMs,
      // A gateway that hangs in a transaction must not hold up the others.
      idle_in_transaction_session_timeout: timeoutMs,
    },
  });
}

function maxConnectionsOf({ maxConnections = 4 }: PostgresqlOptions): number {
  return maxConnections;
}

/** Whether a connection ended under a question, by the server's word (class 57P: operator intervention) or without one. */
function isLostConnection(thrown: unknown): boolean {
  if (!(thrown instanceof Error && "code" in thrown)) return false;
  return /^(57P0[123]|CONNECTION_(CLOSED|ENDED|DESTROYED)|ECONNRESET|EPIPE)$/.test(String(thrown.code));
}

async function ask(db: Pick<Sql, "unsafe">, sql: string, values: readonly Cell[]): Promise<StoredRow[]> {
  return [...await db.unsafe(sql, [...values], { prepare: true })];
}

/**
 * The package knows no IPv6 addresses, only names that have some.
 *
 * @throws {CatalogError} `invalid`, without a word of the URL: there is a password in it
 */
function serverOf(text: string): URL {
  const url = URL.parse(text.trim());
  const isOne = url !== null && /^postgres(ql)?:$/.test(url.protocol) && /^[^[]/.test(url.hostname) &&
    url.username !== "" && url.pathname.length > 1;
  if (isOne) return url;
  throw new CatalogError("invalid", "expected a URL such as postgresql://USER:PASSWORD@HOST:5432/DATABASE");
}

function isLocal(address: string): boolean {
  return address === "localhost" || (isIP(address) === 4 && address.startsWith("127."));
}

function messageOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}
