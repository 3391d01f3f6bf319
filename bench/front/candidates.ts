/** The ways to accept TLS under Deno that were considered, each as connections that are read and written alike. */

import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { Duplex } from "node:stream";
import { createServer, TLSSocket } from "node:tls";
import { openSocketTuner } from "../../server/no_delay.ts";
import type { ByteConnection } from "../../session/byte_connection.ts";
import { StreamConnection } from "../../session/stream_connection.ts";

/** A certificate and its key, PEM. */
export interface KeyPair {
  cert: string;
  key: string;
}

/** Begins to listen on loopback. @returns the port */
export type Listen = (pair: KeyPair, serve: (connection: ByteConnection) => void) => Promise<number>;

const MOST_WAITING_BYTES = 256 * 1024;

/** By name, in the order of the table. */
export const CANDIDATES: Readonly<Record<string, Listen>> = {
  "node:tls server": listenNode,
  "Deno.listenTls": (pair, serve) => listenDeno(pair, serve, false),
  "Deno.listenTls, tuned": (pair, serve) => listenDeno(pair, serve, true),
  "TLSSocket over Deno.listen": listenDuplex,
};

async function listenNode({ cert, key }: KeyPair, serve: (connection: ByteConnection) => void) {
  const server = createServer({ cert, key, noDelay: true }, (socket) => serve(new NodeConnection(socket)));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return (server.address() as AddressInfo).port;
}

function listenDeno(
  { cert, key }: KeyPair,
  serve: (connection: ByteConnection) => void,
  isTuned: boolean,
): Promise<number> {
  const listener = Deno.listenTls({ hostname: "127.0.0.1", port: 0, cert, key });
  if (isTuned && !openSocketTuner()?.tuneListener(listener.addr)) throw new Error("FFI is needed");
  void (async () => {
    for await (const connection of listener) serve(new StreamConnection(connection));
  })();
  return Promise.resolve(listener.addr.port);
}

function listenDuplex({ cert, key }: KeyPair, serve: (connection: ByteConnection) => void): Promise<number> {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  void (async () => {
    for await (const connection of listener) {
      connection.setNoDelay(true);
      const below = new TcpDuplex(connection);
      const socket = new TLSSocket(below, { isServer: true, cert, key });
      serve(new NodeConnection(socket, (bytes) => below.taken(bytes)));
    }
  })();
  return Promise.resolve(listener.addr.port);
}

/**
 * A TCP connection as a stream that is read only while little of what came in waits above it: a `TLSSocket` under
 * Deno takes all that is there, whether anybody reads it or not.
 */
class TcpDuplex extends Duplex {
  readonly #connection: Deno.TcpConn;
  /** Bytes that came in and were not taken above, nearly: TLS takes some for itself. */
  #waiting = 0;
  #isHeld = false;
  readonly #buffer = new Uint8Array(64 * 1024);

  constructor(connection: Deno.TcpConn) {
    super({ highWaterMark: 64 * 1024 });
    this.#connection = connection;
  }

  /** So many bytes were taken above; 0 says that there were none any more. */
  taken(bytes: number): void {
    this.#waiting = bytes === 0 ? 0 : this.#waiting - bytes;
    if (this.#isHeld) this._read();
  }

  override _read(): void {
    this.#isHeld = this.#waiting > MOST_WAITING_BYTES;
    if (this.#isHeld) return;
    this.#connection.read(this.#buffer).then(
      (count) => {
        this.#waiting += count ?? 0;
        this.push(count === null ? null : this.#buffer.slice(0, count));
      },
      () => this.destroy(),
    );
  }

  override _write(chunk: Uint8Array, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.#writeAll(chunk).then(() => done(), done);
  }

  async #writeAll(chunk: Uint8Array): Promise<void> {
    for (let offset = 0; offset < chunk.length;) {
      offset += await this.#connection.write(chunk.subarray(offset));
    }
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    try {
      this.#connection.close();
    } catch {
      // It is closed already.
    }
    done(error);
  }
}

/** A socket of `node:tls`, paused whenever nobody reads. */
class NodeConnection implements ByteConnection {
  readonly #socket: TLSSocket;
  #wake = () => {};
  #isOver = false;
  readonly #onTaken: (bytes: number) => void;

  constructor(socket: TLSSocket, onTaken: (bytes: number) => void = () => {}) {
    this.#socket = socket;
    this.#onTaken = onTaken;
    const end = () => {
      this.#isOver = true;
      this.#wake();
    };
    socket.on("readable", () => this.#wake()).on("end", end).on("close", end).on("error", end);
  }

  async read(): Promise<Uint8Array | null> {
    for (;;) {
      const chunk: unknown = this.#socket.read();
      this.#onTaken(chunk instanceof Uint8Array ? chunk.length : 0);
      if (chunk instanceof Uint8Array) return chunk;
      if (this.#isOver) return null;
      await new Promise<void>((resolve) => this.#wake = resolve);
    }
  }

  write(bytes: Uint8Array): Promise<void> {
    // A write to a socket that was closed is not always told to have failed.
    if (this.#isOver) return Promise.reject(new Error("the connection was closed"));
    return new Promise((resolve, reject) =>
      this.#socket.write(bytes, (error) => error ? reject(error) : resolve())
    );
  }

  close(): void {
    this.#socket.destroy();
  }
}
