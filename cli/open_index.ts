import { openCatalog } from "../catalog/open_catalog.ts";
import { SqlCatalog } from "../catalog/sql_catalog.ts";
import { SqliteStore } from "../catalog/stores/sqlite.ts";
import type { Configuration } from "../config/gateway_configuration.ts";
import { loadConfiguration } from "../config/load.ts";
import { UsageError } from "./command.ts";

/** Which index is meant, as parseArguments knows it. */
export const INDEX_ARGUMENTS = {
  config: { type: "string", short: "c" },
  sqlite: { type: "string" },
} as const;

/** What `--help` says of it. */
export const INDEX_HELP =
  `  -c, --config FILE       the gateway's configuration: its section index says where the index is
      --sqlite FILE       the index is this file`;

/**
 * The `index` section that the arguments mean.
 *
 * @throws {UsageError} unless there is exactly one of the two, and an index
 */
export async function indexOptions(
  { config, sqlite }: { config?: string | undefined; sqlite?: string | undefined },
): Promise<Configuration["index"] | { type: "file"; path: string }> {
  if (config !== undefined && sqlite === undefined) {
    const { index } = await loadConfiguration(config);
    if (index.type === "none") throw new UsageError(`${config} has no index: its index.type is "none"`);
    return index;
  }
  if (sqlite !== undefined && config === undefined) return { type: "file", path: sqlite };
  throw new UsageError("expected one of --config FILE and --sqlite FILE");
}

/** Opens the index that the arguments mean, does something, and closes it. */
export async function withIndex<T>(
  values: { config?: string | undefined; sqlite?: string | undefined },
  work: (catalog: SqlCatalog) => Promise<T>,
): Promise<T> {
  const options = await indexOptions(values);
  // A file that is not there would be made, and what was asked for not found in it.
  if (options.type === "file") await requireFile(options.path);
  if (options.type === "sqlite") await requireFile(options.sqlite.path);
  const catalog = options.type === "file"
    ? await SqlCatalog.open(await SqliteStore.open(options.path))
    : await openCatalog(options);
  if (!catalog) throw new UsageError("there is no index");
  try {
    return await work(catalog);
  } finally {
    await catalog.close();
  }
}

async function requireFile(path: string): Promise<void> {
  const found = await Deno.stat(path).catch(() => undefined);
  if (!found?.isFile) throw new Error(`there is no index at ${path}`);
}
