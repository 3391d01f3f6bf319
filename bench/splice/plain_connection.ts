import { Buffer } from "node:buffer";
import type { ByteConnection } from "../../session/byte_connection.ts";

/** Largest HTTP head at the start of a connection, in bytes. */
const MAX_HEAD_BYTES = 64 * 1024;

/**
 * A connection of the benchmark's own ends. Not the gateway's: a change there must not change what it is measured with.
 * One reader, one writer at a time.
 */
export class PlainConnection implements ByteConnection {
  readonly #connection: Deno.Conn;
  readonly #buffer: Uint8Array<ArrayBuffer>;
  #unread: Uint8Array | undefined;

  /** @param bufferBytes most that one read takes */
  constructor(connection: Deno.Conn, bufferBytes = 64 * 1024) {
    this.#connection = connection;
    this.#buffer = new Uint8Array(bufferBytes);
  }

  /** An HTTP head, without the empty line that ends it. @throws where there is none within 64 KiB */
  async readHead(): Promise<string> {
    let held = Buffer.alloc(0);
    for (;;) {
      const end = held.indexOf("\r\n\r\n");
      if (end >= 0) {
        const rest = held.subarray(end + 4);
        this.#unread = rest.length > 0 ? rest : undefined;
        return held.subarray(0, end).toString("latin1");
      }
      const chunk = held.length < MAX_HEAD_BYTES ? await this.read() : null;
      if (chunk === null) throw new Error(`no HTTP head within ${held.length} bytes`);
      held = Buffer.concat([held, chunk]);
    }
  }

  /** Writes an HTTP head. */
  async writeHead(
    start: string,
    headers: readonly (readonly [name: string, value: string])[],
  ): Promise<void> {
    const lines = [start, ...headers.map(([name, value]) => `${name}: ${value}`)];
    await this.write(new TextEncoder().encode(lines.join("\r\n") + "\r\n\r\n"));
  }

  async read(): Promise<Uint8Array | null> {
    if (this.#unread !== undefined) {
      const bytes = this.#unread;
      this.#unread = undefined;
      return bytes;
    }
    const count = await this.#connection.read(this.#buffer);
    return count === null ? null : this.#buffer.subarray(0, count);
  }

  async write(bytes: Uint8Array): Promise<void> {
    let offset = 0;
    while (offset < bytes.length) offset += await this.#connection.write(bytes.subarray(offset));
  }

  close(): void {
    try {
      this.#connection.close();
    } catch {
      // It was closed before.
    }
  }
}
