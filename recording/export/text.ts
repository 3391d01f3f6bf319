import type { RecordingEvent } from "../format/recording_reader.ts";
import type { Exporter } from "./exporter.ts";

/**
 * What a terminal would execute and hides nothing from a reader: CSI, which holds numbers only, and two-character escapes.
 * Whatever can carry text (titles, device strings) is left, and made visible.
 *
 * @see ECMA-48, 5.4 and 5.3
 */
// deno-lint-ignore no-control-regex
const SEQUENCE = /\x1b(?:\[[0-?]*[ -/]*[@-~]|[ -/]+[0-~]|[0-OQ-WYZ\\`-~])/g;

/** What may go on in the next piece, at its end: CR LF, or such a sequence. None is longer that is worth waiting for. */
// deno-lint-ignore no-control-regex
const CUT = /(?:\r|\r?\x1b(?:\[[0-?]{0,64}[ -/]{0,8}|[ -/]{0,8}))$/;

/** What is not printable, but for line feeds and tabs. */
const UNPRINTABLE = /(?![\n\t])[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu;

/** Plain text of what a session wrote, in the order of its arrival: no byte of it is executed by a terminal. */
export class TextExporter implements Exporter {
  readonly #streams: ReadonlySet<string>;
  readonly #texts = new Map<number, TextPart>();

  /** @param streams by name */
  constructor(streams: readonly string[] = ["stdout", "stderr"]) {
    this.#streams = new Set(streams);
  }

  *push(event: RecordingEvent): Generator<Uint8Array, void, undefined> {
    if (event.type === "header" || event.type === "trailer" || !this.#streams.has(event.name)) return;
    const { stream } = event;
    let text = this.#texts.get(stream);
    if (text === undefined) this.#texts.set(stream, text = new TextPart());
    if (event.type === "data") yield* encode(text.push(event.bytes));
    if (event.type !== "ended") return;
    yield* encode(text.end());
    this.#texts.delete(stream);
  }

  *end(): Generator<Uint8Array, void, undefined> {
    for (const text of this.#texts.values()) yield* encode(text.end());
  }
}

/** One stream's bytes in, safe text out. Characters and escape sequences that are cut wait for their rest. */
class TextPart {
  readonly #decoder = new TextDecoder();
  #held = "";

  push(bytes: Uint8Array): string {
    const text = this.#held + this.#decoder.decode(bytes, { stream: true });
    const cut = CUT.exec(text)?.index ?? text.length;
    this.#held = text.slice(cut);
    return plain(text.slice(0, cut));
  }

  end(): string {
    const text = this.#held + this.#decoder.decode();
    this.#held = "";
    return plain(text);
  }
}

/** Caret notation for ASCII's controls, as `cat -v` writes them; code points for the others. */
function plain(text: string): string {
  return text.replaceAll(SEQUENCE, "").replaceAll("\r\n", "\n").replaceAll(UNPRINTABLE, (character) => {
    const point = character.codePointAt(0) ?? 0;
    if (point < 0x20 || point === 0x7f) return `^${String.fromCharCode(point ^ 0x40)}`;
    return `\\u{${point.toString(16)}}`;
  });
}

function* encode(text: string): Generator<Uint8Array, void, undefined> {
  if (text !== "") yield new TextEncoder().encode(text);
}
