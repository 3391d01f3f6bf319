import type { ByteConnection } from "../session/byte_connection.ts";

/** A header line as received: name in its original case. */
export type HeaderLine = readonly [name: string, value: string];

/** Answers one HTTP request that the front read. */
export type Handler = (request: Request, context: RequestContext) => Promise<Response>;

/** What the front knows of a request beside the `Request`. */
export interface RequestContext {
  /** IP address of the peer. */
  remoteAddress: string;
  remotePort: number;
  /** The request target as it stood in the request line: `Request.url` normalises, and what is checked must be what is opened. */
  rawTarget: string;
  /** All header lines, in order. */
  rawHeaders: readonly HeaderLine[];
  /** Present where the request asks for an upgrade. */
  upgrade?: Upgrade;
  /** Aborted when the client goes away, or when the gateway can wait no longer. */
  signal: AbortSignal;
}

/** The way out of HTTP, once for a request. */
export interface Upgrade {
  /**
   * Switches protocols: a 101 with these headers, in this order, is written, then `run` owns the connection, which is closed
   * after `run` settled.
   *
   * @returns what the handler must return
   */
  accept(headers: readonly HeaderLine[], run: (client: ByteConnection) => Promise<void>): Response;
  /** Answers with exactly these bytes and closes. @returns what the handler must return */
  answerRaw(bytes: Uint8Array): Response;
}
