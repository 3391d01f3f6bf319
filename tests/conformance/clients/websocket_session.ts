import { Buffer } from "node:buffer";
import { randomBytes } from "node:crypto";
import { encodeClose, encodeFrame, OPCODE, type Opcode } from "../../../protocol/websocket/mod.ts";
import type { Column } from "../columns.ts";
import type { Seen } from "../matrix.ts";
import { answerText, shown } from "../transcript.ts";
import { ask, type Request } from "./request.ts";
import type { Wire } from "./wire.ts";

const QUIET_MS = 4_000;

/** A message, its fragments joined. */
interface Message {
  opcode: number;
  payload: Uint8Array;
}

/** A session over WebSocket that keeps all that came, and sends what it is told to, right or wrong. Pings are not answered. */
export class WebSocketSession implements Disposable {
  readonly messages: Message[] = [];
  /** Whether messages are kept; of a large stream they are better taken by {@linkcode onMessage} alone. */
  keepsMessages = true;
  /** Called for each message as it comes. */
  onMessage: (message: Message) => void = () => {};
  readonly #pongs: string[] = [];
  readonly #odd: string[] = [];
  #closeCode: number | undefined;
  #held: Uint8Array = new Uint8Array();
  #fragments: Message | undefined;
  readonly protocol: string;

