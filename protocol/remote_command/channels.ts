import { Buffer } from "node:buffer";
import { encodeHeader } from "../websocket/frame_encoder.ts";
import { type DataEvent, OPCODE } from "../websocket/frame.ts";
import { applyMask } from "../websocket/mask.ts";
import { WebSocketError } from "../websocket/websocket_error.ts";
import { decodeBase64 } from "./base64.ts";
import { CHANNEL_PROTOCOLS, type ChannelProtocol, type RequestedStreams } from "./protocols.ts";

/** Channel numbers of exec and attach. */
export const CHANNEL = {
  STDIN: 0,
  STDOUT: 1,
  STDERR: 2,
  ERROR: 3,
  RESIZE: 4,
  /** v5 only: the byte behind it names the channel that ends. */
  CLOSE: 255,
} as const;

/**
 * Most bytes that one message should carry, in both directions: what Go clients send, and what their buffers take as
 * one frame (4.3).
 */
export const MAX_CHANNEL_PAYLOAD_BYTES = 32 * 1024;

/** Why bytes of a client were dropped. The session goes on: servers have always done so. */
export type IgnoredReason =
  /** No such channel (E-80), and 255 below v5 (E-77). */
  | "channel_unknown"
  /** The request did not ask for it (E-81), or it is the server's to write. */
  | "channel_not_requested"
  /** It had been closed (E-79). */
  | "channel_closed"
  /** Not base64; the whole message is dropped (E-74). */
  | "base64_invalid";

/** What a client said. `bytes` is never empty; it is valid until the next `push` of the decoder. */
export type ChannelEvent =
  | { type: "stdin"; bytes: Uint8Array }
  /** Bytes of JSON, cut anywhere: for a ResizeDecoder. */
  | { type: "resize"; bytes: Uint8Array }
  | { type: "stdin_closed" }
  | { type: "resize_closed" }
  | { type: "ignored"; reason: IgnoredReason; channel: number; byteCount: number };

/** Bounds of a {@linkcode ChannelReader}. */
export interface ChannelReaderOptions {
  /**
   * Largest message of a base64 protocol, in characters: these are gathered before they are decoded. Messages of binary
   * protocols are passed on as they arrive, and have no bound.
   * @default {1048576}
   */
  maxBase64MessageBytes?: number;
}

/**
 * The server's side of a WebSocket exec or attach: messages in, stdin and resizes out.
 *
 * A message may come in pieces: only its first byte is a channel. (Go's servers take the first byte of each fragment for
 * one, E-83; none of their clients sends fragments.) Text and binary messages count alike (E-82).
 */
export class ChannelReader {
  readonly #messages: MessageReader;
  readonly #halfClose: boolean;
  readonly #requested: Readonly<Record<number, "stdin" | "resize" | undefined>>;
  /** Those of `#requested` that no CLOSE has ended. */
  readonly #open: Record<number, "stdin" | "resize" | undefined>;
  /** The byte behind a v5 CLOSE. */
  #closeTarget: number | undefined;

