/** Views up to this size, in bytes, are worth copying together: one write costs more than the copy. */
const COPY_BELOW_BYTES = 256 * 1024;

/**
 * Gathers the views that one read gave rise to, so that they leave in as few writes as possible. Views that lie
 * side by side in memory become one again: the frames of a chunk that passes unchanged leave as that chunk.
 */
export class Outbox {
  #views: Uint8Array[] = [];
  #bytes = 0;

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

  /** Takes out what was gathered, as views to be written in this order. */
  take(): Uint8Array[] {
    const views = this.#views;
    const bytes = this.#bytes;
    this.#views = [];
    this.#bytes = 0;
    if (views.length < 2 || bytes > COPY_BELOW_BYTES) return views;
    const together = new Uint8Array(bytes);
    let offset = 0;
    for (const view of views) {
      together.set(view, offset);
      offset += view.length;
    }
    return [together];
  }
}
