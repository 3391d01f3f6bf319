import { type GoJson, membersNamed, parseGoJson } from "./go_json.ts";

/** A terminal's size in character cells, 0..65535 each. Runtimes ignore a size with a 0 in it. */
export interface TerminalSize {
  columns: number;
  rows: number;
}

/** Largest JSON object that is gathered, in bytes. Clients send 30. */
const MAX_OBJECT_BYTES = 4096;

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const NULL = "null";

/**
 * Bytes of a resize stream in, sizes out: `{"Width":80,"Height":24}` one after the other, cut anywhere (E-63, E-64).
 *
 * What Go's decoder refuses (70000, text, a float) ends resizing for good and in silence; the session goes on, and so do
 * all other streams (E-61). So does an object of more than 4 KiB, which Go would take.
 */
export class ResizeDecoder {
  #object: Uint8Array | undefined;
  #objectBytes = 0;
  #depth = 0;
  #inString = false;
  #escaped = false;
  #ended = false;

  /** True once something came that is no size: nothing more will be read. */
  get hasEnded(): boolean {
    return this.#ended;
  }

  /** Reads `chunk` as the sizes are asked for, so take all of them before the next call. Never throws. */
  *push(chunk: Uint8Array): Generator<TerminalSize, void, undefined> {
    for (const byte of chunk) {
      if (this.#ended) return;
      if (this.#objectBytes === 0 && isBlank(byte)) continue;
      if (!this.#append(byte)) continue;
      const size = readSize(this.#object!.subarray(0, this.#objectBytes));
      this.#objectBytes = 0;
      this.#ended = size === undefined;
      if (size !== undefined) yield size;
    }
  }

  /** Takes a byte; true where it completes a value. Whether the value is right is for the parser to say. */
  #append(byte: number): boolean {
    this.#object ??= new Uint8Array(MAX_OBJECT_BYTES);
    if (this.#objectBytes === MAX_OBJECT_BYTES) {
      this.#ended = true;
      return false;
    }
    this.#object[this.#objectBytes++] = byte;
    if (this.#depth === 0 && byte !== 0x7b) return this.#appendNull(byte);
    if (this.#inString) {
      if (byte === QUOTE && !this.#escaped) this.#inString = false;
      this.#escaped = byte === BACKSLASH && !this.#escaped;
      return false;
    }
    if (byte === QUOTE) this.#inString = true;
    if (byte === 0x7b || byte === 0x5b) this.#depth++;
    if (byte === 0x7d || byte === 0x5d) this.#depth--;
    return this.#depth === 0;
  }

  /** Beside objects only `null` is a size to Go: 0 by 0. */
  #appendNull(byte: number): boolean {
    if (byte !== NULL.charCodeAt(this.#objectBytes - 1)) this.#ended = true;
    return this.#objectBytes === NULL.length;
  }
}

function readSize(bytes: Uint8Array): TerminalSize | undefined {
  let value: GoJson;
  try {
    value = parseGoJson(bytes);
  } catch {
    return undefined;
  }
  const columns = cells(value, "width");
  const rows = cells(value, "height");
  return columns === undefined || rows === undefined ? undefined : { columns, rows };
}

/** A uint16 as Go reads it: absent and `null` are 0; a fraction, an exponent or a sign is refused, and so is 65536. */
function cells(value: GoJson, name: string): number | undefined {
  let cells = 0;
  for (const found of membersNamed(value, name)) {
    if (found.type === "null") continue;
    if (found.type !== "number" || !/^[0-9]{1,5}$/.test(found.source)) return undefined;
    cells = Number(found.source);
    if (cells > 0xffff) return undefined;
  }
  return cells;
}

function isBlank(byte: number): boolean {
  return byte === 0x20 || byte === 0x09 || byte === 0x0a || byte === 0x0d;
}
