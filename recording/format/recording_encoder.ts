import { BLOCK, type BlockKind, encodeBlock, firstLink, HEAD_BYTES, MAGIC } from "./block.ts";
import { type Chunk, ChunkEncoder } from "./chunk.ts";
import {
  encodeDocument,
  type RecordingHeader,
  type RecordingTrailer,
  sealedBytes,
  timestamp,
} from "./document.ts";
import { type Batch, type ChainState, footBytes, packBatch, type PackedBatch } from "./pack_batch.ts";
import { Room } from "./room.ts";
import type { Signer } from "./signer.ts";

/** Plain bytes that make a block, though more may be waiting. */
const BLOCK_BYTES = 256 * 1024;

/** What a recording is made with. */
export interface RecordingKeys {
  signer: Signer | undefined;
  /** 32 bytes that no other recording has; absent where recordings are not encrypted. */
  key?: Uint8Array;
}

/** Makes blocks of a batch, in the buffer's first `bytes`, here or elsewhere. */
export type Packer = (
  buffer: Uint8Array<ArrayBuffer>,
  bytes: number,
  batch: Batch,
) => PackedBatch | Promise<PackedBatch>;

/**
 * A session in, the bytes of its recording out: no clock, no file. What it returns must be appended in this order, all of it.
 *
 * A chunk is copied once, to where it stands in its block, and blocks are made side by side and in place. There are two rooms:
 * one that is filled, and one that is packed and appended meanwhile.
 */
export class RecordingEncoder {
  readonly #chunks = new ChunkEncoder();
  readonly #keys: RecordingKeys;
  readonly #packer: Packer;
  #room = new Room();
  #taken = new Room();
  /** Before the first block in the room. */
  #startBytes = 0;
  /** Those in the room. */
  #blocks: { kind: BlockKind; payloadBytes: number }[] = [];
  /** Where in the room the data block begins whose payload is being gathered. */
  #dataAt: number | undefined;
  #state: ChainState = { link: firstLink(), blocks: 0, leftAlone: 0 };

  /** @param packer packs right here by default */
  constructor(keys: RecordingKeys, packer: Packer = (buffer, _, batch) => packBatch(buffer, batch)) {
    this.#keys = keys;
    this.#packer = packer;
  }

  /** The link of the last block that was taken. */
  get link(): Uint8Array {
    return this.#state.link;
  }

  /** Whether there is something to take. */
  get isPending(): boolean {
    return this.#room.length > 0;
  }

  /** Begins the file. */
  begin(header: RecordingHeader): void {
    this.#room.add(MAGIC);
    this.#startBytes = MAGIC.length;
    this.#document(BLOCK.HEADER, header);
  }

  /** Copies a chunk, of at most 64 KiB. */
  push(chunk: Chunk): void {
    this.#dataAt ??= this.#beginBlock();
    this.#chunks.push(chunk, this.#room);
    if (this.#room.length - this.#dataAt >= BLOCK_BYTES) this.#endData();
  }

  /** Ends the file. */
  end(trailer: RecordingTrailer): void {
    this.#endData();
    this.#document(BLOCK.TRAILER, trailer);
  }

  /**
   * Makes blocks of all that is pending. Others may be pushed meanwhile.
   *
   * @param sealAtMs when there is to be a signature over all of the file so far, behind it
   * @returns a view that is valid until the next call of this or of `rest`
   * @throws what the packer throws: the recording cannot go on
   */
  async take(sealAtMs?: number): Promise<Uint8Array> {
    this.#endData();
    const batch = { start: this.#startBytes, blocks: this.#blocks, state: this.#state, key: this.#keys.key };
    this.#startBytes = 0;
    this.#blocks = [];
    const room = this.#room;
    this.#room = this.#taken;
    this.#room.length = 0;
    this.#taken = room;
    const bytes = room.length;
    const { buffer, length, state } = await this.#packer(room.lend(), bytes, batch);
    room.takeBack(buffer, length);
    this.#state = state;
    if (sealAtMs !== undefined) this.#seal(room, sealAtMs);
    return room.bytes;
  }

  /** Gives back all room: nothing is pending, nothing is being appended, and thousands of sessions are idle. */
  rest(): void {
    this.#room.release();
    this.#taken.release();
  }

  #seal(room: Room, atMs: number): void {
    const { signer } = this.#keys;
    if (signer === undefined) return;
    const at = timestamp(atMs);
    const signature = signer.sign(sealedBytes(at, this.#state.link)).toBase64();
    const seal = encodeDocument({ at, key: signer.keyId, signature });
    const block = encodeBlock(BLOCK.SEAL, 0, seal, this.#state.link);
    room.add(block.bytes);
    this.#state = { ...this.#state, link: block.link, blocks: this.#state.blocks + 1 };
  }

  #endData(): void {
    if (this.#dataAt === undefined) return;
    this.#endBlock(this.#dataAt, BLOCK.DATA);
    this.#dataAt = undefined;
  }

  #document(kind: BlockKind, document: Parameters<typeof encodeDocument>[0]): void {
    const start = this.#beginBlock();
    this.#room.add(encodeDocument(document));
    this.#endBlock(start, kind);
  }

  /** @returns where it begins */
  #beginBlock(): number {
    const start = this.#room.length;
    this.#room.skip(HEAD_BYTES);
    return start;
  }

  #endBlock(start: number, kind: BlockKind): void {
    this.#blocks.push({ kind, payloadBytes: this.#room.length - start - HEAD_BYTES });
    this.#room.skip(footBytes(this.#keys.key));
  }
}
