import { randomBytes } from "node:crypto";
import {
  CLOSE_CODE,
  type DataEvent,
  encodeClose,
  encodeFrame,
  encodePong,
  FrameDecoder,
  type Opcode,
  type Role,
  WebSocketError,
} from "../protocol/websocket/mod.ts";
import type { ByteConnection } from "./byte_connection.ts";
import { atMost } from "./lifetime.ts";
import { Outbox } from "./outbox.ts";

/** Closes that are a peer's goodbye: with a code or without, and of one that goes away. */
const GOODBYES: readonly number[] = [CLOSE_CODE.NORMAL, CLOSE_CODE.GOING_AWAY, CLOSE_CODE.NO_STATUS];

/** Which end we are, and how to leave. */
export interface WebSocketPeerOptions {
  role: Role;
  /** How long the peer's Close is waited for that answers ours. */
  lingerMs: number;
  /** Called with the payload of each pong. */
  onPong?(payload: Uint8Array): void;
}

/**
 * One end of a WebSocket after its handshake: pings and Close are its own business, messages are left to its user.
 *
 * Pings are answered at once, whether or not the peer takes what else is sent; of several the latest (RFC 6455, 5.5.3).
 */
export class WebSocketPeer {
  readonly #connection: ByteConnection;
  readonly #options: WebSocketPeerOptions;
  readonly #decoder: FrameDecoder;
  readonly #outbox = new Outbox();
  readonly #closed = Promise.withResolvers<void>();
  #reading: Promise<unknown> | undefined;
  #unansweredPing: Uint8Array | undefined;
  #isAnswering = false;
  #fault: unknown;
  #peerHasClosed = false;
  #isClosing = false;
  #closeCode: number = CLOSE_CODE.NORMAL;
  /** The peer has sent a ping: so it reads whatever its program does, and answers pings too. */
  hasPinged = false;

  constructor(connection: ByteConnection, options: WebSocketPeerOptions) {
    this.#connection = connection;
    this.#options = options;
    this.#decoder = new FrameDecoder({ role: options.role });
  }

  /** Resolves when the connection below is closed. */
  get closed(): Promise<void> {
    return this.#closed.promise;
  }

  /**
   * The next pieces of messages, at least one; `null` after the peer's Close, and after our own. One at a time; the bytes are valid until
   * the next call.
   *
   * @throws {WebSocketError} the peer broke the protocol; it is told so when this end closes
   * @throws {Error} the connection was lost, or ended without a Close
   */
  async read(): Promise<DataEvent[] | null> {
    const reading = this.#next();
    this.#reading = reading;
    try {
      return await reading;
    } finally {
      this.#reading = undefined;
    }
  }

  async #next(): Promise<DataEvent[] | null> {
    for (;;) {
      if (this.#fault !== undefined) throw this.#fault;
      if (this.#peerHasClosed) return null;
      const chunk = await this.#connection.read();
      if (chunk === null && this.#isClosing) return null;
      if (chunk === null) throw new Error("the WebSocket's connection ended without a Close");
      const data = this.#take(chunk);
      if (data.length > 0 && !this.#isClosing) return data;
    }
  }

  /** Writes frames, or parts of them that make whole ones together, as few writes and in the order of the calls. */
  async write(...frames: readonly Uint8Array[]): Promise<void> {
    if (this.#isClosing) throw new Error("the WebSocket is closed");
    for (const frame of frames) this.#outbox.add(frame);
    const views = this.#outbox.take();
    try {
      await Promise.all(views.map((view) => this.#connection.write(view)));
    } finally {
      this.#outbox.release(views);
    }
  }

  /** A whole frame, masked where we are the client. */
  frame(opcode: Opcode, payload: Uint8Array): Uint8Array {
    return encodeFrame(opcode, payload, this.#mask());
  }

  /** Ends the connection for a fault that was found in the messages. */
  refuse(fault: WebSocketError): void {
    this.#fault ??= fault;
    this.#closeCode = fault.closeCode;
  }

  /** Says Close, waits for the peer's for a while, and closes the connection below. Never throws; may be called again. */
  close(): void {
    if (this.#isClosing) return;
    this.#isClosing = true;
    this.#leave();
  }

  async #leave(): Promise<void> {
    await atMost(this.#options.lingerMs, this.#sayGoodbye());
    this.#connection.close();
    this.#closed.resolve();
  }

  /** What the peer still says is read and dropped, lest TCP reset the connection before it has read our last words. */
  async #sayGoodbye(): Promise<void> {
    const said = this.#connection.write(encodeClose(this.#closeCode, "", this.#mask()))
      // A server ends the connection, a client waits for it (RFC 6455, 7.1.1).
      .then(() => this.#options.role === "server" ? this.#connection.endWrites?.() : undefined);
    const heard = this.#hearGoodbye();
    await Promise.all([said, heard]);
  }

  async #hearGoodbye(): Promise<void> {
    await this.#reading?.catch(() => {});
    while (!this.#peerHasClosed) {
      const chunk = await this.#connection.read();
      if (chunk === null) return;
      if (this.#fault === undefined) this.#take(chunk);
    }
  }

  #take(chunk: Uint8Array): DataEvent[] {
    const data: DataEvent[] = [];
    try {
      for (const event of this.#decoder.push(chunk)) {
        switch (event.type) {
          case "data":
            data.push(event);
            break;
          case "ping":
            this.hasPinged = true;
            this.#answer(event.payload);
            break;
          case "pong":
            this.#options.onPong?.(event.payload);
            break;
          case "close":
            this.#peerHasClosed = true;
            if (GOODBYES.includes(event.code)) this.#closeCode = event.code;
            else this.#fault ??= new Error(`the WebSocket was closed with code ${event.code}`);
            break;
          default:
            event satisfies never;
        }
      }
    } catch (thrown) {
      if (thrown instanceof WebSocketError) this.refuse(thrown);
      else this.#fault ??= thrown;
    }
    return data;
  }

  async #answer(payload: Uint8Array): Promise<void> {
    this.#unansweredPing = payload;
    if (this.#isAnswering || this.#isClosing) return;
    this.#isAnswering = true;
    while (this.#unansweredPing !== undefined && !this.#isClosing) {
      const pong = encodePong(this.#unansweredPing, this.#mask());
      this.#unansweredPing = undefined;
      await this.#connection.write(pong).catch(() => {}); // whoever reads notices that it is lost
    }
    this.#isAnswering = false;
  }

  #mask(): { key?: Uint8Array } {
    return this.#options.role === "client" ? { key: randomBytes(4) } : {};
  }
}
