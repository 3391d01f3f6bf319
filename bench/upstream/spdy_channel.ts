import { successDocument } from "../../protocol/remote_command/mod.ts";
import {
  dataFrame,
  type Frame,
  FrameDecoder,
  FrameEncoder,
  GOAWAY_STATUS,
  synStream,
} from "../../protocol/spdy/mod.ts";
import type { ByteConnection } from "../../session/byte_connection.ts";
import type { End, ExecChannel } from "./exec_channel.ts";

/** The streams of every session here, in client-go's order: ids 1, 3 and 5. */
const STREAMS = ["error", "stdin", "stdout"] as const;
const ID = { error: 1, stdin: 3, stdout: 5 } as const;

/** An exec over SPDY/3.1, `v4.channel.k8s.io`, with stdin and stdout. */
export class SpdyChannel implements ExecChannel {
  readonly #connection: ByteConnection;
  readonly #decoder = new FrameDecoder();
  readonly #encoder = new FrameEncoder();
  readonly #end: End;
  readonly #in: number;
  readonly #out: number;
  #opened = 0;
  #unreadBytes = 0;
  #hasEnded = false;

  private constructor(connection: ByteConnection, end: End) {
    this.#connection = connection;
    this.#end = end;
    this.#in = end === "client" ? ID.stdout : ID.stdin;
    this.#out = end === "client" ? ID.stdin : ID.stdout;
  }

  /** @param connection switched to SPDY, nothing sent yet. @returns when the streams are open at both ends */
  static async open(connection: ByteConnection, end: End): Promise<SpdyChannel> {
    const channel = new SpdyChannel(connection, end);
    if (end === "client") {
      for (const name of STREAMS) {
        await connection.write(channel.#encoder.encode(synStream(ID[name], { streamtype: name })));
      }
    }
    while (channel.#opened < STREAMS.length) await channel.#readMore();
    return channel;
  }

  frame(payload: Uint8Array): Uint8Array {
    return dataFrame(this.#out, payload);
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
    await this.write(dataFrame(this.#out, new Uint8Array(), true));
    if (this.#end === "client") return;
    await this.write(dataFrame(ID.error, successDocument(), true));
    await this.write(
      this.#encoder.encode({ type: "goaway", lastGoodId: ID.stdout, status: GOAWAY_STATUS.OK }),
    );
  }

  close(): void {
    this.#connection.close();
  }

  async #readMore(): Promise<void> {
    const chunk = await this.#connection.read();
    if (chunk === null) {
      this.#hasEnded = true;
      if (this.#opened < STREAMS.length) throw new Error("the connection ended before its streams were open");
      return;
    }
    for (const frame of this.#decoder.push(chunk)) await this.#see(frame);
  }

  async #see(frame: Frame): Promise<void> {
    switch (frame.type) {
      case "data":
        if (frame.id !== this.#in) return;
        this.#unreadBytes += frame.bytes.length;
        this.#hasEnded ||= frame.fin;
        return;
      case "syn_stream":
        this.#opened++;
        return await this.write(
          this.#encoder.encode({ type: "syn_reply", id: frame.id, fin: false, headers: new Map() }),
        );
      case "syn_reply":
        this.#opened++;
        return;
      case "goaway":
        this.#hasEnded = true;
        return;
      default:
        return;
    }
  }
}
