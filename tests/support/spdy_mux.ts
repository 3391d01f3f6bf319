import {
  dataFrame,
  type Frame,
  FrameDecoder,
  FrameEncoder,
  type HeaderBlock,
  RST_STATUS,
} from "../../protocol/spdy/mod.ts";
import type { ByteConnection } from "../../session/byte_connection.ts";

/** Streams of one SPDY connection, of either end, as a program uses them: what comes is kept until it is read. */
export class SpdyMux {
  readonly #connection: ByteConnection;
  readonly #encoder = new FrameEncoder();
  readonly #decoder = new FrameDecoder();
  readonly #streams = new Map<number, MuxStream>();
  readonly #onStream: (stream: MuxStream) => void;
  #nextId = 1;
  /** Ids of pings that came. */
  readonly pings: number[] = [];
  /** Whether pings are echoed, as a peer does that is there. */
  answersPings = false;
  /** Status of the GOAWAY that came. */
  goaway: number | undefined;
  /** Resolves at the end of the connection. */
  readonly ended: Promise<void>;

  constructor(connection: ByteConnection, onStream: (stream: MuxStream) => void = () => {}) {
    this.#connection = connection;
    this.#onStream = onStream;
    this.ended = this.#read();
  }

  /** Opens a stream; ids are 1, 3, 5, … unless one is given. Does not wait for the answer. */
  open(headers: Record<string, string>, { id = this.#nextId, fin = false } = {}): MuxStream {
    this.#nextId = id + 2;
    const block = new Map(Object.entries(headers));
    const stream = new MuxStream(this, id, block);
    this.#streams.set(id, stream);
    this.send({
      ...{ type: "syn_stream", id, associatedId: 0, priority: 0, slot: 0, unidirectional: false },
      ...{ fin, headers: block },
    });
    return stream;
  }

  send(frame: Exclude<Frame, { type: "data" }>): Promise<void> {
    return this.write(this.#encoder.encode(frame));
  }

  /** Like a program that does not wait for its writes: what fails is seen where it reads. */
  async write(bytes: Uint8Array): Promise<void> {
    await this.#connection.write(bytes).catch(() => {});
  }

  /** Says goodbye and closes, as Go peers do. */
  async close(): Promise<void> {
    await this.send({ type: "goaway", lastGoodId: 0, status: 0 });
    this.#connection.close();
    await this.ended;
  }

  async #read(): Promise<void> {
    try {
      for (let isOpen = true; isOpen;) {
        const chunk = await this.#connection.read();
        if (chunk === null) break;
        for (const frame of this.#decoder.push(chunk)) {
          this.#take(frame);
          isOpen = frame.type !== "goaway";
          if (!isOpen) break;
        }
      }
    } catch {
      // A connection that is lost has ended.
    }
    for (const stream of this.#streams.values()) stream.take(null);
  }

  #take(frame: Frame): void {
    switch (frame.type) {
      case "syn_stream": {
        const stream = new MuxStream(this, frame.id, frame.headers);
        this.#streams.set(frame.id, stream);
        return this.#onStream(stream);
      }
      case "data":
        if (frame.bytes.length > 0) this.#streams.get(frame.id)?.take(frame.bytes.slice());
        if (frame.fin) this.#streams.get(frame.id)?.take(null);
        return;
      case "syn_reply":
        return this.#streams.get(frame.id)?.answer("accepted");
      case "rst_stream":
        return this.#streams.get(frame.id)?.reset(frame.status);
      case "ping":
        this.pings.push(frame.id);
        if (this.answersPings) this.send(frame);
        return;
      case "goaway":
        this.goaway = frame.status;
    }
  }
}

/** One stream of a {@linkcode SpdyMux}. */
export class MuxStream {
  readonly #mux: SpdyMux;
  readonly #chunks: (Uint8Array | null)[] = [];
  readonly #answered = Promise.withResolvers<"accepted" | "refused">();
  #waiting = Promise.withResolvers<void>();
  #isOver = false;
  /** Status of the RST_STREAM that came. */
  resetStatus: number | undefined;

  constructor(mux: SpdyMux, readonly id: number, readonly headers: HeaderBlock) {
    this.#mux = mux;
  }

  /** Whether the peer accepted it. */
  get answered(): Promise<"accepted" | "refused"> {
    return this.#answered.promise;
  }

  accept(): Promise<void> {
    return this.#mux.send({ type: "syn_reply", id: this.id, fin: false, headers: new Map() });
  }

  write(bytes: Uint8Array | string, fin = false): Promise<void> {
    const data = typeof bytes === "string" ? new TextEncoder().encode(bytes) : bytes;
    return this.#mux.write(dataFrame(this.id, data, fin));
  }

  /** Half-closes. */
  end(): Promise<void> {
    return this.write("", true);
  }

  cancel(): Promise<void> {
    this.take(null);
    return this.#mux.send({ type: "rst_stream", id: this.id, status: RST_STATUS.CANCEL });
  }

  /** The next bytes; `null` once it has ended, in whatever way. */
  async read(): Promise<Uint8Array | null> {
    while (this.#chunks.length === 0) {
      await this.#waiting.promise;
      this.#waiting = Promise.withResolvers<void>();
    }
    return this.#chunks[0] === null ? null : this.#chunks.shift()!;
  }

  /** All that comes until it ends. */
  async text(): Promise<string> {
    const decoder = new TextDecoder();
    let text = "";
    for (let bytes = await this.read(); bytes !== null; bytes = await this.read()) {
      text += decoder.decode(bytes, { stream: true });
    }
    return text;
  }

  take(bytes: Uint8Array | null): void {
    if (this.#isOver) return;
    this.#isOver = bytes === null;
    this.#chunks.push(bytes);
    this.#waiting.resolve();
    if (bytes === null) this.answer("refused");
  }

  answer(answer: "accepted" | "refused"): void {
    this.#answered.resolve(answer);
  }

  reset(status: number): void {
    this.resetStatus = status;
    this.take(null);
  }
}
