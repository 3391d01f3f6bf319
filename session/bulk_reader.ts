import { borrowBuffer, returnBuffer } from "./bulk_buffers.ts";
import { countBulk } from "./bulk_turns.ts";

/** What is read: as connections of the platform are. */
export interface ByteSource {
  /** Resolves with how many bytes came, at least 1, or with `null` at the end. */
  read(buffer: Uint8Array): Promise<number | null>;
}

/**
 * Bytes in front of each view that whoever has it may overwrite: room for the header of a SPDY frame, so that a piece of a frame
 * leaves as a frame of its own without a copy.
 */
export const HEADROOM_BYTES = 8;

/** Where a read waits that nothing is known of: keys, prompts and pings fit in. What fills it is the start of more. */
const IDLE_BYTES = HEADROOM_BYTES + 1024;

/** So soon, in microtasks, a read comes back whose bytes the platform has already. */
const SOON = 4;

/**
 * Reads as much at once as is there.
 *
 * The platform hands out one TLS record in a read, and each turn of a session costs as much as a record. So once much comes,
 * a read goes on with the records that are there already, into a buffer that is borrowed until little comes again. The
 * first one that is not is begun, and is what the next read waits for: its bytes go behind those that were handed out.
 * However much is there, other sessions have their turn in between.
 *
 * One read at a time.
 */
export class BulkReader {
  readonly #source: ByteSource;
  #idle: Uint8Array<ArrayBuffer> | undefined;
  #bulk: Uint8Array<ArrayBuffer> | undefined;
  #begun: BegunRead | undefined;

  constructor(source: ByteSource) {
    this.#source = source;
  }

  /** Memory that is held, in bytes: of the small buffer, and of a borrowed one. */
  get heldBytes(): number {
    return (this.#idle?.length ?? 0) + (this.#bulk?.length ?? 0);
  }

  /**
   * What came, or `null` at the end. The view is valid until the next call; it and {@linkcode HEADROOM_BYTES} in front of it may be
   * overwritten until then.
   *
   * @throws what the source threw, after all that came before
   */
  async read(): Promise<Uint8Array | null> {
    const first = this.#begun ?? this.#begin(HEADROOM_BYTES);
    this.#begun = undefined;
    for (let turn = 0; turn < SOON && !first.isSettled; turn++) await undefined;
    const cameSoon = first.isSettled;
    if (!cameSoon) await first.settled;
    const count = first.result();
    if (count === null) {
      this.#giveBack();
      return null;
    }
    let end = moveToFront(first, count);
    if (this.#bulk === undefined && end === IDLE_BYTES) this.#borrow(end);
    else if (!cameSoon && end < IDLE_BYTES) this.#giveBack(end);
    if (this.#bulk === undefined) return this.#idle!.subarray(HEADROOM_BYTES, end);
    const buffer = this.#bulk;
    while (end < buffer.length) {
      const next = this.#begin(end);
      for (let turn = 0; turn < SOON && !next.isSettled; turn++) await undefined;
      if (next.count === null) {
        this.#begun = next;
        break;
      }
      end += next.count;
    }
    await countBulk(end - HEADROOM_BYTES);
    return buffer.subarray(HEADROOM_BYTES, end);
  }

  #begin(at: number): BegunRead {
    const buffer = this.#bulk ?? (this.#idle ??= new Uint8Array(IDLE_BYTES));
    return new BegunRead(this.#source, buffer, at);
  }

  #borrow(end: number): void {
    this.#bulk = borrowBuffer();
    this.#bulk.set(this.#idle!.subarray(0, end));
  }

  /** Keeps what lies before `end`: no more than the small buffer holds. */
  #giveBack(end = 0): void {
    if (this.#bulk === undefined) return;
    this.#idle ??= new Uint8Array(IDLE_BYTES);
    this.#idle.set(this.#bulk.subarray(0, end));
    returnBuffer(this.#bulk);
    this.#bulk = undefined;
  }
}

/** A read under way. It never rejects by itself, for nobody may be waiting for it. */
class BegunRead {
  readonly buffer: Uint8Array;
  /** Where in the buffer its bytes go. */
  readonly at: number;
  readonly settled: Promise<void>;
  isSettled = false;
  /** Bytes that came; `null` before, at the end, and where none came. */
  count: number | null = null;
  #lost: { cause: unknown } | undefined;

  constructor(source: ByteSource, buffer: Uint8Array, at: number) {
    this.buffer = buffer;
    this.at = at;
    this.settled = source.read(buffer.subarray(at)).then((count) => {
      this.count = count;
      this.isSettled = true;
    }, (cause) => {
      this.#lost = { cause };
      this.isSettled = true;
    });
  }

  /** Bytes that came, once it is settled; `null` at the end. @throws what the source threw */
  result(): number | null {
    if (this.#lost !== undefined) throw this.#lost.cause;
    return this.count;
  }
}

/** Moves bytes that were read behind a view which was handed out. @returns where they end */
function moveToFront({ buffer, at }: BegunRead, count: number): number {
  if (at > HEADROOM_BYTES) buffer.copyWithin(HEADROOM_BYTES, at, at + count);
  return HEADROOM_BYTES + count;
}
