import { printable } from "../printable.ts";
import type { Direction, RecordingEvent } from "../format/recording_reader.ts";
import { type Exporter, ExportError } from "./exporter.ts";

/** Which bytes are wanted. */
export interface RawOptions {
  /** Its name, or its number where several have that name. */
  stream: string | number;
  /** @default {"in" for stdin and resize, else "out"} */
  direction?: Direction;
}

/** The bytes of one stream, one way, exactly as they passed; at the end their number is held against the one on record. */
export class RawExporter implements Exporter {
  readonly #wanted: RawOptions;
  readonly #names = new Set<string>();
  #stream: number | undefined;
  #direction: Direction = "out";
  #bytes = 0;
  #totals: Record<string, unknown> | undefined;

  constructor(options: RawOptions) {
    this.#wanted = options;
  }

  *push(event: RecordingEvent): Generator<Uint8Array, void, undefined> {
    if (event.type === "opened") this.#open(event.stream, event.name);
    if (event.type === "header" || event.type === "trailer" || event.stream !== this.#stream) return;
    if (event.type === "ended") this.#totals = event.totals;
    if (event.type !== "data" || event.direction !== this.#direction) return;
    this.#bytes += event.bytes.length;
    yield event.bytes;
  }

  end(): Iterable<Uint8Array> {
    const name = printable(String(this.#wanted.stream));
    if (this.#stream === undefined) {
      const names = [...this.#names].map(printable).join(", ");
      throw new ExportError(`there is no stream ${name}; there are: ${names || "none"}`);
    }
    // Without totals the recording is cut: what is there was given.
    if (this.#totals !== undefined) this.#compare(name, this.#totals);
    return [];
  }

  #compare(name: string, { bytesIn, bytesOut, sha256In, sha256Out }: Record<string, unknown>): void {
    const [bytes, sha256] = this.#direction === "in" ? [bytesIn, sha256In] : [bytesOut, sha256Out];
    if (this.#bytes === 0 && bytes !== 0) {
      const kept = sha256 === undefined ? "length was" : "length and SHA-256 were";
      throw new ExportError(`of ${name} only ${kept} recorded: ${bytes} bytes`);
    }
    if (this.#bytes !== bytes) {
      throw new ExportError(`what was exported of ${name} is not what the recording says it came to`);
    }
  }

  #open(number: number, name: string): void {
    const { stream, direction } = this.#wanted;
    this.#names.add(name);
    if (stream !== number && stream !== name) return;
    if (this.#stream !== undefined) {
      throw new ExportError(`there are several streams ${printable(name)}: name one by its number`);
    }
    this.#stream = number;
    this.#direction = direction ?? (name === "stdin" || name === "resize" ? "in" : "out");
  }
}
