import type { ByteConnection } from "./byte_connection.ts";

/** A {@linkcode ByteConnection} over a connection of the platform. Reads reuse one buffer. */
export class StreamConnection implements ByteConnection {
  readonly #connection: Deno.Conn;
  readonly #buffer: Uint8Array;
  #lastWrite: Promise<void> = Promise.resolve();
  #isClosed = false;

  /** @param bufferBytes size of the read buffer; the platform hands out one TLS record in a read, never more */
  constructor(connection: Deno.Conn, bufferBytes = 16 * 1024) {
    this.#connection = connection;
    this.#buffer = new Uint8Array(bufferBytes);
  }

  async read(): Promise<Uint8Array | null> {
    if (this.#isClosed) return null;
    const count = await this.#connection.read(this.#buffer);
    return count === null ? null : this.#buffer.subarray(0, count);
  }

  write(bytes: Uint8Array): Promise<void> {
    const written = this.#lastWrite.then(() => this.#writeAll(bytes));
    this.#lastWrite = written.catch(() => {});
    return written;
  }

  async #writeAll(bytes: Uint8Array): Promise<void> {
    let offset = 0;
    while (offset < bytes.length) offset += await this.#connection.write(bytes.subarray(offset));
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    try {
      this.#connection.close();
    } catch {
      // The platform closed it first.
    }
  }
}
