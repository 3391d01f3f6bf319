import { Buffer } from "node:buffer";
import { randomBytes } from "node:crypto";
import {
  CHANNEL,
  CHANNEL_PROTOCOLS,
  encodeChannel,
  MAX_CHANNEL_PAYLOAD_BYTES,
  MAX_STATUS_DOCUMENT_BYTES,
  MessageReader,
  parseStatusDocument,
  STREAM_PROTOCOLS,
  type StreamName,
  type StreamProtocol,
  toTextStatus,
} from "../protocol/remote_command/mod.ts";
import {
  type DataFrame,
  dataFrame,
  dataHeader,
  type Frame,
  FrameDecoder,
  FrameEncoder,
  GOAWAY_STATUS,
  RST_STATUS,
} from "../protocol/spdy/mod.ts";
import { type DataEvent, OPCODE } from "../protocol/websocket/mod.ts";
import type { ByteConnection } from "./byte_connection.ts";
import { WebSocketPeer } from "./websocket_peer.ts";

/**
 * What is spoken to an API server that takes no SPDY, best first. Of v4, which is all that servers before 1.30 know, stdin cannot end
 * (6.4): a command that waits for that goes on until the client closes.
 */
export const WEBSOCKET_UPSTREAM_PROTOCOLS = ["v5.channel.k8s.io", "v4.channel.k8s.io"] as const;

/** One of {@linkcode WEBSOCKET_UPSTREAM_PROTOCOLS}. */
export type WebSocketUpstreamProtocol = typeof WEBSOCKET_UPSTREAM_PROTOCOLS[number];

/** Streams of a session: a kubelet does not count others either (E-58). */
const STREAM_NAMES: ReadonlySet<string> = new Set<StreamName>([
  "error",
  "stdin",
  "stdout",
  "stderr",
  "resize",
]);

/** What a WebSocket upstream needs to know of its session. */
export interface WebSocketUpstreamOptions {
  /** What is spoken on our side, as the client negotiated it: it says how a command's end is told. */
  protocol: StreamProtocol;
  /** What is spoken to the server. */
  channels: WebSocketUpstreamProtocol;
  /** Streams that are opened before anything is said. */
  expectedStreams: number;
  /** Whether a terminal was asked for. A server that gets sizes without one stops to read for ever (E-61, E-62). */
  hasTerminal: boolean;
  /** How long the server's Close is waited for that answers ours. */
  lingerMs: number;
}

/** A stream that was opened on our side. */
interface UpstreamStream {
  id: number;
  name: string;
}

/**
 * A command at an API server that speaks WebSocket, as if it were a kubelet that speaks SPDY: so that splices and translations need
 * not know.
 *
 *     here                                        server
 *     SYN_STREAM               -> (SYN_REPLY)
 *     DATA on stdin, resize    ->                 [0, bytes], [4, JSON]
 *     FIN, RST of either       ->                 [255, 0], [255, 4]; of v4 nothing
 *     DATA on stdout, stderr   <-                 [1, bytes], [2, bytes]
 *     FIN, status, RST, GOAWAY <-                 [3, status], Close 1000
 *
 * Nothing is read from the server before all streams are open, for it begins with the command at once. A connection that ends
 * without Close 1000 is a loss, whatever was said before, and so is a Close before any status: silence would read as exit code 0.
 */
export class WebSocketUpstream implements ByteConnection {
  readonly #options: WebSocketUpstreamOptions;
  readonly #socket: WebSocketPeer;
  readonly #messages: MessageReader;
  readonly #decoder = new FrameDecoder();
  readonly #encoder = new FrameEncoder();
  readonly #streams = new Map<number, UpstreamStream>();
  /** Channels whose end was told. */
  readonly #closed = new Set<number>();
  readonly #status: Uint8Array[] = [];
  #statusBytes = 0;
  /** What waits to be read: our own frames, and views of what the server said last. */
  #frames: Uint8Array[] = [];
  #isListening = false;
  #hasEnded = false;
  /** We have said Close. */
  #isLeaving = false;
  #lost: { cause: unknown } | undefined;
  #wake: (() => void) | undefined;

