import { dirname } from "node:path";
import type { RecordingStore } from "../recording/store.ts";
import { RECORDING_SUFFIX } from "../recording/store.ts";
import { CatalogError } from "./catalog_error.ts";
import { readEventFiles } from "./event_files.ts";
import { openPostgresql, type PostgresqlIndexOptions } from "./open_catalog.ts";
import { type AuditEventLike, type Contribution, readEvent } from "./read_event.ts";
import { readRecording } from "./read_recording.ts";
import { mergeInto, SqlCatalog } from "./sql_catalog.ts";
import { replaceSchema } from "./stores/postgresql.ts";
import { releaseSqlite, SqliteStore } from "./stores/sqlite.ts";

/** What the index is made anew from. */
export interface RebuildSources {
  /** Files of events; of each, those that it was rotated to as well. */
  events: readonly string[];
  /** For sessions whose events are missing. */
  recordings?: Pick<RecordingStore, "list" | "open">;
  /** Told of a line that is no event and of a recording that cannot be read. */
  onSkipped?(message: string): void;
}

/** What was found in them. */
export interface RebuildResult {
  events: number;
  /** Recordings of sessions that no event told of. */
  recordings: number;
}

/** How much earlier than the rebuild began an event may have been made that came meanwhile, in milliseconds. */
const SLACK_MS = 120_000;

/** The schema of the gateways. */
const SCHEMA = "postern";

/**
 * Makes a file anew, and puts it in the place of the old one in one step. What cannot be read of the old one does not matter.
 *
 * @throws {CatalogError} `in_use`, where a gateway has the file open: it would go on writing to the old one
 */
export async function rebuildSqlite(path: string, sources: RebuildSources): Promise<RebuildResult> {
  releaseSqlite(path)();
  const next = `${path}.rebuild`;
  await removeDatabase(next);
  try {
    const catalog = await SqlCatalog.open(await SqliteStore.open(next));
    let result: RebuildResult;
    try {
      result = await fill(catalog, sources);
    } finally {
      await catalog.close();
    }
    await sync(next);
    const release = releaseSqlite(path);
    try {
      await Deno.rename(next, path);
    } finally {
      release();
    }
    // What a damaged file has left beside it, SQLite would take for a part of the new one.
    await Promise.all([`${path}-wal`, `${path}-shm`, `${path}-journal`].map(removeIfThere));
    await sync(dirname(path));
    return result;
  } finally {
    await removeDatabase(next);
  }
}

/**
 * Makes the tables anew beside the old ones, and puts them in their place in one transaction. Gateways may go on writing: what
 * they wrote down meanwhile is read again before.
 *
 * @throws {CatalogError}
 */
export async function rebuildPostgresql(
  options: PostgresqlIndexOptions,
  sources: RebuildSources,
): Promise<RebuildResult> {
  const begun = new Date(Date.now() - SLACK_MS).toISOString();
  const next = `${SCHEMA}_rebuild`;
  const current = await openPostgresql(options, SCHEMA);
  try {
    await current.query(`drop schema if exists ${next} cascade`);
    const catalog = await SqlCatalog.open(await openPostgresql(options, next));
    let result: RebuildResult;
    try {
      result = await fill(catalog, sources);
    } finally {
      await catalog.close();
    }
    await replaceSchema(current, next, SCHEMA, async (transaction) => {
      for await (const batch of readEventFiles(sources.events, { since: begun })) {
        await mergeInto(transaction, contributionsOf(batch));
      }
    });
    return result;
  } finally {
    await current.close();
  }
}

async function fill(catalog: SqlCatalog, sources: RebuildSources): Promise<RebuildResult> {
  const { onSkipped = () => {} } = sources;
  let events = 0;
  const options = { onSkipped: (path: string, line: number) => onSkipped(`${path}:${line}: no event`) };
  for await (const batch of readEventFiles(sources.events, options)) {
    await catalog.merge(contributionsOf(batch, onSkipped));
    events += batch.length;
  }
  let recordings = 0;
  for await (const { path } of sources.recordings?.list("") ?? []) {
    if (!path.endsWith(RECORDING_SUFFIX) || !sources.recordings) continue;
    try {
      const isWanted = async (auditId: string) => (await catalog.known([auditId])).size === 0;
      const contribution = await readRecording(path, await sources.recordings.open(path), isWanted);
      if (!contribution) continue;
      await catalog.merge([contribution]);
      recordings++;
    } catch (thrown) {
      if (thrown instanceof CatalogError && thrown.code !== "invalid") throw thrown;
      onSkipped(thrown instanceof Error ? thrown.message : String(thrown));
    }
  }
  return { events, recordings };
}

/** What can be read of events; an event with a time or number that is none is left out. */
function contributionsOf(
  events: readonly AuditEventLike[],
  onSkipped: (message: string) => void = () => {},
): Contribution[] {
  return events.flatMap((event) => {
    try {
      return readEvent(event) ?? [];
    } catch (thrown) {
      onSkipped(thrown instanceof Error ? thrown.message : String(thrown));
      return [];
    }
  });
}

async function removeDatabase(path: string): Promise<void> {
  await Promise.all(["", "-wal", "-shm", "-journal"].map((suffix) => removeIfThere(path + suffix)));
}

async function removeIfThere(path: string): Promise<void> {
  try {
    await Deno.remove(path);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}

async function sync(path: string): Promise<void> {
  using file = await Deno.open(path);
  await file.sync();
}
