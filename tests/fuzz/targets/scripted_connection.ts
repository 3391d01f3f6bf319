import type { ByteConnection } from "../../../session/byte_connection.ts";
import { concat } from "../mutate.ts";

/** A peer that says what it has to say without listening, then leaves. What it is told is kept. */
export class ScriptedConnection implements ByteConnection {
  readonly #chunks: Uint8Array[];
  readonly #written: Uint8Array[] = [];
  #hasLeft = false;

  constructor(chunks: readonly Uint8Array[]) {
    this.#chunks = [...chunks];
  }

  /** All that was written, up to where the peer was gone. */
  get written(): Uint8Array {
    return concat(...this.#written);
  }

  async read(): Promise<Uint8Array | null> {
    const chunk = this.#hasLeft ? undefined : this.#chunks.shift();
    if (chunk !== undefined) return chunk;
    // The other side may still have something to say.
    for (let turn = 0; turn < 3 && !this.#hasLeft; turn++) {
      await new Promise((resolve) => setTimeout(resolve));
    }
    return null;
  }

  write(bytes: Uint8Array): Promise<void> {
    if (this.#hasLeft) return Promise.reject(new Error("broken pipe"));
    this.#written.push(bytes.slice());
    return Promise.resolve();
  }

  endWrites(): Promise<void> {
    return Promise.resolve();
  }

  close(): void {
    this.#hasLeft = true;
  }
}
