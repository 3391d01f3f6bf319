import { CatalogError } from "./catalog_error.ts";
import { type AuditEventLike, parseEvent } from "./read_event.ts";

/** Longest line that is read, in bytes: the gateway writes none of more than 2 MiB. */
const MAX_LINE_BYTES = 4 * 1024 * 1024;

/** Most events that are given at once. */
const BATCH = 64;

const NEWLINE = 10;

/** What may be said of a reading. */
export interface EventFileOptions {
  /** RFC 3339 with microseconds, UTC: events that were made before are left out. */
  since?: string;
  /** Told of a line that is no event: what a crash or a full disk left of one, or what somebody else wrote. */
  onSkipped?(path: string, line: number): void;
}

/**
 * The events in files that the gateway wrote, a few at a time. Of each file that it rotated, `<path>.1`, `.2` and so on are read
 * too, the oldest first; a rotation meanwhile loses none.
 *
 * @throws {CatalogError} `invalid`, where there is no file of a path
 */
export async function* readEventFiles(
  paths: readonly string[],
  options: EventFileOptions = {},
): AsyncGenerator<AuditEventLike[], void, undefined> {
  for (const path of paths) {
    const files = await openRotated(path, options.since);
    try {
      for (const { name, file } of files.toReversed()) yield* eventsOf(name, file, options);
    } finally {
      for (const { file } of files) file.close();
    }
  }
}

/**
 * Opens a file and those that it was rotated to, the newest first: one that is renamed in between is then opened twice, and none
 * is missed.
 */
async function openRotated(path: string, since: string | undefined) {
  const files: { name: string; file: Deno.FsFile }[] = [];
  try {
    for (let number = 0;; number++) {
      const name = number === 0 ? path : `${path}.${number}`;
      const file = await openOrNothing(name);
      // A rotation that was cut has left at most one gap in the numbers.
      if (!file && number > 0 && !await exists(`${path}.${number + 1}`)) break;
      if (!file) continue;
      const { mtime } = await file.stat();
      files.push({ name, file });
      if (since !== undefined && mtime && mtime.toISOString() < since.slice(0, 19)) break;
    }
  } catch (thrown) {
    for (const { file } of files) file.close();
    throw thrown;
  }
  if (files.length === 0) throw new CatalogError("invalid", `there is no file of events at ${path}`);
  return files;
}

async function openOrNothing(path: string): Promise<Deno.FsFile | undefined> {
  try {
    return await Deno.open(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

async function exists(path: string): Promise<boolean> {
  const file = await openOrNothing(path);
  file?.close();
  return file !== undefined;
}

async function* eventsOf(
  path: string,
  file: Deno.FsFile,
  { since = "", onSkipped = () => {} }: EventFileOptions,
): AsyncGenerator<AuditEventLike[], void, undefined> {
  let batch: AuditEventLike[] = [];
  let number = 0;
  for await (const line of linesOf(file)) {
    number++;
    const event = eventOf(line);
    if (event === undefined) {
      if (line.length > 0) onSkipped(path, number);
    } else if (event.stageTimestamp >= since) {
      batch.push(event);
    }
    if (batch.length < BATCH) continue;
    yield batch;
    batch = [];
  }
  if (batch.length > 0) yield batch;
}

/** `undefined` where the line is no event, or one that says nothing that can be read. */
function eventOf(line: Uint8Array): AuditEventLike | undefined {
  try {
    return parseEvent(JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(line)));
  } catch {
    return undefined;
  }
}

/** Lines without their ends. Of a line that is too long, and of one without an end, what there is: it is no event. */
async function* linesOf(file: Deno.FsFile): AsyncGenerator<Uint8Array, void, undefined> {
  const buffer = new Uint8Array(65536);
  let held: Uint8Array[] = [];
  let heldBytes = 0;
  for (let count = await file.read(buffer); count !== null; count = await file.read(buffer)) {
    let start = 0;
    for (let end = buffer.indexOf(NEWLINE); end !== -1 && end < count; end = buffer.indexOf(NEWLINE, start)) {
      yield concat([...held, buffer.subarray(start, end)]);
      held = [];
      heldBytes = 0;
      start = end + 1;
    }
    if (heldBytes > MAX_LINE_BYTES) continue;
    held.push(buffer.slice(start, count));
    heldBytes += count - start;
  }
  if (heldBytes > 0) yield concat(held);
}

function concat(chunks: readonly Uint8Array[]): Uint8Array {
  const joined = new Uint8Array(chunks.reduce((sum, chunk) => sum + chunk.length, 0));
  let offset = 0;
  for (const chunk of chunks) {
    joined.set(chunk, offset);
    offset += chunk.length;
  }
  return joined;
}
