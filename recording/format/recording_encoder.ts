import { BLOCK, type BlockKind, completeBlock, firstLink, HEAD_BYTES, LINK_BYTES, MAGIC } from "./block.ts";
import { type Chunk, ChunkEncoder } from "./chunk.ts";
import {
  encodeDocument,
  type RecordingHeader,
  type RecordingTrailer,
  sealedBytes,
  timestamp,
} from "./document.ts";
import { COMPRESS_FROM_BYTES, isCompressed, packPayload } from "./payload.ts";
import { Room } from "./room.ts";
import type { Signer } from "./signer.ts";

/** Plain bytes that make a block, though more may be waiting. */
const BLOCK_BYTES = 256 * 1024;

/** Blocks that follow one that could not be made smaller are left as they are, this many: archives and pictures stay so for long. */
const BLOCKS_LEFT = 7;

/** What a recording is made with. */
export interface RecordingKeys {
  signer: Signer | undefined;
  /** 32 bytes that no other recording has; absent where recordings are not encrypted. */
  key?: Uint8Array;
}

/**
 * A session in, the bytes of its recording out: no clock, no file. What it returns must be appended in this order, all of it.
 *
 * A chunk is copied once, to where it stands in its block, and blocks are made side by side: there are two rooms, one that is
 * filled and one that is being appended.
 */
export class RecordingEncoder {
  readonly #chunks = new ChunkEncoder();
  readonly #keys: RecordingKeys;
  #room = new Room();
  #appended = new Room();
  /** Where in the room the data block begins whose payload is being gathered. */
  #dataAt: number | undefined;
  readonly #link: Uint8Array = firstLink();
  #blocks = 0;
  #isSealed = true;
  /** Blocks that are still to be left as they are, because one before them could not be made smaller. */
  #incompressible = 0;

  constructor(keys: RecordingKeys) {
    this.#keys = keys;
  }

  /** The link of the last block. */
  get link(): Uint8Array {
    return this.#link;
  }

  /** Whether there is something that no call has returned. */
  get isPending(): boolean {
    return this.#room.length > 0;
  }

  /** Begins the file. */
  begin(header: RecordingHeader): void {
    this.#room.add(MAGIC);
    this.#document(BLOCK.HEADER, header);
  }

  /** Copies a chunk, of at most 64 KiB. */
  push(chunk: Chunk): void {
    this.#dataAt ??= this.#beginBlock();
    this.#chunks.push(chunk, this.#room);
    if (this.#room.length - this.#dataAt >= BLOCK_BYTES) this.#endData();
  }

  /** A signature over all that there is so far; nothing where there is one, or nobody to sign. */
  seal(atMs: number): void {
    this.#endData();
    const { signer } = this.#keys;
    if (signer === undefined || this.#isSealed) return;
    const at = timestamp(atMs);
    const signature = signer.sign(sealedBytes(at, this.#link)).toBase64();
    this.#document(BLOCK.SEAL, { at, key: signer.keyId, signature });
    this.#isSealed = true;
  }

  /** Ends the file. */
  end(trailer: RecordingTrailer, atMs: number): void {
    this.#endData();
    this.#document(BLOCK.TRAILER, trailer);
    this.seal(atMs);
  }

  /** All that is pending, as blocks: a view that is valid until the next call of this or of `rest`. */
  take(): Uint8Array {
    this.#endData();
    this.#appended.length = 0;
    [this.#room, this.#appended] = [this.#appended, this.#room];
    return this.#appended.bytes;
  }

  /** Gives back all room: nothing is pending, nothing is being appended, and thousands of sessions are idle. */
  rest(): void {
    this.#room.release();
    this.#appended.release();
  }

  #endData(): void {
    const start = this.#dataAt;
    if (start === undefined) return;
    this.#dataAt = undefined;
    const plain = this.#room.bytes.subarray(start + HEAD_BYTES);
    const mayCompress = this.#incompressible === 0;
    const packed = packPayload(plain, this.#blocks + 1, { key: this.#keys.key, mayCompress });
    if (!mayCompress) this.#incompressible--;
    else if (plain.length >= COMPRESS_FROM_BYTES && !isCompressed(packed)) this.#incompressible = BLOCKS_LEFT;
    if (packed.payload !== plain) {
      this.#room.length = start + HEAD_BYTES;
      this.#room.add(packed.payload);
    }
    this.#endBlock(start, BLOCK.DATA, packed.flags);
  }

  #document(kind: BlockKind, document: Parameters<typeof encodeDocument>[0]): void {
    const start = this.#beginBlock();
    this.#room.add(encodeDocument(document));
    this.#endBlock(start, kind, 0);
  }

  /** @returns where it begins */
  #beginBlock(): number {
    const start = this.#room.length;
    this.#room.reserve(HEAD_BYTES);
    this.#room.length += HEAD_BYTES;
    return start;
  }

  #endBlock(start: number, kind: BlockKind, flags: number): void {
    this.#room.reserve(LINK_BYTES);
    this.#room.length += LINK_BYTES;
    this.#link.set(completeBlock(this.#room.bytes.subarray(start), kind, flags, this.#link));
    this.#blocks++;
    this.#isSealed = false;
  }
}