  constructor(
    protocol: ChannelProtocol,
    requested: Pick<RequestedStreams, "stdin" | "tty">,
    options: ChannelReaderOptions = {},
  ) {
    this.#messages = new MessageReader(protocol, options);
    this.#halfClose = CHANNEL_PROTOCOLS[protocol].halfClose;
    this.#requested = {
      [CHANNEL.STDIN]: requested.stdin ? "stdin" : undefined,
      // Without a tty nobody would read it: API servers stop for ever there (E-62).
      [CHANNEL.RESIZE]: requested.tty ? "resize" : undefined,
    };
    this.#open = { ...this.#requested };
  }

  /**
   * @param data a piece of a message, in order
   * @returns what it says; `undefined` where it says nothing, or nothing yet
   * @throws {WebSocketError} `channel_close_invalid` or `message_too_large`; `closeCode` is the answer
   */
  read(data: DataEvent): ChannelEvent | undefined {
    const piece = this.#messages.read(data);
    if (piece === undefined) return undefined;
    const { channel, bytes, end } = piece;
    if (channel === CHANNEL.CLOSE && this.#halfClose) return this.#readClose(bytes, end);
    if (bytes === undefined) return ignored("base64_invalid", channel, data.bytes.length);
    if (bytes.length === 0) return undefined;
    const type = this.#open[channel];
    if (type !== undefined) return { type, bytes };
    return ignored(this.#whyIgnored(channel), channel, bytes.length);
  }

  #whyIgnored(channel: number): IgnoredReason {
    if (channel > CHANNEL.RESIZE) return "channel_unknown";
    return this.#requested[channel] ? "channel_closed" : "channel_not_requested";
  }

  /** Exactly one byte, a channel below 5; anything else ends the connection (E-76 to E-79). */
  #readClose(bytes: Uint8Array = new Uint8Array(), end: boolean): ChannelEvent | undefined {
    for (const byte of bytes) {
      if (this.#closeTarget !== undefined || byte > CHANNEL.RESIZE) {
        throw new WebSocketError("channel_close_invalid", "CLOSE does not name one channel below 5");
      }
      this.#closeTarget = byte;
    }
    if (!end) return undefined;
    const target = this.#closeTarget;
    if (target === undefined) throw new WebSocketError("channel_close_invalid", "CLOSE names no channel");
    this.#closeTarget = undefined;
    const type = this.#open[target];
    if (type === undefined) return ignored(this.#whyIgnored(target), target, 0);
    this.#open[target] = undefined;
    return { type: `${type}_closed` };
  }
}

/** A piece of a message; `bytes` is undefined where it was no base64. */
export interface MessagePiece {
  channel: number;
  bytes: Uint8Array | undefined;
  end: boolean;
}

/** Messages of either side, taken apart: channel and bytes. {@linkcode ChannelReader} adds what a client may say. */
export class MessageReader {
  readonly #base64: boolean;
  readonly #maxBase64MessageBytes: number;
  #channel: number | undefined;
  #held: Uint8Array[] = [];
  #heldBytes = 0;

  constructor(protocol: ChannelProtocol, options: ChannelReaderOptions = {}) {
    this.#base64 = CHANNEL_PROTOCOLS[protocol].base64;
    this.#maxBase64MessageBytes = options.maxBase64MessageBytes ?? 1024 * 1024;
  }