  private constructor(
    readonly at: Column,
    readonly wire: Wire,
    readonly answer: string,
    readonly isOpen: boolean,
  ) {
    this.protocol = /^sec-websocket-protocol: ?(.*)$/m.exec(answer)?.[1] ?? "";
    if (isOpen) wire.hand((bytes) => this.#take(bytes));
  }

  static async open(at: Column, request: Request): Promise<WebSocketSession> {
    const { wire, answer } = await ask(at, request);
    return new WebSocketSession(at, wire, answerText(at, answer), answer.status === 101);
  }

  get isBase64(): boolean {
    return this.protocol.includes("base64");
  }

  /** One masked frame. */
  async frame(opcode: Opcode, payload: Uint8Array | string, { fin = true } = {}): Promise<void> {
    await this.wire.send(frameOf(opcode, payload, { fin }));
  }

  /** A binary message of these bytes. */
  async message(...bytes: number[]): Promise<void> {
    await this.frame(OPCODE.BINARY, Uint8Array.from(bytes));
  }

  /** A message on a channel, in the protocol that was negotiated. */
  async channel(number: number, payload: Uint8Array | string): Promise<void> {
    await this.wire.send(this.channelFrame(number, payload));
  }

  channelFrame(number: number, payload: Uint8Array | string): Uint8Array {
    const bytes = typeof payload === "string" ? Buffer.from(payload) : payload;
    return this.isBase64
      ? frameOf(OPCODE.TEXT, `${number}${Buffer.from(bytes).toString("base64")}`)
      : frameOf(OPCODE.BINARY, Buffer.concat([Uint8Array.of(number), bytes]));
  }

  async sendClose(code = 1000): Promise<void> {
    await this.wire.send(encodeClose(code, "", { key: randomBytes(4) }));
  }

  /** The first messages as they came, in hexadecimal. */
  first(count: number): string {
    return this.messages.slice(0, count).map(({ payload }) => Buffer.from(payload).toString("hex")).join(" ");
  }

  /** The server's Close, as far as it came. */
  get closeCode(): number | undefined {
    return this.#closeCode;
  }

  /** All that came on a channel. */
  bytes(channel: number): Uint8Array {
    return this.channels().get(channel) ?? new Uint8Array();
  }

  text(channel: number): string {
    return Buffer.from(this.bytes(channel)).toString("utf8");
  }

  channels(): Map<number, Uint8Array> {
    const channels = new Map<number, Uint8Array[]>();
    for (const { payload } of this.messages) {
      if (payload.length === 0) continue;
      const channel = this.isBase64 ? payload[0]! - 0x30 : payload[0]!;
      const rest = Buffer.from(payload.subarray(1));
      const bytes = this.isBase64 ? Buffer.from(rest.toString("latin1"), "base64") : rest;
      const list = channels.get(channel) ?? [];
      list.push(bytes);
      channels.set(channel, list);
    }
    return new Map([...channels].map(([channel, list]) => [channel, Buffer.concat(list)]));
  }

  get pongs(): readonly string[] {
    return this.#pongs;
  }

  async until(holds: () => boolean, deadlineMs?: number): Promise<boolean> {
    return await this.wire.until(() => this.#closeCode !== undefined || holds(), deadlineMs);
  }

  async shows(channel: number, text: string, deadlineMs?: number): Promise<boolean> {
    return await this.until(() => this.text(channel).includes(text), deadlineMs);
  }

  /** Waits for the Close, the end or silence, and says all that came. */
  async seen(quietMs = QUIET_MS): Promise<Seen> {
    if (this.isOpen) {
      await this.until(() => performance.now() - this.wire.lastMs > quietMs, 20_000);
      // A Close is answered, as every client does; the server then ends the connection.
      if (this.#closeCode !== undefined) {
        await this.sendClose(this.#closeCode === 1005 ? 1000 : this.#closeCode);
        await this.wire.until(() => false, 3_000);
      }
    }
    const seen = this.#seen();
    this.wire.close();
    return seen;
  }

  #seen(): Seen {
    if (!this.isOpen) return { answer: this.answer };
    const kinds = new Set(this.messages.map(({ opcode }) => opcode === OPCODE.TEXT ? "text" : "binary"));
    const [first] = this.messages;
    return {
      answer: this.answer,
      ...(first && { "first message": Buffer.from(first.payload).toString("hex").slice(0, 40) }),
      ...(kinds.size > 0 && { messages: [...kinds].sort().join(" and ") }),
      ...Object.fromEntries(
        [...this.channels()].sort(([a], [b]) => a - b).map(([channel, bytes]) =>
          [`channel ${channel}`, shown(this.at, bytes)] as const
        ),
      ),
      ...(this.#pongs.length > 0 && { pongs: this.#pongs.join(" ") }),
      ...(this.#odd.length > 0 && { odd: this.#odd.join("; ") }),
      end: this.#closeCode !== undefined
        ? `Close ${this.#closeCode}${this.wire.ended === undefined ? ", not closed" : ""}`
        : this.wire.ended !== undefined
        ? "closed without Close"
        : "stays open",
    };
  }

  #take(bytes: Uint8Array): void {
    this.#held = this.#held.length === 0 ? bytes : Buffer.concat([this.#held, bytes]);
    for (let frame = this.#nextFrame(); frame !== undefined; frame = this.#nextFrame()) {
      this.#takeFrame(frame);
    }
  }

  /** Reads frames by code of its own, so that the gateway's decoder is not held against itself. */
  #nextFrame(): (Message & { fin: boolean }) | undefined {
    const held = Buffer.from(this.#held.buffer, this.#held.byteOffset, this.#held.length);
    if (held.length < 2) return undefined;
    const short = held[1]! & 0x7f;
    const headBytes = short === 126 ? 4 : short === 127 ? 10 : 2;
    if (held.length < headBytes) return undefined;
    if (held[1]! >= 0x80) this.#odd.push("a masked frame");
    const length = short === 126
      ? held.readUInt16BE(2)
      : short === 127
      ? Number(held.readBigUInt64BE(2))
      : short;
    if (held.length < headBytes + length) return undefined;
    this.#held = this.#held.subarray(headBytes + length);
    const payload = held.subarray(headBytes, headBytes + length);
    return { opcode: held[0]! & 0x0f, fin: held[0]! >= 0x80, payload: Uint8Array.from(payload) };
  }

  #takeFrame({ opcode, fin, payload }: Message & { fin: boolean }): void {
    if (this.#closeCode !== undefined) this.#odd.push("a frame after Close");
    if (opcode === OPCODE.CLOSE) {
      this.#closeCode = payload.length < 2 ? 1005 : payload[0]! * 256 + payload[1]!;
    } else if (opcode === OPCODE.PONG) this.#pongs.push(Buffer.from(payload).toString("latin1") || '""');
    else if (opcode !== OPCODE.PING) this.#takeData({ opcode, payload }, fin); // a server may ping when it likes
  }

  #takeData(message: Message, fin: boolean): void {
    const started = this.#fragments;
    if ((message.opcode === 0) !== (started !== undefined)) this.#odd.push("a stray continuation");
    const whole = started === undefined
      ? message
      : { opcode: started.opcode, payload: Buffer.concat([started.payload, message.payload]) };
    this.#fragments = fin ? undefined : whole;
    if (!fin) return;
    if (whole.payload.length === 0) this.#odd.push("an empty message");
    if (this.keepsMessages) this.messages.push(whole);
    this.onMessage(whole);
  }

  close(): void {
    this.wire.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** A masked frame, as its bytes. */
export function frameOf(opcode: Opcode, payload: Uint8Array | string, { fin = true } = {}): Uint8Array {
  const bytes = typeof payload === "string" ? Buffer.from(payload) : payload;
  return encodeFrame(opcode, bytes, { fin, key: randomBytes(4) });
}
