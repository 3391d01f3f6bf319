import { printableJson } from "../printable.ts";
import type { RecordingEvent } from "../format/recording_reader.ts";
import type { Exporter } from "./exporter.ts";

/**
 * Everything that a recording tells, as JSON lines: one object for each event, as `RecordingEvent` has it, bytes in base64.
 * Nothing is lost.
 */
export class JsonExporter implements Exporter {
  *push(event: RecordingEvent): Generator<Uint8Array, void, undefined> {
    const line = event.type === "data" ? { ...event, bytes: event.bytes.toBase64() } : event;
    yield new TextEncoder().encode(`${printableJson(line)}\n`);
  }

  end(): Iterable<Uint8Array> {
    return [];
  }
}
