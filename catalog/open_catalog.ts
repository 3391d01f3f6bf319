import { CatalogError } from "./catalog_error.ts";
import { SqlCatalog } from "./sql_catalog.ts";
import { PostgresqlStore } from "./stores/postgresql.ts";
import { SqliteStore } from "./stores/sqlite.ts";

/** What an operator says about the index. */
export interface IndexOptions {
  type: "none" | "sqlite" | "postgresql";
  sqlite: { path: string };
  postgresql: PostgresqlIndexOptions;
}

/** How the server is reached. */
export interface PostgresqlIndexOptions {
  /** Holds the URL, its password with it. */
  urlFile: string;
  /** PEM of who may vouch for the server. */
  caFile?: string | undefined;
  maxConnections: number;
}

/**
 * Opens the index, and makes or renews its tables.
 *
 * @returns `undefined` where there is to be none
 * @throws {CatalogError}
 */
export async function openCatalog(options: IndexOptions): Promise<SqlCatalog | undefined> {
  switch (options.type) {
    case "none":
      return undefined;
    case "sqlite":
      return await SqlCatalog.open(await SqliteStore.open(options.sqlite.path));
    case "postgresql":
      return await SqlCatalog.open(await openPostgresql(options.postgresql));
  }
}

/** Opens a schema of the server. @throws {CatalogError} */
export async function openPostgresql(
  { urlFile, caFile, maxConnections }: PostgresqlIndexOptions,
  schema?: string,
): Promise<PostgresqlStore> {
  const url = await read(urlFile);
  return await PostgresqlStore.open({
    url,
    maxConnections,
    ...(caFile !== undefined && { ca: await read(caFile) }),
    ...(schema !== undefined && { schema }),
  });
}

async function read(file: string): Promise<string> {
  try {
    return (await Deno.readTextFile(file)).trim();
  } catch (cause) {
    const message = cause instanceof Error ? cause.message : String(cause);
    throw new CatalogError("unavailable", `${file}: ${message}`, { cause });
  }
}
