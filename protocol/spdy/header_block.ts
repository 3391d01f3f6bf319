import { Buffer } from "node:buffer";
import { randomBytes } from "node:crypto";
import { constants, inflateRawSync } from "node:zlib";
import { ProtocolError } from "../errors.ts";
import { DICTIONARY, DICTIONARY_ID } from "./dictionary.ts";

/** The headers of one SPDY stream: lower-case names; several values of one name are joined by one NUL. */
export type HeaderBlock = ReadonlyMap<string, string>;

/** zlib looks back no further than this, in bytes: more history is never needed. */
const WINDOW_BYTES = 32 * 1024;

/** RFC 9110 token characters without capitals, and the colon that starts SPDY's own names. */
const NAME = /^:?[a-z0-9!#$%&'*+.^_`|~-]+$/;

/** Names that the spdystream library, which every kubelet uses, takes for an attack or a mistake. */
const FORBIDDEN_NAMES: ReadonlySet<string> = new Set([
  "host",
  "connection",
  "keep-alive",
  "proxy-connection",
  "transfer-encoding",
]);

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/**
 * Reads a plain (inflated) header block.
 *
 *     count 32 | (name length 32 | name | value length 32 | value) × count
 *
 * @throws {ProtocolError} where a length leaves the block, bytes are left over, a name is not lower case, is forbidden or
 * comes twice, or text is not UTF-8: each a point where two parsers could disagree.
 * @see draft-mbelshe-httpbis-spdy-00, 2.6.10
 */
export function decodeHeaderBlock(plain: Uint8Array): HeaderBlock {
  const view = new DataView(plain.buffer, plain.byteOffset, plain.byteLength);
  let offset = 0;
  const number = () => {
    if (plain.length - offset < 4) {
      throw new ProtocolError("header_block_truncated", "header block ends early");
    }
    offset += 4;
    return view.getUint32(offset - 4);
  };
  const text = () => {
    const length = number();
    if (length > plain.length - offset) {
      throw new ProtocolError("header_block_truncated", "header block ends early");
    }
    offset += length;
    try {
      return utf8.decode(plain.subarray(offset - length, offset));
    } catch {
      throw new ProtocolError("header_not_utf8", "header block holds text that is not UTF-8");
    }
  };
  const count = number();
  const headers = new Map<string, string>();
  for (let index = 0; index < count; index++) {
    const name = text();
    const value = text();
    if (!NAME.test(name)) {
      throw new ProtocolError("header_name_invalid", "header name is not a lower-case token");
    }
    if (FORBIDDEN_NAMES.has(name)) throw new ProtocolError("header_forbidden", `header ${name} is forbidden`);
    if (headers.has(name)) throw new ProtocolError("header_twice", `header ${name} stands twice`);
    headers.set(name, value);
  }
  if (offset !== plain.length) {
    throw new ProtocolError("header_block_trailing", "bytes follow the header block");
  }
  return headers;
}

/** The plain form of `headers`; the inverse of {@linkcode decodeHeaderBlock}. */
export function encodeHeaderBlock(headers: HeaderBlock): Uint8Array {
  const words: Buffer[] = [];
  for (const pair of headers) for (const word of pair) words.push(Buffer.from(word, "utf8"));
  const block = Buffer.alloc(4 + words.reduce((sum, word) => sum + 4 + word.length, 0));
  let offset = block.writeUInt32BE(headers.size);
  for (const word of words) {
    offset = block.writeUInt32BE(word.length, offset);
    offset += word.copy(block, offset);
  }
  return block;
}

/** The zlib header of a stream whose dictionary is SPDY's, as Go peers write it. */
const ZLIB_HEADER = Uint8Array.of(0x78, 0xf9, 0xe3, 0xc6, 0xa7, 0xc2);

/** Of what went before, what a block is first tried with, in bytes: a peer's blocks resemble the last ones. */
const NEAR_BYTES = 1024;

/**
 * So little is tried as a whole, in bytes: SPDY's own dictionary, whose beginning a first block looks back to, and the handful of
 * blocks of a remote command. A try that fails costs three times one that does not.
 */
const LITTLE_BYTES = 2048;

/** Room that a block is inflated into at a time, in bytes: zlib's own default is 16 KB, of which each block would leave as garbage. */
const CHUNK_BYTES = 1024;

/**
 * Inflates the header blocks of one direction, in the order of their frames.
 *
 * SPDY compresses all header blocks of a direction as one zlib stream with a flush after each. A flush ends on a byte, so
 * each block is inflated by itself, behind what went before: that keeps 2 KB a connection instead of zlib's 40.
 *
 * A block looks back by distance, so the end of what went before is as good as all of it, unless it reaches further: then zlib
 * says so, and it is inflated again with all. Thousands of streams in one read would cost a copy of 32 KB each.
 *
 * Behind each block goes a stored block of random bytes; only if these come out unchanged did the peer's block end
 * where its frame ends. A block that reaches into the next frame would let a peer show us other headers than it shows
 * the kubelet.
 */
export class HeaderInflater {
  readonly #history = new History();
  #isStarted = false;
  readonly #seal: Uint8Array = randomBytes(16);
  readonly #sealBlock: Uint8Array = Buffer.concat([Uint8Array.of(0, 16, 0, 0xef, 0xff), this.#seal]);

  /** @param maxPlainBytes largest inflated block accepted, in bytes */
  constructor(readonly maxPlainBytes: number) {}

  /** @throws {ProtocolError} `header_block_corrupt`, `header_block_too_large`, `header_block_unfinished` */
  inflate(block: Uint8Array): Uint8Array {
    let deflated = block;
    if (!this.#isStarted) {
      const start = readZlibHeader(block);
      deflated = block.subarray(start.bytes);
      this.#history.push(start.dictionary);
      this.#isStarted = true;
    }
    const out = this.#inflateSealed(deflated);
    const plain = out.subarray(0, -this.#seal.length);
    if (out.length < this.#seal.length || Buffer.compare(out.subarray(plain.length), this.#seal) !== 0) {
      throw new ProtocolError("header_block_unfinished", "header block does not end with its frame");
    }
    this.#history.push(plain);
    return plain;
  }

  #inflateSealed(deflated: Uint8Array): Buffer {
    const all = this.#history.bytes;
    for (const dictionary of all.length > LITTLE_BYTES ? [all.subarray(-NEAR_BYTES), all] : [all]) {
      try {
        return this.#inflateWith(dictionary, deflated);
      } catch (cause) {
        if (!isTooLarge(cause)) continue;
        throw new ProtocolError("header_block_too_large", `header block exceeds ${this.maxPlainBytes} bytes`);
      }
    }
    throw new ProtocolError("header_block_corrupt", "header block cannot be inflated");
  }

  /**
   * What went before stands in front, as a stored block, and is left out of what comes out. (As zlib's dictionary each would keep a
   * copy of it outside of what the collector knows of, until that happens to look: 400 MB for a flood of 4.)
   */
  #inflateWith(history: Uint8Array, deflated: Uint8Array): Buffer {
    const input = Buffer.concat([storedHeader(history.length), history, deflated, this.#sealBlock]);
    const out = inflateRawSync(input, {
      chunkSize: history.length + CHUNK_BYTES,
      finishFlush: constants.Z_SYNC_FLUSH,
      maxOutputLength: history.length + this.maxPlainBytes + this.#seal.length,
    });
    return out.subarray(history.length);
  }
}

function isTooLarge(thrown: unknown): boolean {
  return thrown instanceof Error && "code" in thrown && thrown.code === "ERR_BUFFER_TOO_LARGE";
}

/** The last bytes of a stream, as many as zlib looks back. */
class History {
  #room: Uint8Array = new Uint8Array();
  #end = 0;

  /** A view, valid until the next `push`. */
  get bytes(): Uint8Array {
    return this.#room.subarray(Math.max(0, this.#end - WINDOW_BYTES), this.#end);
  }

  /** Copies once in a while: there is a quarter more room than is needed. */
  push(bytes: Uint8Array): void {
    if (this.#end + bytes.length > this.#room.length) {
      const kept = this.bytes;
      this.#room = new Uint8Array(kept.length + bytes.length + (kept.length >> 2));
      this.#room.set(kept);
      this.#end = kept.length;
    }
    this.#room.set(bytes, this.#end);
    this.#end += bytes.length;
  }
}

/** Reads the zlib header that stands once, before a direction's first block (RFC 1950, 2.2). */
function readZlibHeader(block: Uint8Array): { bytes: number; dictionary: Uint8Array } {
  const [cmf = 0, flags = 0] = block;
  if (block.length < 2 || (cmf & 0x0f) !== 8 || cmf >> 4 > 7 || (cmf * 256 + flags) % 31 !== 0) {
    throw new ProtocolError("header_block_corrupt", "header block has no zlib header");
  }
  if ((flags & 0x20) === 0) return { bytes: 2, dictionary: new Uint8Array() };
  if (block.length < 6 || Buffer.from(block.subarray(2, 6)).readUInt32BE() !== DICTIONARY_ID) {
    throw new ProtocolError("header_block_corrupt", "header block names another dictionary");
  }
  return { bytes: 6, dictionary: DICTIONARY };
}

/** Most that a stored block of deflate holds, in bytes (RFC 1951, 3.2.4). */
const MAX_STORED_BYTES = 0xffff;

/**
 * Writes the header blocks of one direction as deflate's stored blocks: at 60 bytes a stream there is nothing to gain from
 * compression, and setting up zlib for a block takes longer than all else that is done for it. An empty block ends each, as a
 * flush does: a Go peer hands out what it has read when it sees that.
 */
export class HeaderDeflater {
  #isStarted = false;

  deflate(plain: Uint8Array): Uint8Array {
    const pieces: Uint8Array[] = this.#isStarted ? [] : [ZLIB_HEADER];
    this.#isStarted = true;
    for (let at = 0; at < plain.length; at += MAX_STORED_BYTES) {
      const piece = plain.subarray(at, at + MAX_STORED_BYTES);
      pieces.push(storedHeader(piece.length), piece);
    }
    return Buffer.concat([...pieces, storedHeader(0)]);
  }
}

function storedHeader(bytes: number): Uint8Array {
  return Uint8Array.of(0, bytes & 0xff, bytes >> 8, ~bytes & 0xff, (~bytes >> 8) & 0xff);
}
