import { Buffer } from "node:buffer";
import {
  type DataEvent,
  encodeHeader,
  OPCODE,
  type Role,
  WebSocketError,
} from "../protocol/websocket/mod.ts";
import type { ByteConnection } from "./byte_connection.ts";
import { WebSocketPeer } from "./websocket_peer.ts";

/** Most bytes of a message that we send: what Go peers take as one frame. */
const MAX_MESSAGE_BYTES = 32 * 1024;

/** Which end of a tunnel, and how to leave it. */
export interface TunnelOptions {
  /** `server` for a client's tunnel, `client` for one to an upstream: its frames are masked. */
  role: Role;
  /** How long the peer's Close is waited for that answers ours. */
  lingerMs: number;
}

/**
 * A stream of bytes inside a WebSocket, as API servers and kubectl carry SPDY (`SPDY/3.1+portforward.k8s.io`).
 *
 * What a message holds means nothing, only their bytes joined (E-111); text is refused (E-114). A Close of code 1000, 1001 or
 * none is the end of the stream, any other end a loss.
 *
 * @see k8s.io/client-go tools/portforward/tunneling_connection.go
 */
export class TunnelConnection implements ByteConnection {
  readonly #socket: WebSocketPeer;
  readonly #isMasked: boolean;

  /** @param connection switched to WebSocket, nothing sent yet */
  constructor(connection: ByteConnection, options: TunnelOptions) {
    this.#isMasked = options.role === "client";
    this.#socket = new WebSocketPeer(connection, options);
  }

  /** Resolves when the connection below is closed, some time after {@linkcode close}. */
  get closed(): Promise<void> {
    return this.#socket.closed;
  }

  /** @throws {WebSocketError} the peer broke the protocol */
  async read(): Promise<Uint8Array | null> {
    for (;;) {
      const pieces = await this.#socket.read();
      if (pieces === null) return null;
      const bytes = this.#join(pieces);
      if (bytes.length > 0) return bytes;
    }
  }

  #join(pieces: readonly DataEvent[]): Uint8Array {
    if (pieces.some(({ kind }) => kind === "text")) {
      const fault = new WebSocketError("text_unexpected", "text message in a tunnel");
      this.#socket.refuse(fault);
      throw fault;
    }
    // Go peers send a message for each few bytes of a frame: together they are worth a copy.
    return pieces.length === 1 ? pieces[0]!.bytes : Buffer.concat(pieces.map(({ bytes }) => bytes));
  }

  async write(bytes: Uint8Array): Promise<void> {
    const frames: Uint8Array[] = [];
    for (let at = 0; at < bytes.length; at += MAX_MESSAGE_BYTES) {
      const message = bytes.subarray(at, at + MAX_MESSAGE_BYTES);
      if (this.#isMasked) frames.push(this.#socket.frame(OPCODE.BINARY, message));
      else frames.push(encodeHeader(OPCODE.BINARY, message.length), message);
    }
    await this.#socket.write(...frames);
  }

  /** Says Close: there is no other way, and after it the client's messages are dropped. */
  endWrites(): Promise<void> {
    this.close();
    return Promise.resolve();
  }

  /** Says Close, and closes the connection below a while later. */
  close(): void {
    this.#socket.close();
  }
}
