import { BLOCK, type BlockKind, encodeBlock, firstLink, MAGIC } from "./block.ts";
import { type Chunk, ChunkEncoder } from "./chunk.ts";
import {
  encodeDocument,
  type RecordingHeader,
  type RecordingTrailer,
  sealedBytes,
  timestamp,
} from "./document.ts";
import { COMPRESS_FROM_BYTES, isCompressed, packPayload } from "./payload.ts";
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
 */
export class RecordingEncoder {
  readonly #chunks = new ChunkEncoder();
  readonly #keys: RecordingKeys;
  /** Blocks that are made and not yet returned. */
  #ready: Uint8Array[] = [];
  #link = firstLink();
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

  /** Whether something was pushed that no call has returned. */
  get isPending(): boolean {
    return this.#ready.length > 0 || this.#chunks.bytes > 0;
  }

  /** The first bytes of the file. */
  begin(header: RecordingHeader): Uint8Array[] {
    return [MAGIC, this.#block(BLOCK.HEADER, 0, encodeDocument(header))];
  }

  /** Copies a chunk, of at most 64 KiB. */
  push(chunk: Chunk): void {
    this.#chunks.push(chunk);
    if (this.#chunks.bytes >= BLOCK_BYTES) this.#pack();
  }

  /** What is pending, as blocks. */
  flush(): Uint8Array[] {
    this.#pack();
    const blocks = this.#ready;
    this.#ready = [];
    return blocks;
  }

  #pack(): void {
    if (this.#chunks.bytes === 0) return;
    const plain = this.#chunks.take();
    const mayCompress = this.#incompressible === 0;
    const packed = packPayload(plain, this.#blocks + 1, { key: this.#keys.key, mayCompress });
    if (!mayCompress) this.#incompressible--;
    else if (plain.length >= COMPRESS_FROM_BYTES && !isCompressed(packed)) this.#incompressible = BLOCKS_LEFT;
    this.#ready.push(this.#block(BLOCK.DATA, packed.flags, packed.payload));
  }

  /** A signature over all that was returned so far; nothing where there is one, or nobody to sign. */
  seal(atMs: number): Uint8Array[] {
    const { signer } = this.#keys;
    if (signer === undefined || this.#isSealed) return [];
    const at = timestamp(atMs);
    const signature = signer.sign(sealedBytes(at, this.#link)).toBase64();
    const seal = this.#block(BLOCK.SEAL, 0, encodeDocument({ at, key: signer.keyId, signature }));
    this.#isSealed = true;
    return [seal];
  }

  /** The last bytes of the file. */
  end(trailer: RecordingTrailer, atMs: number): Uint8Array[] {
    return [...this.flush(), this.#block(BLOCK.TRAILER, 0, encodeDocument(trailer)), ...this.seal(atMs)];
  }

  #block(kind: BlockKind, flags: number, payload: Uint8Array): Uint8Array {
    const { bytes, link } = encodeBlock(kind, flags, payload, this.#link);
    this.#link = link;
    this.#blocks++;
    this.#isSealed = false;
    return bytes;
  }
}
