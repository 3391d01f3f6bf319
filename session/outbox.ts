import { borrowBuffer, BULK_BYTES, returnBuffer } from "./bulk_buffers.ts";

/** Views up to this size, in bytes, are worth copying together: one write costs more than the copy. */
const COPY_BELOW_BYTES = 256 * 1024;

/**
 * Gathers the views that one read gave rise to, so that they leave in as few writes as possible. Views that lie
 * side by side in memory become one again: the frames of a chunk that passes unchanged leave as that chunk.
 */
export class Outbox {
  #views: Uint8Array[] = [];
  #bytes = 0;
  /** Lent to who took last, until it is written. */
  #borrowed: Uint8Array<ArrayBuffer> | undefined;

  get isEmpty(): boolean {
    return this.#views.length === 0;
  }

  add(view: Uint8Array): void {
    if (view.length === 0) return;
    this.#bytes += view.length;
    const last = this.#views.at(-1);
    if (
      last !== undefined && last.buffer === view.buffer && last.byteOffset + last.length === view.byteOffset
    ) {
      this.#views[this.#views.length - 1] = new Uint8Array(
        last.buffer,
        last.byteOffset,
        last.length + view.length,
      );
    } else {
      this.#views.push(view);
    }
  }

  /** Takes out what was gathered, as views to be written in this order, and then to be given to {@linkcode release}. */
  take(): Uint8Array[] {
    const views = this.#views;
    const bytes = this.#bytes;
    this.#views = [];
    this.#bytes = 0;
    if (views.length < 2 || bytes > COPY_BELOW_BYTES) return views;
    const together = this.#room(bytes);
    let offset = 0;
    for (const view of views) {
      together.set(view, offset);
      offset += view.length;
    }
    return [together];
  }

  /** Says that what was taken is written. Who never says it costs a buffer, and no more. */
  release([together]: readonly Uint8Array[]): void {
    const borrowed = this.#borrowed;
    if (borrowed === undefined || together?.buffer !== borrowed.buffer) return;
    this.#borrowed = undefined;
    returnBuffer(borrowed);
  }

  #room(bytes: number): Uint8Array {
    const isBulk = bytes > BULK_BYTES / 4 && bytes <= BULK_BYTES;
    if (!isBulk || this.#borrowed !== undefined) return new Uint8Array(bytes);
    this.#borrowed = borrowBuffer();
    return this.#borrowed.subarray(0, bytes);
  }
}
