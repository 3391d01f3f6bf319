import { printable, printableJson } from "../printable.ts";
import type { RecordingEvent } from "../format/recording_reader.ts";
import type { Exporter } from "./exporter.ts";
import { TerminalNewlines } from "./terminal_newlines.ts";
import { type WindowSize, WindowSizeReader } from "./window_size.ts";

/** Where a client told no size, as without a terminal. */
const DEFAULT_SIZE: WindowSize = { columns: 80, rows: 24 };

/** How far is looked ahead for the terminal's first size, in UTF-16 units and in microseconds of the recording. */
const MAX_HELD_LENGTH = 256 * 1024;
const MAX_HELD_US = 5_000_000;

/** Output, input, resize, exit. */
type Code = "o" | "i" | "r" | "x";

interface Line {
  atUs: number;
  code: Code;
  data: string;
}

/** What a stream needs to become text. */
interface TextState {
  code: Code;
  newlines: TerminalNewlines | undefined;
  decoder: TextDecoder;
}

/**
 * asciicast, as asciinema's player reads it. stdout and stderr are output, stdin is input where it was recorded. What is not UTF-8
 * becomes U+FFFD: the exact bytes are in the JSON and raw exports.
 *
 * @see https://docs.asciinema.org/manual/asciicast/v2/ and …/v3/
 */
export class AsciicastExporter implements Exporter {
  readonly #version: 2 | 3;
  readonly #sizes = new WindowSizeReader();
  readonly #texts = new Map<number, TextState>();
  /** Lines that wait for the size in the header; `undefined` once it is written. */
  #held: Line[] | undefined = [];
  #heldLength = 0;
  #header: Record<string, unknown> = {};
  /** Of the last event, and of the last line that was written, in microseconds. */
  #lastUs = 0;
  #writtenUs = 0;

  /** @param version 3 counts times from the line before, and tells the exit code */
  constructor(version: 2 | 3 = 2) {
    this.#version = version;
  }

  *push(event: RecordingEvent): Generator<Uint8Array, void, undefined> {
    if (event.type === "header") {
      this.#header = event.header;
    } else if (event.type === "trailer") {
      const { exitCode } = event.trailer;
      if (this.#version === 3 && typeof exitCode === "number") {
        yield* this.#line({ atUs: this.#lastUs, code: "x", data: String(exitCode) });
      }
    } else {
      this.#lastUs = event.atUs;
      if (event.type === "data") yield* this.#data(event);
      if (event.type === "ended") yield* this.#flush(event.stream);
    }
  }

  *end(): Generator<Uint8Array, void, undefined> {
    for (const stream of this.#texts.keys()) yield* this.#flush(stream);
    if (this.#held !== undefined) yield* this.#begin(DEFAULT_SIZE);
  }

  *#data(event: RecordingEvent & { type: "data" }): Generator<Uint8Array, void, undefined> {
    const { atUs, name, direction, bytes } = event;
    if (name === "resize" && direction === "in") {
      for (const size of this.#sizes.push(bytes)) {
        if (this.#held === undefined) {
          yield* this.#line({ atUs, code: "r", data: `${size.columns}x${size.rows}` });
        } else yield* this.#begin(size);
      }
      return;
    }
    const code = codeOf(name, direction);
    if (code === undefined) return;
    const { newlines, decoder } = this.#text(event.stream, code);
    const data = decoder.decode(newlines?.push(bytes) ?? bytes, { stream: true });
    if (data !== "") yield* this.#line({ atUs, code, data });
  }

  /** Half a character at a stream's end is none. */
  *#flush(stream: number): Generator<Uint8Array, void, undefined> {
    const text = this.#texts.get(stream);
    this.#texts.delete(stream);
    const data = text?.decoder.decode() ?? "";
    if (text !== undefined && data !== "") yield* this.#line({ atUs: this.#lastUs, code: text.code, data });
  }

  #text(stream: number, code: Code): TextState {
    let text = this.#texts.get(stream);
    if (text === undefined) {
      const isBare = code === "o" && this.#header.tty !== true;
      const newlines = isBare ? new TerminalNewlines() : undefined;
      text = { code, newlines, decoder: new TextDecoder("utf-8", { ignoreBOM: true }) };
      this.#texts.set(stream, text);
    }
    return text;
  }

  *#line(line: Line): Generator<Uint8Array, void, undefined> {
    if (this.#held === undefined) {
      yield this.#write(line);
      return;
    }
    this.#held.push(line);
    this.#heldLength += line.data.length;
    if (this.#heldLength > MAX_HELD_LENGTH || line.atUs > MAX_HELD_US) yield* this.#begin(DEFAULT_SIZE);
  }

  *#begin({ columns, rows }: WindowSize): Generator<Uint8Array, void, undefined> {
    const held = this.#held ?? [];
    this.#held = undefined;
    const size = this.#version === 3 ? { term: { cols: columns, rows } } : { width: columns, height: rows };
    yield encode({ version: this.#version, ...size, ...about(this.#header) });
    this.#writtenUs = 0;
    for (const line of held) yield this.#write(line);
  }

  #write({ atUs, code, data }: Line): Uint8Array {
    const sinceUs = this.#version === 3 ? this.#writtenUs : 0;
    this.#writtenUs = atUs;
    return encode([(atUs - sinceUs) / 1e6, code, data]);
  }
}

function codeOf(name: string, direction: "in" | "out"): Code | undefined {
  if (direction === "out" && (name === "stdout" || name === "stderr")) return "o";
  if (direction === "in" && name === "stdin") return "i";
  return undefined;
}

/** The header's fields beside version and size. Players show them: no control byte is in them. */
function about(
  { startedAt, argv, namespace, pod, container }: Record<string, unknown>,
): Record<string, unknown> {
  const timestamp = Math.floor(Date.parse(String(startedAt)) / 1000);
  const command = Array.isArray(argv) ? printable(argv.join(" ")) : "";
  const title = [namespace, pod, container].filter((part) => typeof part === "string").map(printable).join(
    "/",
  );
  return {
    ...(Number.isFinite(timestamp) && { timestamp }),
    ...(command !== "" && { command }),
    ...(title !== "" && { title }),
  };
}

function encode(line: unknown): Uint8Array {
  return new TextEncoder().encode(`${printableJson(line)}\n`);
}
