import { randomBytes } from "node:crypto";
import {
  CHANNEL,
  encodeChannel,
  encodeGreeting,
  MessageReader,
  successDocument,
} from "../../protocol/remote_command/mod.ts";
import { CLOSE_CODE, encodeClose, FrameDecoder } from "../../protocol/websocket/mod.ts";
import type { ByteConnection } from "../../session/byte_connection.ts";
import type { End, ExecChannel } from "./exec_channel.ts";

/** The only subprotocol here: what kubectl speaks. */
export const SUBPROTOCOL = "v5.channel.k8s.io";

/** An exec over WebSocket, `v5.channel.k8s.io`, with stdin and stdout. */
export class WebSocketChannel implements ExecChannel {
  readonly #connection: ByteConnection;
  readonly #end: End;
  readonly #decoder: FrameDecoder;
  readonly #messages = new MessageReader(SUBPROTOCOL);
  readonly #in: number;
  readonly #out: number;
  #unreadBytes = 0;
  #isGreeted = false;
  #hasEnded = false;

  private constructor(connection: ByteConnection, end: End) {
    this.#connection = connection;
    this.#end = end;
    this.#decoder = new FrameDecoder({ role: end === "client" ? "client" : "server" });
    this.#in = end === "client" ? CHANNEL.STDOUT : CHANNEL.STDIN;
    this.#out = end === "client" ? CHANNEL.STDIN : CHANNEL.STDOUT;
  }

  /** @param connection switched to WebSocket. @returns when the server's greeting was sent or seen */
  static async open(connection: ByteConnection, end: End): Promise<WebSocketChannel> {
    const channel = new WebSocketChannel(connection, end);
    if (end === "kubelet") await channel.write(encodeGreeting(SUBPROTOCOL, { stdout: true, stderr: false }));
    else while (!channel.#isGreeted) await channel.#readMore();
    return channel;
  }

  frame(payload: Uint8Array): Uint8Array {
    return this.#encode(this.#out, payload);
  }

  write(wire: Uint8Array): Promise<void> {
    return this.#connection.write(wire);
  }

  async read(): Promise<number | null> {
    while (this.#unreadBytes === 0 && !this.#hasEnded) await this.#readMore();
    const count = this.#unreadBytes;
    this.#unreadBytes = 0;
    return count === 0 ? null : count;
  }

  async finish(): Promise<void> {
    if (this.#end === "client") {
      return await this.write(this.#encode(CHANNEL.CLOSE, Uint8Array.of(CHANNEL.STDIN)));
    }
    await this.write(this.#encode(CHANNEL.ERROR, successDocument()));
    await this.write(encodeClose(CLOSE_CODE.NORMAL));
  }

  close(): void {
    this.#connection.close();
  }

  /** Clients mask. The key may stay the same: nobody here attacks a proxy's cache. */
  #encode(channel: number, payload: Uint8Array): Uint8Array {
    const masked = this.#end === "client" ? { key: randomBytes(4) } : {};
    return encodeChannel(SUBPROTOCOL, channel, payload, masked);
  }

  async #readMore(): Promise<void> {
    const chunk = await this.#connection.read();
    if (chunk === null) {
      this.#hasEnded = true;
      if (!this.#isGreeted && this.#end === "client") {
        throw new Error("the connection ended without a greeting");
      }
      return;
    }
    for (const event of this.#decoder.push(chunk)) {
      if (event.type === "close") this.#hasEnded = true;
      if (event.type !== "data") continue;
      this.#isGreeted = true;
      const piece = this.#messages.read(event);
      if (piece?.channel === this.#in) this.#unreadBytes += piece.bytes?.length ?? 0;
      if (piece?.channel === CHANNEL.CLOSE && this.#end === "kubelet") this.#hasEnded = true;
    }
  }
}
