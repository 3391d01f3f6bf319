import type { ByteConnection } from "../../session/byte_connection.ts";

/** One end of a connection in memory. A write resolves once the other end has read it, as with a slow peer. */
export class PipeEnd implements ByteConnection {
  readonly #incoming: { bytes: Uint8Array; taken: () => void }[] = [];
  #waiting: PromiseWithResolvers<void> | undefined;
  #isEnded = false;
  /** The peer writes no more. */
  #hasReadAll = false;
  #lost: Error | undefined;
  peer!: PipeEnd;
  /** Bytes written here that the peer has not read yet. */
  pendingBytes = 0;

  async read(): Promise<Uint8Array | null> {
    for (;;) {
      const next = this.#incoming.shift();
      if (next !== undefined) {
        this.peer.pendingBytes -= next.bytes.length;
        next.taken();
        return next.bytes;
      }
      if (this.#lost !== undefined) throw this.#lost;
      if (this.#isEnded || this.#hasReadAll) return null;
      this.#waiting = Promise.withResolvers<void>();
      await this.#waiting.promise;
    }
  }

  write(bytes: Uint8Array): Promise<void> {
    if (this.#isEnded || this.peer.#isEnded) return Promise.reject(this.#lost ?? new Error("broken pipe"));
    this.pendingBytes += bytes.length;
    return new Promise((taken) => {
      this.peer.#incoming.push({ bytes: bytes.slice(), taken });
      this.peer.#wake();
    });
  }

  endWrites(): Promise<void> {
    this.peer.#hasReadAll = true;
    this.peer.#wake();
    return Promise.resolve();
  }

  close(): void {
    this.#end();
    this.peer.#end();
  }

  /** The connection breaks: both ends see an error. */
  lose(): void {
    this.#lost = this.peer.#lost = new Error("connection reset");
    this.close();
  }

  #end(): void {
    this.#isEnded = true;
    for (const { taken } of this.#incoming) taken();
    this.#wake();
  }

  #wake(): void {
    this.#waiting?.resolve();
  }
}

/** Two ends of one connection. */
export function pipe(): [PipeEnd, PipeEnd] {
  const [one, other] = [new PipeEnd(), new PipeEnd()];
  one.peer = other;
  other.peer = one;
  return [one, other];
}
