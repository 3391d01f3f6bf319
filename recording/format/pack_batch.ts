import { BLOCK, type BlockKind, completeBlock, HEAD_BYTES, LINK_BYTES } from "./block.ts";
import { COMPRESS_FROM_BYTES, isCompressed, packPayload, TAG_BYTES } from "./payload.ts";

/** Blocks that follow one that could not be made smaller are left as they are, this many: archives and pictures stay so for long. */
const BLOCKS_LEFT = 7;

/** How far a recording's blocks have come. */
export interface ChainState {
  /** The link of the last block. */
  link: Uint8Array;
  /** How many there are. */
  blocks: number;
  /** Blocks that are still to be left as they are, because one before them could not be made smaller. */
  leftAlone: number;
}

/**
 * Blocks of which there is only the plain payload, each where it can become a block in place:
 *
 *     start | 6 bytes | payload | 32 bytes, 48 with a key | 6 bytes | payload | …
 */
export interface Batch {
  /** Where the first one begins. */
  start: number;
  blocks: readonly { kind: BlockKind; payloadBytes: number }[];
  state: ChainState;
  /** 32 bytes that data is encrypted with. */
  key: Uint8Array | undefined;
}

/** A batch whose blocks are made: they stand side by side from the buffer's beginning, with what was there before `start`. */
export interface PackedBatch {
  buffer: Uint8Array<ArrayBuffer>;
  length: number;
  state: ChainState;
}

/** What is left behind a payload, in bytes, for what packing adds. */
export function footBytes(key: Uint8Array | undefined): number {
  return LINK_BYTES + (key === undefined ? 0 : TAG_BYTES);
}

/** Compresses, encrypts and links the blocks of a batch, in place: none gets larger than the room that it has. */
export function packBatch(buffer: Uint8Array<ArrayBuffer>, batch: Batch): PackedBatch {
  const { start, blocks, state: { link, ...state }, key } = batch;
  let [from, to, before] = [start, start, link];
  for (const { kind, payloadBytes } of blocks) {
    const plain = buffer.subarray(from + HEAD_BYTES, from + HEAD_BYTES + payloadBytes);
    from += HEAD_BYTES + payloadBytes + footBytes(key);
    state.blocks++;
    const packed = kind === BLOCK.DATA ? packData(plain, state, key) : { flags: 0, payload: plain };
    buffer.set(packed.payload, to + HEAD_BYTES);
    const end = to + HEAD_BYTES + packed.payload.length + LINK_BYTES;
    before = completeBlock(buffer.subarray(to, end), kind, packed.flags, before);
    to = end;
  }
  return { buffer, length: to, state: { ...state, link: before.slice() } };
}

function packData(plain: Uint8Array, state: Omit<ChainState, "link">, key: Uint8Array | undefined) {
  const mayCompress = state.leftAlone === 0;
  const packed = packPayload(plain, state.blocks, { key, mayCompress });
  if (!mayCompress) state.leftAlone--;
  else if (plain.length >= COMPRESS_FROM_BYTES && !isCompressed(packed)) state.leftAlone = BLOCKS_LEFT;
  return packed;
}
