import type { ByteConnection } from "./byte_connection.ts";

/** A connection from which too much was read: `prefix` is what the next `read` gives. */
export class PrefixedConnection implements ByteConnection {
  readonly #connection: ByteConnection;
  #prefix: Uint8Array | undefined;
  #hasRead = false;

  constructor(prefix: Uint8Array, connection: ByteConnection) {
    this.#connection = connection;
    this.#prefix = prefix.length > 0 ? prefix : undefined;
  }

  read(): Promise<Uint8Array | null> {
    const prefix = this.#prefix;
    this.#prefix = undefined;
    this.#hasRead = prefix === undefined;
    return prefix === undefined ? this.#connection.read() : Promise.resolve(prefix);
  }

  get headroomBytes(): number {
    return this.#hasRead ? this.#connection.headroomBytes ?? 0 : 0;
  }

  write(bytes: Uint8Array): Promise<void> {
    return this.#connection.write(bytes);
  }

  close(): void {
    this.#connection.close();
  }
}
