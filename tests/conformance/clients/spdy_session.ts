import { Buffer } from "node:buffer";
import {
  type ControlFrame,
  dataFrame,
  type Frame,
  FrameDecoder,
  FrameEncoder,
  synStream,
} from "../../../protocol/spdy/mod.ts";
import type { Column } from "../columns.ts";
import type { Seen } from "../matrix.ts";
import { answerText, shown } from "../transcript.ts";
import { ask, type Request } from "./request.ts";
import type { BytePipe } from "./wire.ts";

/** How long a server that says nothing more is listened to. */
const QUIET_MS = 4_000;

/** What came on one stream. */
class StreamSeen {
  answer: "accepted" | "refused" | undefined;
  /** RST_STREAM's status. */
  resetStatus: number | undefined;
  hasEnded = false;
  /** Came before the stream was accepted: Go clients lose it. */
  earlyBytes = 0;
  readonly #chunks: Uint8Array[] = [];

  constructor(readonly id: number, readonly name: string) {}

  take(bytes: Uint8Array): void {
    if (this.answer === undefined) this.earlyBytes += bytes.length;
    this.#chunks.push(bytes.slice());
  }

  get bytes(): Uint8Array {
    return Buffer.concat(this.#chunks);
  }

  get text(): string {
    return Buffer.from(this.bytes).toString("utf8");
  }

  get isOver(): boolean {
    return this.hasEnded || this.resetStatus !== undefined;
  }
}

/** A session over SPDY that keeps all that came, frame by frame, and sends what it is told to, right or wrong. */
export class SpdySession implements Disposable {
  readonly encoder = new FrameEncoder();
  readonly #decoder = new FrameDecoder({ maxControlBytes: 64 << 10 });
  readonly #streams = new Map<number, StreamSeen>();
  readonly #pings: number[] = [];
  readonly #odd: string[] = [];
  #goaway: string | undefined;
  #nextId = 1;

