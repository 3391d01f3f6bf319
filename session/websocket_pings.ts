import { encodeFrame, encodePong, OPCODE } from "../protocol/websocket/mod.ts";
import type { ByteConnection } from "./byte_connection.ts";
import type { Pings } from "./keepalive.ts";

/** The pings on the client's side of a WebSocket session, where we are the server. */
export class WebSocketPings implements Pings {
  readonly #connection: ByteConnection;
  #asked = 0;
  #unanswered: Uint8Array | undefined;
  #isAnswering = false;

  constructor(connection: ByteConnection) {
    this.#connection = connection;
  }

  /** A ping whose payload, a number in decimal, is its own. */
  async ask(): Promise<void> {
    this.#asked += 1;
    await this.#connection.write(encodeFrame(OPCODE.PING, new TextEncoder().encode(`${this.#asked}`)));
  }

  /** A pong that was not asked for. It keeps a Go client patient whose pings we cannot read: it gives up 61 s after the last pong. */
  async tell(): Promise<void> {
    await this.#connection.write(encodePong(new Uint8Array()));
  }

  /** A ping came: it is answered without waiting for that, and of several the latest (RFC 6455, 5.5.3). */
  received(payload: Uint8Array): void {
    this.#unanswered = payload;
    if (!this.#isAnswering) this.#answer();
  }

  /** Whether a pong answers our latest ping. */
  isAnswer(payload: Uint8Array): boolean {
    return this.#asked > 0 && new TextDecoder().decode(payload) === `${this.#asked}`;
  }

  async #answer(): Promise<void> {
    this.#isAnswering = true;
    try {
      while (this.#unanswered !== undefined) {
        const pong = encodePong(this.#unanswered);
        this.#unanswered = undefined;
        await this.#connection.write(pong);
      }
    } catch {
      // Whoever reads from the connection notices that it is lost.
    }
    this.#isAnswering = false;
  }
}
