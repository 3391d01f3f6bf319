import type { ByteConnection } from "../session/byte_connection.ts";
import { BulkReader, HEADROOM_BYTES } from "../session/bulk_reader.ts";
import { WriteQueue } from "../session/write_queue.ts";
import type { SocketTuner } from "./no_delay.ts";

/**
 * The connection to a client: {@linkcode ByteConnection} over a TLS connection of the platform, or a plain one.
 *
 * It is read by two owners, one after the other: first HTTP, then a session. So a read may be begun without its
 * bytes being taken ({@linkcode begin}), and bytes can be given back ({@linkcode unread}).
 */
export class ClientConnection implements ByteConnection {
  /** IP address of the peer; that of an IPv4 client is written as such, whatever the listener is bound to. */
  readonly remoteAddress: string;
  readonly remotePort: number;
  readonly #connection: Deno.TlsConn | Deno.TcpConn;
  readonly #tuner: Pick<SocketTuner, "abort"> | undefined;
  readonly #reader: BulkReader;
  readonly #writes: WriteQueue;
  readonly #closed = Promise.withResolvers<void>();
  #unread: Uint8Array | undefined;
  #headroomBytes = 0;
  #begun: Promise<Uint8Array | null> | undefined;
  #isClosed = false;

  /** @param tuner ends the connection of a client that takes nothing: without it, such a socket stays open */
  constructor(connection: Deno.TlsConn | Deno.TcpConn, tuner?: Pick<SocketTuner, "abort">) {
    this.#connection = connection;
    this.#reader = new BulkReader(connection);
    this.#writes = new WriteQueue(connection);
    this.#tuner = tuner;
    const { hostname, port } = connection.remoteAddr;
    this.remoteAddress = hostname.replace(/^::ffff:(?=\d+\.)/i, "");
    this.remotePort = port;
  }

  /** Resolves when the connection was closed on our side, whoever did it. */
  get closed(): Promise<void> {
    return this.#closed.promise;
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  /**
   * Begins a read, if none is under way, and resolves with what the next {@linkcode read} will return: its bytes
   * are there until someone {@linkcode take}s them.
   */
  begin(): Promise<Uint8Array | null> {
    if (this.#unread !== undefined) return Promise.resolve(this.#unread);
    this.#begun ??= this.#readOnce();
    return this.#begun;
  }

  /** Says that the bytes which {@linkcode begin} resolved with were taken: the next read begins after them. */
  take(): void {
    this.#headroomBytes = this.#unread === undefined ? HEADROOM_BYTES : 0;
    if (this.#unread !== undefined) this.#unread = undefined;
    else this.#begun = undefined;
  }

  get headroomBytes(): number {
    return this.#headroomBytes;
  }

  /** Whether the next thing that the peer does is to go away. Takes no bytes; resolves when it does anything. */
  async isLeaving(): Promise<boolean> {
    try {
      return await (this.#begun ??= this.#readOnce()) === null;
    } catch {
      return true;
    }
  }

  async read(): Promise<Uint8Array | null> {
    try {
      return await this.begin();
    } finally {
      this.take();
    }
  }

  /** Gives back bytes that were read too far: the next `read` returns them, before anything else. */
  unread(bytes: Uint8Array): void {
    if (bytes.length > 0) this.#unread = bytes;
  }

  #readOnce(): Promise<Uint8Array | null> {
    return this.#isClosed ? Promise.resolve(null) : this.#reader.read();
  }

  write(bytes: Uint8Array): Promise<void> {
    return this.#writes.write(bytes);
  }

  /** TLS and TCP both say the end. */
  endWrites(): Promise<void> {
    return this.#writes.run(() => this.#connection.closeWrite());
  }

  /**
   * Closes so that the peer can read all that was written: says the end, then reads and drops what still comes in.
   * A socket that is closed with unread input answers with a reset, and the peer's system may drop our last bytes.
   *
   * @param limits how long to wait for the peer to close, in milliseconds, and how much of its input to drop
   */
  async closeGracefully(limits: { lingerMs: number; lingerBytes: number }): Promise<void> {
    if (this.#isClosed) return;
    const timer = setTimeout(() => this.close(), limits.lingerMs);
    try {
      await this.endWrites();
      for (let dropped = 0; dropped <= limits.lingerBytes;) {
        const bytes = await this.read();
        if (bytes === null) break;
        dropped += bytes.length;
      }
    } catch {
      // The peer was faster, or the time is over.
    } finally {
      clearTimeout(timer);
      this.close();
    }
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    if (this.#writes.pending > 0) this.#tuner?.abort([this.#connection]);
    try {
      this.#connection.close();
    } catch {
      // The platform closed it first.
    }
    this.#closed.resolve();
  }
}