  /** @param isOpen whether the server switched protocols */
  constructor(
    readonly at: Column,
    readonly wire: BytePipe,
    readonly answer: string,
    readonly isOpen: boolean,
  ) {
    if (isOpen) wire.hand((bytes) => this.#take(bytes));
  }

  static async open(at: Column, request: Request): Promise<SpdySession> {
    const { wire, answer } = await ask(at, { method: "POST", ...request });
    return new SpdySession(at, wire, answerText(at, answer), answer.status === 101);
  }

  /** Opens streams as client-go does, waiting for the answer to each: ids 1, 3, 5, … by name. */
  async open(...names: string[]): Promise<void> {
    for (const streamtype of names) await this.openStream({ streamtype });
  }

  /** Opens one stream and waits for its answer. @returns its id */
  async openStream(headers: Record<string, string>, { waitMs = 5_000 } = {}): Promise<number> {
    const id = this.#nextId;
    await this.syn(id, headers);
    await this.until(() => this.stream(id).answer !== undefined, waitMs);
    return id;
  }

  /** Sends a SYN_STREAM of any id. */
  async syn(id: number, headers: Record<string, string>): Promise<void> {
    this.expect(id, headers);
    await this.send(synStream(id, headers));
  }

  /** Makes a stream known whose SYN_STREAM is sent as bytes. */
  expect(id: number, headers: Record<string, string>): void {
    const { streamtype = "?", requestid } = headers;
    const name = requestid === undefined ? streamtype : `${streamtype} of request ${requestid}`;
    this.#nextId = id + 2;
    if (!this.#streams.has(id)) this.#streams.set(id, new StreamSeen(id, name));
  }

  async send(...frames: ControlFrame[]): Promise<void> {
    await this.wire.send(Buffer.concat(frames.map((frame) => this.encoder.encode(frame))));
  }

  async data(id: number, bytes: Uint8Array | string, fin = false): Promise<void> {
    await this.wire.send(dataFrame(id, typeof bytes === "string" ? Buffer.from(bytes) : bytes, fin));
  }

  async raw(hex: string): Promise<void> {
    await this.wire.send(Buffer.from(hex.replaceAll(/\s/g, ""), "hex"));
  }

  async ping(id: number): Promise<void> {
    await this.send({ type: "ping", id });
  }

  async goaway(): Promise<void> {
    await this.send({ type: "goaway", lastGoodId: 0, status: 0 });
  }

  stream(id: number): StreamSeen {
    const stream = this.#streams.get(id);
    if (stream === undefined) throw new Error(`stream ${id} was not opened`);
    return stream;
  }

  /** A stream by its name, the first that was opened. */
  named(name: string): StreamSeen {
    const stream = [...this.#streams.values()].find((each) => each.name === name);
    if (stream === undefined) throw new Error(`no stream ${name} was opened`);
    return stream;
  }

  get pings(): readonly number[] {
    return this.#pings;
  }

  async until(holds: () => boolean, deadlineMs?: number): Promise<boolean> {
    return await this.wire.until(holds, deadlineMs);
  }

  /** Waits until a stream has brought a text. */
  async shows(name: string, text: string, deadlineMs?: number): Promise<boolean> {
    return await this.until(() => this.named(name).text.includes(text), deadlineMs);
  }

  /** Waits for the end, or for silence, and says all that came. */
  async seen(quietMs = QUIET_MS): Promise<Seen> {
    if (this.isOpen) await this.wire.end(quietMs);
    this.wire.close();
    return this.seenSoFar();
  }

  seenSoFar(): Seen {
    const isOver = this.wire.ended !== undefined;
    const streams = [...this.#streams.values()].map((stream) =>
      [`stream ${stream.id} ${stream.name}`, this.#describe(stream, isOver)] as const
    );
    return {
      answer: this.answer,
      ...Object.fromEntries(streams),
      ...(this.#pings.length > 0 && { pings: this.#pings.join(" ") }),
      ...(this.#odd.length > 0 && { odd: this.#odd.join("; ") }),
      ...(this.isOpen &&
        { end: isOver ? `closed${this.#goaway === undefined ? "" : this.#goaway}` : "stays open" }),
    };
  }

  /** A stream ends by FIN or by the end of all: which of RST_STREAM and the connection's end comes first is no matter. */
  #describe(stream: StreamSeen, isOver: boolean): string {
    const { answer = "not answered", earlyBytes, bytes, hasEnded, resetStatus } = stream;
    if (answer === "refused") return `refused, status ${resetStatus}`;
    const end = hasEnded
      ? "FIN"
      : resetStatus !== undefined
      ? `reset ${resetStatus}`
      : isOver
      ? "ended"
      : "open";
    return [answer, shown(this.at, bytes), ...(earlyBytes > 0 ? [`${earlyBytes} bytes too early`] : []), end]
      .join("; ");
  }

  #take(bytes: Uint8Array): void {
    let frames: Frame[];
    try {
      frames = this.#decoder.push(bytes);
    } catch (error) {
      this.#odd.push(`unreadable: ${error instanceof Error ? error.message : error}`);
      return;
    }
    for (const frame of frames) this.#takeFrame(frame);
  }

  #takeFrame(frame: Frame): void {
    if (this.#goaway !== undefined) this.#odd.push(`${frame.type} after GOAWAY`);
    switch (frame.type) {
      case "syn_reply":
        return this.#answer(frame.id, "accepted");
      case "rst_stream": {
        const stream = this.#streams.get(frame.id);
        if (stream === undefined) return void this.#odd.push(`RST_STREAM of ${frame.id}`);
        stream.answer ??= "refused";
        if (stream.hasEnded) this.#odd.push(`RST_STREAM after the end of ${frame.id}`);
        stream.resetStatus ??= frame.status;
        return;
      }
      case "data": {
        const stream = this.#streams.get(frame.id);
        if (stream === undefined) return void this.#odd.push(`DATA on ${frame.id}`);
        if (stream.isOver) this.#odd.push(`DATA after the end of ${frame.id}`);
        stream.take(frame.bytes);
        stream.hasEnded ||= frame.fin;
        return;
      }
      case "ping":
        return void this.#pings.push(frame.id);
      case "goaway":
        this.#goaway = frame.status === 0 ? " with GOAWAY" : ` with GOAWAY ${frame.status}`;
        return;
      default:
        this.#odd.push(frame.type);
    }
  }

  #answer(id: number, answer: "accepted"): void {
    const stream = this.#streams.get(id);
    if (stream === undefined) return void this.#odd.push(`SYN_REPLY of ${id}`);
    if (stream.answer !== undefined) this.#odd.push(`SYN_REPLY of ${id} again`);
    stream.answer ??= answer;
  }

  [Symbol.dispose](): void {
    this.wire.close();
  }
}
