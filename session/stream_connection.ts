import { BulkReader, HEADROOM_BYTES } from "./bulk_reader.ts";
import type { ByteConnection } from "./byte_connection.ts";
import { WriteQueue } from "./write_queue.ts";

/** A {@linkcode ByteConnection} over a connection of the platform. */
export class StreamConnection implements ByteConnection {
  readonly headroomBytes = HEADROOM_BYTES;
  readonly #connection: Deno.Conn;
  readonly #reader: BulkReader;
  readonly #writes: WriteQueue;
  #isClosed = false;

  constructor(connection: Deno.Conn) {
    this.#connection = connection;
    this.#reader = new BulkReader(connection);
    this.#writes = new WriteQueue(connection);
  }

  read(): Promise<Uint8Array | null> {
    return this.#isClosed ? Promise.resolve(null) : this.#reader.read();
  }

  write(bytes: Uint8Array): Promise<void> {
    return this.#writes.write(bytes);
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