  /** @param connection switched to WebSocket `options.channels`, nothing sent yet */
  constructor(connection: ByteConnection, options: WebSocketUpstreamOptions) {
    this.#options = options;
    this.#messages = new MessageReader(options.channels);
    this.#socket = new WebSocketPeer(connection, {
      role: "client",
      lingerMs: options.lingerMs,
      onPong: (payload) => this.#pong(payload),
    });
  }

  async read(): Promise<Uint8Array | null> {
    for (;;) {
      if (this.#frames.length > 0) return Buffer.concat(this.#frames.splice(0));
      if (this.#hasEnded) return null;
      if (this.#lost !== undefined) throw this.#lost.cause;
      this.#listen();
      await new Promise<void>((wake) => this.#wake = wake);
    }
  }

  /**
   * Reads the server once. Whoever reads here waits for that or for a frame of ours, by one promise of its own: in a race of
   * promises the one that outlives it would keep all that was ever read.
   */
  async #listen(): Promise<void> {
    if (this.#isListening || this.#openStreams() < this.#options.expectedStreams) return;
    this.#isListening = true;
    try {
      const pieces = await this.#socket.read();
      if (this.#isLeaving) this.#hasEnded = true;
      else if (pieces === null) this.#end();
      else for (const piece of pieces) this.#message(piece);
    } catch (cause) {
      this.#lost = { cause };
    }
    this.#isListening = false;
    this.#wake?.();
  }

  #openStreams(): number {
    const names = [...this.#streams.values()].map(({ name }) => name);
    return new Set(names.filter((name) => STREAM_NAMES.has(name))).size;
  }

  #message(event: DataEvent): void {
    const piece = this.#messages.read(event);
    if (piece?.bytes === undefined || piece.bytes.length === 0) return;
    const { channel, bytes } = piece;
    if (channel === CHANNEL.ERROR) {
      if (this.#statusBytes <= MAX_STATUS_DOCUMENT_BYTES) this.#status.push(bytes.slice());
      this.#statusBytes += bytes.length;
      return;
    }
    const name = channel === CHANNEL.STDOUT ? "stdout" : channel === CHANNEL.STDERR ? "stderr" : undefined;
    const stream = name && this.#named(name);
    if (stream) this.#frames.push(dataHeader(stream.id, bytes.length), bytes);
  }

  /** The server's orderly end, told as a kubelet tells it: outputs first, then the status. */
  #end(): void {
    if (this.#statusBytes === 0) throw new Error("the WebSocket was closed before the command's status");
    for (const name of ["stdout", "stderr"] as const) {
      const stream = this.#named(name);
      if (stream) this.#frames.push(dataHeader(stream.id, 0, true));
    }
    const status = this.#words();
    for (const name of ["error", "stdin", "resize"] as const) {
      const stream = this.#named(name);
      if (stream === undefined) continue;
      if (name === "error" && status.length > 0) this.#frames.push(dataFrame(stream.id, status));
      this.#frames.push(
        this.#encoder.encode({ type: "rst_stream", id: stream.id, status: RST_STATUS.CANCEL }),
      );
    }
    this.#frames.push(this.#encoder.encode({ type: "goaway", lastGoodId: 0, status: GOAWAY_STATUS.OK }));
    this.#hasEnded = true;
  }

  /** What the server said of the command's end, in the words of the protocol on our side. */
  #words(): Uint8Array {
    const document = Buffer.concat(this.#status);
    const isText = !STREAM_PROTOCOLS[this.#options.protocol].statusDocument;
    return isText ? toTextStatus(parseStatusDocument(document)) : document;
  }

  async write(bytes: Uint8Array): Promise<void> {
    const frames: Uint8Array[] = [];
    for (const frame of this.#decoder.push(bytes)) frames.push(...this.#frame(frame));
    if (frames.length > 0) await this.#socket.write(...frames);
  }

  #frame(frame: Frame): readonly Uint8Array[] {
    switch (frame.type) {
      case "syn_stream": {
        const { id, headers } = frame;
        this.#streams.set(id, { id, name: headers.get("streamtype") ?? "" });
        this.#say(this.#encoder.encode({ type: "syn_reply", id, fin: false, headers: new Map() }));
        return frame.fin ? this.#close(id) : [];
      }
      case "data":
        return this.#data(frame);
      case "rst_stream":
        return this.#close(frame.id);
      case "ping": {
        const payload = Buffer.alloc(4);
        payload.writeUInt32BE(frame.id);
        return [this.#socket.frame(OPCODE.PING, payload)];
      }
      case "goaway":
        this.#leave();
        return [];
      default:
        return []; // nothing that channels could tell
    }
  }

  #data({ id, bytes, fin }: DataFrame): Uint8Array[] {
    const channel = this.#channelOf(id);
    if (channel === undefined) return [];
    const messages: Uint8Array[] = [];
    for (let at = 0; at < bytes.length; at += MAX_CHANNEL_PAYLOAD_BYTES) {
      messages.push(this.#masked(channel, bytes.subarray(at, at + MAX_CHANNEL_PAYLOAD_BYTES)));
    }
    return fin ? [...messages, ...this.#close(id)] : messages;
  }

  /** The end of what we write on a stream: once, and where the protocol can tell it. */
  #close(id: number): Uint8Array[] {
    const channel = this.#channelOf(id);
    if (channel === undefined) return [];
    this.#closed.add(channel);
    if (!CHANNEL_PROTOCOLS[this.#options.channels].halfClose) return [];
    return [this.#masked(CHANNEL.CLOSE, Uint8Array.of(channel))];
  }

  /** Where what is written on a stream goes; `undefined` where it goes nowhere. */
  #channelOf(id: number): number | undefined {
    const name = this.#streams.get(id)?.name;
    const channel = name === "stdin"
      ? CHANNEL.STDIN
      : name === "resize" && this.#options.hasTerminal
      ? CHANNEL.RESIZE
      : undefined;
    return channel === undefined || this.#closed.has(channel) ? undefined : channel;
  }

  #masked(channel: number, payload: Uint8Array): Uint8Array {
    return encodeChannel(this.#options.channels, channel, payload, { key: randomBytes(4) });
  }

  #pong(payload: Uint8Array): void {
    if (payload.length !== 4) return;
    const id = Buffer.from(payload).readUInt32BE();
    if (id !== 0) this.#say(this.#encoder.encode({ type: "ping", id }));
  }

  /** Puts a frame where the next read finds it. */
  #say(frame: Uint8Array): void {
    this.#frames.push(frame);
    this.#wake?.();
  }

  #named(name: StreamName): UpstreamStream | undefined {
    return [...this.#streams.values()].find((stream) => stream.name === name);
  }

  #leave(): void {
    this.#isLeaving = true;
    this.#socket.close();
  }

  close(): void {
    this.#hasEnded = true;
    this.#leave();
    this.#wake?.();
  }
}
