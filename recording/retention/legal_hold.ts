import {
  checkRecordingPath,
  HOLD_SUFFIX,
  RECORDING_SUFFIX,
  type RecordingStore,
  RELEASE_SUFFIX,
  StoreError,
} from "../store.ts";

/** Largest hold that is read, in bytes. */
const MAX_HOLD_BYTES = 64 * 1024;

/** Who demands that a recording is kept, or no longer does. */
export interface HoldNote {
  by: string;
  /** RFC 3339. */
  at: string;
  reason: string;
}

/** A recording that must not be deleted. */
export interface LegalHold extends Partial<HoldNote> {
  /** The recording's, below the store. */
  path: string;
}

/** Where the hold of a recording lies. */
export function holdPath(recording: string): string {
  return `${recording}${HOLD_SUFFIX}`;
}

/**
 * Forbids to delete a recording.
 *
 * @param recording its path below the store
 * @returns `false` where it was held already: that hold stays as it is
 * @throws {StoreError} `not_found` where the recording is not there, also where it was deleted just now
 */
export async function placeHold(store: RecordingStore, recording: string, note: HoldNote): Promise<boolean> {
  await requireRecording(store, recording);
  try {
    await write(store, holdPath(recording), note);
  } catch (thrown) {
    if (thrown instanceof StoreError && thrown.code === "exists") return false;
    throw thrown;
  }
  try {
    // A sweep may have been about to delete it.
    await requireRecording(store, recording);
  } catch (thrown) {
    await store.remove(holdPath(recording));
    throw thrown;
  }
  return true;
}

/**
 * Allows to delete a recording again. Who did so, and the hold that was, are kept beside the recording for as long as that is.
 *
 * @returns the hold that was; `undefined` where there was none
 */
export async function releaseHold(
  store: RecordingStore,
  recording: string,
  note: HoldNote,
): Promise<LegalHold | undefined> {
  if (!await isThere(store, holdPath(recording))) return undefined;
  const hold = { path: recording, ...await readNote(store, holdPath(recording)) };
  const { path: _, ...held } = hold;
  const time = note.at.replaceAll(/[^0-9]/g, "");
  await write(store, `${recording}.${time}${RELEASE_SUFFIX}`, { ...note, hold: held });
  await store.remove(holdPath(recording));
  return hold;
}

/** Every hold there is. One that cannot be read is one all the same. */
export async function* listHolds(store: RecordingStore): AsyncGenerator<LegalHold, void, undefined> {
  for await (const { path } of store.list("")) {
    if (!path.endsWith(HOLD_SUFFIX)) continue;
    yield { path: path.slice(0, -HOLD_SUFFIX.length), ...await readNote(store, path) };
  }
}

/** Whether a store has something of that path, at this moment. @throws what the store throws, but for `not_found` */
export async function isThere(store: RecordingStore, path: string): Promise<boolean> {
  try {
    const bytes = await store.open(path, { end: 0 });
    await bytes.cancel();
    return true;
  } catch (thrown) {
    if (thrown instanceof StoreError && thrown.code === "not_found") return false;
    throw thrown;
  }
}

async function requireRecording(store: RecordingStore, recording: string): Promise<void> {
  if (!checkRecordingPath(recording).endsWith(RECORDING_SUFFIX)) {
    throw new StoreError("path_refused", `${recording} is no recording`);
  }
  if (await isThere(store, recording)) return;
  throw new StoreError("not_found", `there is no recording ${recording}`);
}

async function write(store: RecordingStore, path: string, note: object): Promise<void> {
  const file = await store.create(path);
  try {
    await file.append(new TextEncoder().encode(`${JSON.stringify(note)}\n`));
  } finally {
    await file.close();
  }
}

async function readNote(store: RecordingStore, path: string): Promise<Partial<HoldNote>> {
  try {
    const text = await new Response(await store.open(path, { end: MAX_HOLD_BYTES })).text();
    const note: unknown = JSON.parse(text);
    if (typeof note !== "object" || note === null) return {};
    const { by, at, reason }: Record<string, unknown> = { ...note };
    return {
      ...(typeof by === "string" && { by }),
      ...(typeof at === "string" && { at }),
      ...(typeof reason === "string" && { reason }),
    };
  } catch (thrown) {
    if (thrown instanceof SyntaxError || thrown instanceof StoreError) return {};
    throw thrown;
  }
}
