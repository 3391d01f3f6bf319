import type { RecordingEvent } from "../format/recording_reader.ts";

/** A recording's events in, the bytes of a file in another format out. No I/O. */
export interface Exporter {
  push(event: RecordingEvent): Generator<Uint8Array, void, undefined>;
  /**
   * The recording has ended, or is cut here.
   *
   * @throws {ExportError} what was asked for is not what came out
   */
  end(): Iterable<Uint8Array>;
}

/** The recording does not hold what was asked for. `message` is for people. */
export class ExportError extends Error {
  override readonly name = "ExportError";
}
