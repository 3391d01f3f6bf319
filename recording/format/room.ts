/** Room that is made first, in bytes: a keystroke needs no more. */
const SMALL_BYTES = 4 * 1024;

/** Rooms from this size on are kept for the next that needs one: making one, and the first touch of its pages, costs more than all else. */
const POOLED_BYTES = 64 * 1024;

/** What is kept for all sessions together, in bytes. */
const POOL_BYTES = 16 * 1024 * 1024;

/** Bytes that are written one behind the other, in a buffer that grows as it is filled. */
export class Room {
  #buffer = new Uint8Array();
  /** Bytes that are in use. */
  length = 0;

  /** All that is in use: a view that is valid until the room grows or is given back. */
  get bytes(): Uint8Array {
    return this.#buffer.subarray(0, this.length);
  }

  /** Makes room for so many more bytes than are in use. @returns the buffer, to be written to from {@linkcode length} on */
  reserve(bytes: number): Uint8Array {
    const needed = this.length + bytes;
    if (needed > this.#buffer.length) {
      const larger = POOL.take(Math.max(SMALL_BYTES, 2 * this.#buffer.length, needed));
      larger.set(this.bytes);
      POOL.give(this.#buffer);
      this.#buffer = larger;
    }
    return this.#buffer;
  }

  add(bytes: Uint8Array): void {
    this.reserve(bytes.length).set(bytes, this.length);
    this.length += bytes.length;
  }

  /** Leaves bytes for later, whatever they are. */
  skip(bytes: number): void {
    this.reserve(bytes);
    this.length += bytes;
  }

  /** Lends the buffer out; there is none until it comes back. */
  lend(): Uint8Array<ArrayBuffer> {
    const lent = this.#buffer;
    this.#buffer = new Uint8Array();
    this.length = 0;
    return lent;
  }

  /** Takes a buffer back. @param length bytes of it that are in use */
  takeBack(buffer: Uint8Array<ArrayBuffer>, length: number): void {
    this.#buffer = buffer;
    this.length = length;
  }

  /** Empties the room, and gives it back: nobody may hold a view of it. */
  release(): void {
    POOL.give(this.#buffer);
    this.#buffer = new Uint8Array();
    this.length = 0;
  }
}

/** Buffers whose sizes are powers of two, for whoever needs one next. */
class BufferPool {
  readonly #free = new Map<number, Uint8Array<ArrayBuffer>[]>();
  #bytes = 0;

  take(bytes: number): Uint8Array<ArrayBuffer> {
    const size = 2 ** Math.ceil(Math.log2(bytes));
    const kept = this.#free.get(size)?.pop();
    if (kept === undefined) return new Uint8Array(size);
    this.#bytes -= size;
    return kept;
  }

  give(buffer: Uint8Array<ArrayBuffer>): void {
    const size = buffer.length;
    if (size < POOLED_BYTES || this.#bytes + size > POOL_BYTES) return;
    const same = this.#free.get(size);
    if (same === undefined) this.#free.set(size, [buffer]);
    else same.push(buffer);
    this.#bytes += size;
  }
}

const POOL = new BufferPool();
