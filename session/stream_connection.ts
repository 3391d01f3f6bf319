import { BulkReader, HEADROOM_BYTES } from "./bulk_reader.ts";
import type { ByteConnection } from "./byte_connection.ts";

/** A {@linkcode ByteConnection} over a connection of the platform. */
export class StreamConnection implements ByteConnection {
  readonly headroomBytes = HEADROOM_BYTES;
  readonly #connection: Deno.Conn;
  readonly #reader: BulkReader;
  #lastWrite: Promise<void> = Promise.resolve();
  #isClosed = false;

  constructor(connection: Deno.Conn) {
    this.#connection = connection;
    this.#reader = new BulkReader(connection);
  }

  read(): Promise<Uint8Array | null> {
    return this.#isClosed ? Promise.resolve(null) : this.#reader.read();
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
