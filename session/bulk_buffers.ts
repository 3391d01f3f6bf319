/**
 * Size of a buffer for bytes in bulk: eight TLS records. A chunk of this size leaves in full records; one byte more would cost a
 * record, and a read at the peer, of its own. Half of it costs a tenth more CPU, twice as much is hardly better.
 */
export const BULK_BYTES = 8 * 16 * 1024;

/** Buffers that are kept for the next who needs one. */
const MAX_SPARE = 32;

const spare: Uint8Array<ArrayBuffer>[] = [];

/** A buffer of {@linkcode BULK_BYTES}, with whatever its last user left in it. */
export function borrowBuffer(): Uint8Array<ArrayBuffer> {
  return spare.pop() ?? new Uint8Array(BULK_BYTES);
}

/** Gives a buffer back. Nobody may use it any more, views of it and pending reads included. */
export function returnBuffer(buffer: Uint8Array<ArrayBuffer>): void {
  if (spare.length < MAX_SPARE) spare.push(buffer);
}
