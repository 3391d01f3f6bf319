import { decryptKey, isEncrypted } from "./decrypt_key.ts";
import { RecordingError } from "./recording_error.ts";
import { type RecordingEvent, RecordingReader } from "./recording_reader.ts";

/** A recording's bytes from its first one; each call reads it anew. */
export type OpenRecording = () => AsyncIterable<Uint8Array>;

/** A recording that can be read, as often as wanted. */
export interface ReadableRecording {
  header: Record<string, unknown>;
  /**
   * What happened, from the beginning. What an event's bytes are is overwritten by none, but keeps the piece that was read.
   *
   * @throws {RecordingError} at the first byte that is not what was written; all before was
   */
  events(): AsyncGenerator<RecordingEvent, void, undefined>;
}

/**
 * Reads a recording's header, and with it how to read the rest.
 *
 * @param identities for what is encrypted, see `parseIdentities`
 * @throws {RecordingError} also `key_missing`, where it is encrypted and none of the identities opens it
 */
export async function readRecording(
  open: OpenRecording,
  identities: readonly string[] = [],
): Promise<ReadableRecording> {
  const header = await readHeader(open);
  if (isEncrypted(header) && identities.length === 0) {
    throw new RecordingError("key_missing", "the recording is encrypted: an identity is needed");
  }
  const key = isEncrypted(header) ? await decryptKey(header, identities) : undefined;
  return { header, events: () => readEvents(open, key) };
}

async function readHeader(open: OpenRecording): Promise<Record<string, unknown>> {
  const reader = new RecordingReader();
  for await (const chunk of open()) {
    // The first block is never encrypted; what follows it is not asked for.
    for (const event of reader.push(chunk)) {
      if (event.type === "header") return event.header;
      throw new RecordingError("order_wrong", "the recording does not begin with its header");
    }
  }
  throw new RecordingError("no_recording", "the recording ends before its header does");
}

async function* readEvents(
  open: OpenRecording,
  key: Uint8Array | undefined,
): AsyncGenerator<RecordingEvent, void, undefined> {
  const reader = new RecordingReader(key);
  for await (const chunk of open()) yield* reader.push(chunk);
}
