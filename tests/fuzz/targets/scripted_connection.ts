import type { ByteConnection } from "../../../session/byte_connection.ts";
import { concat } from "../mutate.ts";

/** What is in a view that may no longer be used. */
const STALE = 0xaa;

/**
 * A peer that says what it has to say without listening, then leaves. What it is told is kept.
 *
 * It makes the most of what a connection is allowed: views are overwritten by the next read, and writes are taken over late.
 */
export class ScriptedConnection implements ByteConnection {
  readonly headroomBytes = 8;
  readonly #chunks: Uint8Array[];
  readonly #buffer: Uint8Array;
  readonly #written: Uint8Array[] = [];
  #lastWrite: Promise<void> = Promise.resolve();
  #hasLeft = false;

  constructor(chunks: readonly Uint8Array[]) {
    this.#chunks = [...chunks];
    this.#buffer = new Uint8Array(this.headroomBytes + Math.max(0, ...chunks.map(({ length }) => length)));
  }

  /** All that was written, up to where the peer was gone. */
  get written(): Uint8Array {
    return concat(...this.#written);
  }

  async read(): Promise<Uint8Array | null> {
    this.#buffer.fill(STALE);
    const chunk = this.#hasLeft ? undefined : this.#chunks.shift();
    if (chunk !== undefined) {
      this.#buffer.set(chunk, this.headroomBytes);
      return this.#buffer.subarray(this.headroomBytes, this.headroomBytes + chunk.length);
    }
    // The other side may still have something to say.
    for (let turn = 0; turn < 3 && !this.#hasLeft; turn++) {
      await new Promise((resolve) => setTimeout(resolve));
    }
    return null;
  }

  write(bytes: Uint8Array): Promise<void> {
    this.#lastWrite = this.#lastWrite.then(() => {
      if (this.#hasLeft) throw new Error("broken pipe");
      this.#written.push(bytes.slice());
    });
    this.#lastWrite.catch(() => {}); // told to who wrote
    return this.#lastWrite;
  }

  endWrites(): Promise<void> {
    return Promise.resolve();
  }

  close(): void {
    this.#hasLeft = true;
  }
}