  /** @throws {WebSocketError} `message_too_large`, of base64 protocols */
  read(data: DataEvent): MessagePiece | undefined {
    let { bytes } = data;
    if (data.start) this.#channel = undefined;
    if (this.#channel === undefined) {
      if (bytes.length === 0) return undefined;
      this.#channel = this.#base64 ? (bytes[0]! - 0x30) & 0xff : bytes[0]!;
      bytes = bytes.subarray(1);
    }
    const channel = this.#channel;
    if (!this.#base64) return { channel, bytes, end: data.end };
    const whole = this.#gather(bytes, data.end);
    return whole && { channel, bytes: decodeBase64(whole), end: true };
  }

  /** Holds a base64 message until its end: each is encoded by itself. */
  #gather(bytes: Uint8Array, end: boolean): Uint8Array | undefined {
    if (this.#heldBytes + bytes.length > this.#maxBase64MessageBytes) {
      throw new WebSocketError(
        "message_too_large",
        `base64 message exceeds ${this.#maxBase64MessageBytes} bytes`,
      );
    }
    if (end && this.#heldBytes === 0) return bytes;
    this.#held.push(bytes.slice());
    this.#heldBytes += bytes.length;
    if (!end) return undefined;
    const whole = Buffer.concat(this.#held, this.#heldBytes);
    this.#held = [];
    this.#heldBytes = 0;
    return whole;
  }
}

/** How a frame of channel bytes is sent, other than by a server. */
export interface ChannelFrameOptions {
  /** A client's masking key: 4 random bytes, fresh for each frame. */
  key?: Uint8Array;
}

/**
 * A message of one channel as one whole frame; never fragmented, for Go servers take each frame for a message. With no
 * payload it is the channel alone, which a Go client takes for no bytes; a frame without even that would end its session (E-88).
 *
 * @param payload at most {@linkcode MAX_CHANNEL_PAYLOAD_BYTES}, except for a status, which must be one message (E-68)
 */
export function encodeChannel(
  protocol: ChannelProtocol,
  channel: number,
  payload: Uint8Array,
  options: ChannelFrameOptions = {},
): Uint8Array {
  const { base64 } = CHANNEL_PROTOCOLS[protocol];
  const lengthBytes = 1 + (base64 ? Math.ceil(payload.length / 3) * 4 : payload.length);
  const header = encodeHeader(base64 ? OPCODE.TEXT : OPCODE.BINARY, lengthBytes, options);
  const frame = new Uint8Array(header.length + lengthBytes);
  frame.set(header);
  const body = frame.subarray(header.length);
  body[0] = base64 ? 0x30 + channel : channel;
  if (base64) writeBase64(body.subarray(1), payload);
  else body.set(payload, 1);
  if (options.key) applyMask(body, options.key);
  return frame;
}

/** `payload` of any length as messages that Go clients take as one frame each; none where it is empty. */
export function* encodeChannelPieces(
  protocol: ChannelProtocol,
  channel: number,
  payload: Uint8Array,
): Generator<Uint8Array, void, undefined> {
  for (let at = 0; at < payload.length; at += MAX_CHANNEL_PAYLOAD_BYTES) {
    yield encodeChannel(protocol, channel, payload.subarray(at, at + MAX_CHANNEL_PAYLOAD_BYTES));
  }
}

/**
 * The same as views in their order on the wire, of `payload` where it goes as it is: for who gathers what it writes. They are
 * valid as long as `payload`.
 */
export function* encodeChannelViews(
  protocol: ChannelProtocol,
  channel: number,
  payload: Uint8Array,
): Generator<Uint8Array, void, undefined> {
  if (CHANNEL_PROTOCOLS[protocol].base64) return yield* encodeChannelPieces(protocol, channel, payload);
  for (let at = 0; at < payload.length; at += MAX_CHANNEL_PAYLOAD_BYTES) {
    const piece = payload.subarray(at, at + MAX_CHANNEL_PAYLOAD_BYTES);
    yield encodeHeader(OPCODE.BINARY, 1 + piece.length);
    yield Uint8Array.of(channel);
    yield piece;
  }
}

/** The first message of every server: an empty one on the lowest output that was asked for (E-73). */
export function encodeGreeting(
  protocol: ChannelProtocol,
  requested: Pick<RequestedStreams, "stdout" | "stderr">,
): Uint8Array {
  const channel = requested.stdout ? CHANNEL.STDOUT : requested.stderr ? CHANNEL.STDERR : CHANNEL.ERROR;
  return encodeChannel(protocol, channel, new Uint8Array());
}

/** The client's side: what it sends, as masked frames. For WebSocket upstreams, and for tests. */
export class ChannelWriter {
  readonly #protocol: ChannelProtocol;
  readonly #newKey: () => Uint8Array;

  /** @param newKey makes a masking key of 4 random bytes; called for each frame */
  constructor(protocol: ChannelProtocol, newKey: () => Uint8Array) {
    this.#protocol = protocol;
    this.#newKey = newKey;
  }

  /** @param bytes at most {@linkcode MAX_CHANNEL_PAYLOAD_BYTES} */
  stdin(bytes: Uint8Array): Uint8Array {
    return this.#frame(CHANNEL.STDIN, bytes);
  }

  /** @param columns character cells, 0..65535, as are `rows` */
  resize(columns: number, rows: number): Uint8Array {
    return this.#frame(CHANNEL.RESIZE, new TextEncoder().encode(`{"Width":${columns},"Height":${rows}}\n`));
  }

  /** The end of stdin; `undefined` where the protocol cannot say it. */
  closeStdin(): Uint8Array | undefined {
    if (!CHANNEL_PROTOCOLS[this.#protocol].halfClose) return undefined;
    return this.#frame(CHANNEL.CLOSE, Uint8Array.of(CHANNEL.STDIN));
  }

  #frame(channel: number, payload: Uint8Array): Uint8Array {
    return encodeChannel(this.#protocol, channel, payload, { key: this.#newKey() });
  }
}

function ignored(reason: IgnoredReason, channel: number, byteCount: number): ChannelEvent {
  return { type: "ignored", reason, channel, byteCount };
}

function writeBase64(target: Uint8Array, payload: Uint8Array): void {
  const text = Buffer.from(payload.buffer, payload.byteOffset, payload.length).toString("base64");
  Buffer.from(target.buffer, target.byteOffset, target.length).write(text, "latin1");
}
