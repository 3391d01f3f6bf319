import { Buffer } from "node:buffer";
import { randomBytes } from "node:crypto";
import {
  CHANNEL,
  ChannelWriter,
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

/** What is spoken to an API server that takes no SPDY: the only version of which stdin can end. */
export const WEBSOCKET_UPSTREAM_PROTOCOL = "v5.channel.k8s.io";

/** What a WebSocket upstream needs to know of its session. */
export interface WebSocketUpstreamOptions {
  /** What is spoken on our side, as the client negotiated it: it says how a command's end is told. */
  protocol: StreamProtocol;
  /** Streams that are opened before anything is said. */
  expectedStreams: number;
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
 *     FIN on stdin, resize     ->                 [255, 0], [255, 4]
 *     DATA on stdout, stderr   <-                 [1, bytes], [2, bytes]
 *     FIN, status, RST, GOAWAY <-                 [3, status], Close 1000
 *
 * Nothing is read from the server before all streams are open, for it begins with the command at once. A connection that ends
 * without Close 1000 is a loss, whatever was said before.
 */
export class WebSocketUpstream implements ByteConnection {
  readonly #options: WebSocketUpstreamOptions;
  readonly #socket: WebSocketPeer;
  readonly #messages = new MessageReader(WEBSOCKET_UPSTREAM_PROTOCOL);
  readonly #writer = new ChannelWriter(WEBSOCKET_UPSTREAM_PROTOCOL, () => randomBytes(4));
  readonly #decoder = new FrameDecoder();
  readonly #encoder = new FrameEncoder();
  readonly #streams = new Map<number, UpstreamStream>();
  readonly #status: Uint8Array[] = [];
  #statusBytes = 0;
  /** Frames that wait to be read. */
  #frames: Uint8Array[] = [];
  #woken = Promise.withResolvers<"woken">();
  #reading: Promise<DataEvent[] | null> | undefined;
  #hasEnded = false;

  /** @param connection switched to WebSocket {@linkcode WEBSOCKET_UPSTREAM_PROTOCOL}, nothing sent yet */
  constructor(connection: ByteConnection, options: WebSocketUpstreamOptions) {
    this.#options = options;
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
      if (this.#streams.size >= this.#options.expectedStreams) {
        this.#reading ??= this.#socket.read();
        this.#reading.catch(() => {}); // rejects for who waits for it next, if now nobody does
      }
      const heard = await Promise.race([this.#reading ?? never, this.#woken.promise]);
      if (heard === "woken") {
        this.#woken = Promise.withResolvers();
        continue;
      }
      this.#reading = undefined;
      if (heard === null) this.#end();
      else for (const piece of heard) this.#message(piece);
    }
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
    // Copied: it may be read later than the socket is.
    if (stream) this.#frames.push(Buffer.concat([dataHeader(stream.id, bytes.length), bytes]));
  }

  /** The server's orderly end, told as a kubelet tells it: outputs first, then the status. */
  #end(): void {
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
        return [];
      }
      case "data":
        return this.#data(frame);
      case "ping": {
        const payload = Buffer.alloc(4);
        payload.writeUInt32BE(frame.id);
        return [this.#socket.frame(OPCODE.PING, payload)];
      }
      case "goaway":
        this.#socket.close();
        return [];
      default:
        return []; // nothing that channels could tell
    }
  }

  #data({ id, bytes, fin }: DataFrame): Uint8Array[] {
    const name = this.#streams.get(id)?.name;
    const channel = name === "stdin" ? CHANNEL.STDIN : name === "resize" ? CHANNEL.RESIZE : undefined;
    if (channel === undefined) return [];
    const messages: Uint8Array[] = [];
    for (let at = 0; at < bytes.length; at += MAX_CHANNEL_PAYLOAD_BYTES) {
      messages.push(this.#masked(channel, bytes.subarray(at, at + MAX_CHANNEL_PAYLOAD_BYTES)));
    }
    if (!fin) return messages;
    const close = channel === CHANNEL.STDIN
      ? this.#writer.closeStdin()
      : this.#masked(CHANNEL.CLOSE, Uint8Array.of(channel));
    return close ? [...messages, close] : messages;
  }

  #masked(channel: number, payload: Uint8Array): Uint8Array {
    return encodeChannel(WEBSOCKET_UPSTREAM_PROTOCOL, channel, payload, { key: randomBytes(4) });
  }

  #pong(payload: Uint8Array): void {
    if (payload.length !== 4) return;
    const id = Buffer.from(payload).readUInt32BE();
    if (id !== 0) this.#say(this.#encoder.encode({ type: "ping", id }));
  }

  /** Puts a frame where the next read finds it. */
  #say(frame: Uint8Array): void {
    this.#frames.push(frame);
    this.#woken.resolve("woken");
  }

  #named(name: StreamName): UpstreamStream | undefined {
    return [...this.#streams.values()].find((stream) => stream.name === name);
  }

  close(): void {
    this.#hasEnded = true;
    this.#socket.close();
    this.#woken.resolve("woken");
  }
}

const never = new Promise<never>(() => {});
