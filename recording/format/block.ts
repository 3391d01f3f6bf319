import { createHash } from "node:crypto";
import { Buffer } from "node:buffer";
import { RecordingError } from "./recording_error.ts";

/** The first bytes of every recording: its format and version. */
export const MAGIC: Uint8Array = new TextEncoder().encode("postern recording 1\n");

/** What a block holds. */
export const BLOCK = {
  /** JSON: what is known of the session when it begins. The first block, once. */
  HEADER: 1,
  /** What passed: chunks. */
  DATA: 2,
  /** JSON: a signature over all blocks before it. Written while the session lives, and as the last block. */
  SEAL: 3,
  /** JSON: totals, and how the session ended. Once; a seal follows. */
  TRAILER: 4,
} as const;

export type BlockKind = typeof BLOCK[keyof typeof BLOCK];

/** How a payload was changed before it was written: compressed, then encrypted. */
export const PAYLOAD = { ZSTD: 0x01, ENCRYPTED: 0x02 } as const;

/** Largest payload as it stands in the file, in bytes. */
export const MAX_PAYLOAD_BYTES = 1024 * 1024;

/** Bytes before a payload: kind, flags, length. */
export const HEAD_BYTES = 6;

/** Bytes of a link. */
export const LINK_BYTES = 32;

/** A block as it stands in a file. */
export interface Block {
  kind: BlockKind;
  /** Of {@linkcode PAYLOAD}. */
  flags: number;
  payload: Uint8Array;
  /** SHA-256 of the link before it and of this block's bytes: what ties it to all that came before. */
  link: Uint8Array;
}

/** The link before the first block. */
export function firstLink(): Uint8Array {
  return createHash("sha256").update(MAGIC).digest();
}

/**
 * One block as it is written, and its link:
 *
 *     kind 8 | flags 8 | payload length 32, big endian | payload | link 256
 *
 * @param before the link of the block before it
 */
export function encodeBlock(
  kind: BlockKind,
  flags: number,
  payload: Uint8Array,
  before: Uint8Array,
): { bytes: Uint8Array; link: Uint8Array } {
  const bytes = new Uint8Array(HEAD_BYTES + payload.length + LINK_BYTES);
  bytes.set(payload, HEAD_BYTES);
  return { bytes, link: completeBlock(bytes, kind, flags, before) };
}

/**
 * Writes the head before a payload, and the link behind it.
 *
 * @param block room for all of the block; the payload is in its place
 * @returns the link: a view of it
 */
export function completeBlock(
  block: Uint8Array,
  kind: BlockKind,
  flags: number,
  before: Uint8Array,
): Uint8Array {
  const end = block.length - LINK_BYTES;
  const length = end - HEAD_BYTES;
  if (length > MAX_PAYLOAD_BYTES) throw new RecordingError("block_too_large", `a block of ${length} bytes`);
  block[0] = kind;
  block[1] = flags;
  new DataView(block.buffer, block.byteOffset).setUint32(2, length);
  block.set(linkOf(before, block.subarray(0, end)), end);
  return block.subarray(end);
}

function linkOf(before: Uint8Array, headAndPayload: Uint8Array): Uint8Array {
  return createHash("sha256").update(before).update(headAndPayload).digest();
}

/** Where in a file something is wrong: bytes from its start, and blocks counted from 1. */
export interface Position {
  offset: number;
  block: number;
}

/**
 * A recording's bytes in, its blocks out; each is held against the link before it. No I/O. Discard it once it has thrown.
 */
export class BlockReader {
  #held = Buffer.alloc(0);
  #link: Uint8Array | undefined;
  #offset = 0;
  #blocks = 0;

  /** Where the next block begins. */
  get position(): Position {
    return { offset: this.#offset, block: this.#blocks + 1 };
  }

  /** Bytes behind the last whole block. */
  get heldBytes(): number {
    return this.#held.length;
  }

  /** The link of the last whole block. */
  get link(): Uint8Array {
    return this.#link ?? firstLink();
  }

  /**
   * @param chunk the next bytes, cut anywhere
   * @throws {RecordingError} `no_recording`, `block_invalid`, `block_too_large` or `link_broken`, at {@linkcode position}
   */
  *push(chunk: Uint8Array): Generator<Block, void, undefined> {
    this.#held = this.#held.length === 0 ? Buffer.from(chunk) : Buffer.concat([this.#held, chunk]);
    if (this.#link === undefined) {
      const start = this.#held.subarray(0, MAGIC.length);
      if (!Buffer.from(MAGIC).subarray(0, start.length).equals(start)) {
        throw new RecordingError("no_recording", "this is no recording");
      }
      if (start.length < MAGIC.length) return;
      this.#take(MAGIC.length);
      this.#link = firstLink();
    }
    for (let block = this.#next(); block !== undefined; block = this.#next()) yield block;
  }

  #next(): Block | undefined {
    const held = this.#held;
    if (held.length < HEAD_BYTES) return undefined;
    const kind = held[0]!;
    const flags = held[1]!;
    const length = held.readUInt32BE(2);
    if (!isBlockKind(kind) || (flags & ~(PAYLOAD.ZSTD | PAYLOAD.ENCRYPTED)) !== 0) {
      throw new RecordingError("block_invalid", `a block of kind ${kind} with flags ${flags}`);
    }
    if (length > MAX_PAYLOAD_BYTES) {
      throw new RecordingError("block_too_large", `a block of ${length} bytes`);
    }
    const end = HEAD_BYTES + length;
    if (held.length < end + LINK_BYTES) return undefined;
    const link = linkOf(this.link, held.subarray(0, end));
    if (!held.subarray(end, end + LINK_BYTES).equals(link)) {
      throw new RecordingError("link_broken", "the block is not what was written, or not in its place");
    }
    const payload = held.subarray(HEAD_BYTES, end);
    this.#take(end + LINK_BYTES);
    this.#blocks++;
    this.#link = link;
    return { kind, flags, payload, link };
  }

  #take(bytes: number): void {
    this.#held = this.#held.subarray(bytes);
    this.#offset += bytes;
  }
}

function isBlockKind(kind: number): kind is BlockKind {
  return kind >= BLOCK.HEADER && kind <= BLOCK.TRAILER;
}
