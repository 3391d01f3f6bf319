import type { RecordingFile } from "./recorder.ts";

/** What went wrong with a store. `code` is stable; `message` is for people, and holds no credential. */
export class StoreError extends Error {
  override readonly name = "StoreError";
  constructor(
    readonly code:
      /** The path is none of a recording. */
      | "path_refused"
      | "not_found"
      /** There is something of that name already: it is never written over. */
      | "exists"
      /** The store answered, and said no. */
      | "refused"
      /** The store did not answer, or not in time, or not sensibly. */
      | "unavailable"
      /** What lies there is not what was written. */
      | "damaged",
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/** A recording, or a chain, that lies in a store. */
export interface StoredRecording {
  /** As it was created: `2026/11/21/<auditId>.rec`. */
  path: string;
  bytes: number;
  modifiedAt: Date;
}

/** Which bytes of a recording: from `offset` to before `end`; all by default. What lies past its end is empty. */
export interface ByteRange {
  offset?: number;
  end?: number;
}

/** Where recordings lie: a folder, or storage that speaks S3. Paths are relative and end as {@linkcode isStored} has it. */
export interface RecordingStore {
  /**
   * Begins a recording. No other may be there under this path.
   *
   * @throws {StoreError} or what the platform throws
   */
  create(path: string): Promise<RecordingFile>;
  /**
   * What of a recording is durable, also while it is being written. Cancel the stream, or read it to its end.
   *
   * @throws {StoreError} `not_found`
   */
  open(path: string, range?: ByteRange): Promise<ReadableStream<Uint8Array>>;
  /** Recordings and chains whose path begins so; `""` for all. Memory does not grow with their number. */
  list(prefix: string): AsyncIterable<StoredRecording>;
  /** Removes a recording. That there is none is no error. */
  remove(path: string): Promise<void>;
  /**
   * Makes one of the pieces that a gateway left which is gone; it can append nothing more from then on. Absent where a
   * recording has no pieces.
   *
   * @throws {StoreError} `exists` where it turns out to be written still
   */
  assemble?(path: string): Promise<void>;
  /** Waits for what is done in the background, no longer than for a request. */
  [Symbol.asyncDispose]?(): Promise<void>;
}

/** What every recording's path ends in. */
export const RECORDING_SUFFIX = ".rec";

/** What the path of a day's chain ends in, which lies beside the recordings that it names. */
export const CHAIN_SUFFIX = ".chain";

/** What the path of a legal hold ends in: `<recording>.hold`, beside the recording, which is not deleted while it is there. */
export const HOLD_SUFFIX = ".hold";

/** What the path ends in of a hold's release, which is kept for as long as the recording is. */
export const RELEASE_SUFFIX = ".released";

const SUFFIXES = [RECORDING_SUFFIX, CHAIN_SUFFIX, HOLD_SUFFIX, RELEASE_SUFFIX];

/** Whether a path ends as those do that a store holds. */
export function isStored(path: string): boolean {
  return SUFFIXES.some((suffix) => path.endsWith(suffix));
}

/** Longest path of a recording, in UTF-16 units: S3 takes 1,024 bytes for a key, with prefix and segment. */
const MAX_PATH_LENGTH = 512;

/**
 * A path names a recording below the store, by whatever it is read: no step leads up, none is empty, and no character means
 * something else on a file system, in a URL or in XML.
 *
 * @returns the path
 * @throws {StoreError} `path_refused`
 */
export function checkRecordingPath(path: string): string {
  const isGood = path.length <= MAX_PATH_LENGTH && isStored(path) &&
    path.split("/").every((name) => /^[A-Za-z0-9_-][A-Za-z0-9._-]*$/.test(name));
  if (!isGood) throw new StoreError("path_refused", `no path of a recording: ${JSON.stringify(path)}`);
  return path;
}

/** @throws {StoreError} `path_refused` for what is no range */
export function checkRange({ offset = 0, end = Infinity }: ByteRange): Required<ByteRange> {
  const isGood = Number.isSafeInteger(offset) && offset >= 0 && end >= 0 &&
    (Number.isSafeInteger(end) || end === Infinity);
  if (!isGood) throw new StoreError("path_refused", `no range of bytes: ${offset} to ${end}`);
  return { offset, end };
}
