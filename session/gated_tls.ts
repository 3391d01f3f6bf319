import { Buffer } from "node:buffer";
import { once } from "node:events";
import { Duplex } from "node:stream";
import { connect as connectTls, type TLSSocket } from "node:tls";
import type { ByteConnection } from "./byte_connection.ts";
import { StreamConnection } from "./stream_connection.ts";

/** Plain bytes that the TLS socket may hold before its transport is read again. */
const GATE_BYTES = 64 * 1024;

/** What `Deno.startTls` cannot do: show a certificate, or trust anyone. */
export interface GatedTlsOptions {
  /** A DNS name or an IP address: what the certificate must be for. */
  serverName: string;
  /** PEM; these and no others are trusted. */
  caCerts: readonly string[];
  clientCertificate?: { cert: string; key: string };
  /** Trust whoever answers. */
  insecureSkipTLSVerify: boolean;
}

/**
 * TLS by `node:tls` over a connection of Deno's.
 *
 * A socket of `node:tls` reads its transport whatever it holds already, `pause()` or not: a peer that sends faster than it is
 * read fills the memory with gigabytes. So the transport looks how much that is, and waits.
 *
 * @returns the connection after its handshake
 * @throws where the handshake fails; the TCP connection is closed then
 */
export async function startGatedTls(tcp: Deno.TcpConn, options: GatedTlsOptions): Promise<GatedTls> {
  const transport = new GatedTransport(new StreamConnection(tcp));
  const socket = connectTls({
    socket: transport,
    servername: /^[\d.]+$|:/.test(options.serverName) ? "" : options.serverName,
    host: options.serverName,
    ca: [...options.caCerts],
    ...options.clientCertificate,
    rejectUnauthorized: !options.insecureSkipTLSVerify,
    ALPNProtocols: ["http/1.1"],
  });
  transport.heldBytes = () => socket.readableLength;
  try {
    await once(socket, "secureConnect");
  } catch (cause) {
    socket.destroy();
    transport.destroy();
    throw cause;
  }
  return new GatedTls(socket, transport);
}

/** The encrypted side. */
class GatedTransport extends Duplex {
  heldBytes: () => number = () => 0;
  readonly #connection: StreamConnection;
  #isReading = false;
  #wake: (() => void) | undefined;

  constructor(connection: StreamConnection) {
    super({ highWaterMark: GATE_BYTES });
    this.#connection = connection;
  }

  /** The TLS socket was read. */
  taken(): void {
    if (this.heldBytes() >= GATE_BYTES) return;
    this.#wake?.();
    this.#wake = undefined;
  }

  override _read(): void {
    if (this.#isReading) return;
    this.#isReading = true;
    this.#pass().catch((cause) => this.destroy(cause));
  }

  async #pass(): Promise<void> {
    if (this.heldBytes() >= GATE_BYTES) await new Promise<void>((wake) => this.#wake = wake);
    if (this.destroyed) return;
    const bytes = await this.#connection.read();
    this.#isReading = false;
    this.push(bytes === null ? null : Buffer.from(bytes));
  }

  override _write(chunk: Uint8Array, _encoding: string, done: (error?: Error | null) => void): void {
    this.#connection.write(chunk).then(() => done(), done);
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#connection.close();
    this.#wake?.();
    done(error);
  }
}

/** The plain side. */
class GatedTls implements ByteConnection {
  readonly #socket: TLSSocket;
  readonly #transport: GatedTransport;
  #lost: Error | undefined;
  #isOver = false;
  #changed: (() => void) | undefined;

  constructor(socket: TLSSocket, transport: GatedTransport) {
    this.#socket = socket;
    this.#transport = transport;
    const change = () => this.#changed?.();
    const over = (error?: Error) => {
      this.#lost ??= error;
      this.#isOver = true;
      change();
    };
    socket.on("readable", change);
    socket.on("end", () => over());
    socket.on("close", () => over());
    socket.on("error", over);
    transport.on("error", over);
  }

  async read(): Promise<Uint8Array | null> {
    for (;;) {
      const piece: Uint8Array | null = this.#socket.read();
      if (piece !== null) {
        this.#transport.taken();
        return piece;
      }
      if (this.#lost !== undefined) throw this.#lost;
      if (this.#isOver) return null;
      await new Promise<void>((resolve) => this.#changed = resolve);
    }
  }

  write(bytes: Uint8Array): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#socket.write(bytes, (error) => error ? reject(error) : resolve());
    });
  }

  close(): void {
    this.#socket.destroy();
    this.#transport.destroy();
  }
}
