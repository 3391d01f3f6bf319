import { RecordingError } from "./recording_error.ts";
import type { Room } from "./room.ts";

/** What happened on a stream, as a data block tells it. `in` is towards the pod. */
export const CHUNK = {
  /** Bytes are JSON: `{"id": 5, "stream": "stdout"}`. The first chunk of its stream. */
  OPENED: 0,
  /** Bytes of the stream. */
  IN: 1,
  OUT: 2,
  /** That side will say no more. No bytes. */
  CLOSED_IN: 3,
  CLOSED_OUT: 4,
  /** That side gave the stream up. Bytes are its RST status in decimal. */
  RESET_IN: 5,
  RESET_OUT: 6,
  /** Bytes are JSON, what the stream came to: `StreamTotals`. The last chunk of its stream. */
  ENDED: 7,
} as const;

export type ChunkKind = typeof CHUNK[keyof typeof CHUNK];

/** One thing that happened on one stream. */
export interface Chunk {
  /** Since the session began, in microseconds. Never less than that of the chunk before. */
  atUs: number;
  /** Streams are numbered from 0 in the order of their opening. */
  stream: number;
  kind: ChunkKind;
  bytes: Uint8Array;
}

/** Kinds that fit beside a stream's number: all of them are taken. */
const KINDS = 8;

/** Largest number that a varint here may hold: what JavaScript counts exactly, in 8 bytes of 7 bits. */
const MAX_VARINT_BYTES = 8;

/** Longest head of a chunk, in bytes. */
const MAX_HEAD_BYTES = 3 * MAX_VARINT_BYTES;

/** Chunks in, the plain payloads of data blocks out. */
export class ChunkEncoder {
  #lastUs = 0;

  /**
   * Copies the chunk into a room:
   *
   *     microseconds since the chunk before, varint | stream × 8 + kind, varint | length, varint | bytes
   *
   * A varint has 7 bits a byte, the lowest first; the highest bit says that more follow. The first chunk of a block counts from
   * the last one of the block before; the first of all from the session's begin.
   */
  push({ atUs, stream, kind, bytes }: Chunk, room: Room): void {
    const buffer = room.reserve(MAX_HEAD_BYTES + bytes.length);
    let at = room.length;
    at = putVarint(buffer, at, Math.max(0, atUs - this.#lastUs));
    at = putVarint(buffer, at, stream * KINDS + kind);
    at = putVarint(buffer, at, bytes.length);
    buffer.set(bytes, at);
    room.length = at + bytes.length;
    this.#lastUs = Math.max(this.#lastUs, atUs);
  }
}

/** @returns where it ends */
function putVarint(buffer: Uint8Array, start: number, value: number): number {
  let at = start;
  let rest = value;
  while (rest >= 0x80) {
    buffer[at++] = (rest % 0x80) | 0x80;
    rest = Math.floor(rest / 0x80);
  }
  buffer[at++] = rest;
  return at;
}

/** Plain payloads of data blocks in, in order, chunks out; the inverse of {@linkcode ChunkEncoder}. */
export class ChunkDecoder {
  #lastUs = 0;

  /** @throws {RecordingError} `chunk_invalid` */
  *read(plain: Uint8Array): Generator<Chunk, void, undefined> {
    let at = 0;
    const number = () => {
      let value = 0;
      for (let index = 0; index < MAX_VARINT_BYTES; index++) {
        const byte = plain[at++];
        if (byte === undefined) throw new RecordingError("chunk_invalid", "a chunk is cut");
        value += (byte & 0x7f) * 0x80 ** index;
        if (byte < 0x80) return value;
      }
      throw new RecordingError("chunk_invalid", "a number of a chunk is too long");
    };
    while (at < plain.length) {
      this.#lastUs += number();
      const tag = number();
      const length = number();
      const kind = tag % KINDS;
      if (!isChunkKind(kind)) throw new RecordingError("chunk_invalid", `a chunk of kind ${kind}`);
      if (length > plain.length - at) throw new RecordingError("chunk_invalid", "a chunk is cut");
      const bytes = plain.subarray(at, at + length);
      at += length;
      yield { atUs: this.#lastUs, stream: Math.floor(tag / KINDS), kind, bytes };
    }
  }
}

function isChunkKind(kind: number): kind is ChunkKind {
  return kind <= CHUNK.ENDED;
}
