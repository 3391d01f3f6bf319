import { applyMask } from "./mask.ts";
import {
  CLOSE_CODE,
  type DataEvent,
  MAX_CONTROL_BYTES,
  MAX_HEADER_BYTES,
  OPCODE,
  type Role,
  type WebSocketEvent,
} from "./frame.ts";
import { WebSocketError } from "./websocket_error.ts";
import { ProtocolError } from "../errors.ts";

/** Which end we are, and bounds. */
export interface FrameDecoderOptions {
  /** `server` requires masked frames, `client` refuses them. */
  role: Role;
  /**
   * Largest payload of one frame, in bytes: API servers and kubelets take 32 MiB (E-84). It is not allocated: frames are
   * passed on as they arrive.
   * @default {33554432}
   */
  maxFrameBytes?: number;
}

const FIN = 0x80;
const RESERVED = 0x70;
const OPCODE_BITS = 0x0f;
const CONTROL = 0x08;
const MASKED = 0x80;
const LENGTH_BITS = 0x7f;
const KNOWN_OPCODES: ReadonlySet<number> = new Set(Object.values(OPCODE));

/** A frame whose header was read. */
interface OpenFrame {
  opcode: number;
  fin: boolean;
  key: Uint8Array | undefined;
  lengthBytes: number;
  /** Payload bytes that were already seen. */
  position: number;
}

/** A message whose last piece was not yet passed on. */
interface OpenMessage {
  kind: DataEvent["kind"];
  started: boolean;
}

/**
 * WebSocket bytes in, events out: no socket, no clock. Discard it once it has thrown.
 *
 *     |FIN 1|RSV 3|opcode 4| |MASK 1|length 7| |length 16 or 64, if 126 or 127| |key 32, if MASK| payload
 *
 * Data comes in pieces as it arrives: a frame of 32 MiB needs no buffer. What is held between two calls is a header, the
 * payload of one control frame, and, in a server, room to unmask a chunk as large as the last ones.
 *
 * It is stricter than the Go library that serves API servers and kubelets, which ignores reserved bits and stray
 * continuations and cuts long pings: what two parsers could read differently is refused.
 *
 * A peer can send many empty frames. An empty piece inside a message makes no event, and the others are made one at a
 * time as they are asked for, so a flood costs time in proportion to its bytes and no memory. Who answers pings bounds
 * the answers: a pong for the latest of several pings is enough (5.5.3).
 *
 * @see RFC 6455, 5
 */
export class FrameDecoder {
  readonly #role: Role;
  readonly #maxFrameBytes: number;
  readonly #header = new Uint8Array(MAX_HEADER_BYTES);
  #headerBytes = 0;
  /** Frames that were begun. */
  #frames = 0;
  readonly #control = new Uint8Array(MAX_CONTROL_BYTES);
  /** Where payloads are unmasked: the pusher's chunk is left as it was. Kept for chunks that are about as large. */
  #clear = new Uint8Array();
  #clearBytes = 0;
  #frame: OpenFrame | undefined;
  #message: OpenMessage | undefined;
  #state: "ready" | "busy" | "closed" = "ready";

  constructor(options: FrameDecoderOptions) {
    this.#role = options.role;
    this.#maxFrameBytes = options.maxFrameBytes ?? 32 * 1024 * 1024;
  }

  /** Bytes held back because their header or control frame is not complete. */
  get heldBytes(): number {
    const frame = this.#frame;
    return this.#headerBytes + (frame !== undefined && isControl(frame.opcode) ? frame.position : 0);
  }

  /** Which of the peer's frames is being read, the first being 1: inside `for … of` the one of the last event. */
  get frameNumber(): number {
    return this.#frames;
  }

  /**
   * Reads `chunk` as the events are asked for, so take all of them before the next call; `for … of` does.
   * After a Close frame whatever follows is ignored.
   *
   * @param chunk the next bytes, cut anywhere; not changed
   * @returns what is now known, in order. All that stood before a fault is yielded before the fault is thrown.
   * @throws {WebSocketError} the peer broke the protocol; `closeCode` is the answer, `frame` says which frame it was
   */
  *push(chunk: Uint8Array): Generator<WebSocketEvent, void, undefined> {
    if (this.#state === "closed") return;
    if (this.#state === "busy") {
      throw new ProtocolError("decoder_busy", "pushed before all events were taken", "connection", "us");
    }
    this.#state = "busy";
    this.#clearBytes = 0;
    // Payloads go to word boundaries; the headers that are left out, of 6 bytes or more, make room for the gaps.
    if (this.#role === "server" && !fits(chunk.length, this.#clear.length)) {
      this.#clear = new Uint8Array(roundToWord(chunk.length));
    }
    try {
      let offset = 0;
      while (offset < chunk.length || this.#frame !== undefined) {
        this.#frame ??= this.#readHeader(chunk[offset++]!);
        const frame = this.#frame;
        if (frame === undefined) continue;
        const bytes = chunk.subarray(offset, offset + frame.lengthBytes - frame.position);
        if (bytes.length === 0 && frame.position < frame.lengthBytes) break; // need more
        offset += bytes.length;
        const event = isControl(frame.opcode)
          ? this.#readControl(frame, bytes)
          : this.#readData(frame, bytes);
        if (frame.position === frame.lengthBytes) this.#frame = undefined;
        if (event === undefined) continue;
        yield event;
        if (event.type === "close") {
          this.#state = "closed";
          return;
        }
      }
    } catch (thrown) {
      if (thrown instanceof ProtocolError) thrown.frame = this.#frames;
      throw thrown;
    }
    this.#state = "ready";
  }

  /** Takes one more byte of a header. Refuses it at the first byte that is wrong; opens the frame with the last. */
  #readHeader(byte: number): OpenFrame | undefined {
    const header = this.#header;
    if (this.#headerBytes === 0) this.#frames += 1;
    header[this.#headerBytes++] = byte;
    if (this.#headerBytes === 1) this.#checkStart(byte);
    if (this.#headerBytes === 2) this.#checkLengthAndMask(header[0]!, byte);
    if (this.#headerBytes < 2) return undefined;

    const short = header[1]! & LENGTH_BITS;
    const lengthEnd = 2 + (short === 126 ? 2 : short === 127 ? 8 : 0);
    const masked = (header[1]! & MASKED) !== 0;
    const headerEnd = lengthEnd + (masked ? 4 : 0);
    if (this.#headerBytes === lengthEnd) this.#checkLength(this.#length(short));
    if (this.#headerBytes < headerEnd) return undefined;

    this.#headerBytes = 0;
    const opcode = header[0]! & OPCODE_BITS;
    if (opcode === OPCODE.TEXT || opcode === OPCODE.BINARY) {
      this.#message = { kind: opcode === OPCODE.TEXT ? "text" : "binary", started: false };
    }
    return {
      opcode,
      fin: (header[0]! & FIN) !== 0,
      key: masked ? header.slice(lengthEnd, headerEnd) : undefined,
      lengthBytes: this.#length(short),
      position: 0,
    };
  }

  #checkStart(byte: number): void {
    const opcode = byte & OPCODE_BITS;
    if ((byte & RESERVED) !== 0) {
      throw new WebSocketError("reserved_bits", "reserved bits are set, no extension was agreed");
    }
    if (!KNOWN_OPCODES.has(opcode)) throw new WebSocketError("opcode_unknown", `unknown opcode ${opcode}`);
    if (isControl(opcode)) {
      if ((byte & FIN) === 0) throw new WebSocketError("control_fragmented", "control frame without FIN");
    } else if (opcode === OPCODE.CONTINUATION) {
      if (!this.#message) {
        throw new WebSocketError("continuation_unexpected", "continuation of no message");
      }
    } else if (this.#message) {
      throw new WebSocketError("continuation_missing", "new message before the end of the last one");
    }
  }

  #checkLengthAndMask(start: number, byte: number): void {
    const masked = (byte & MASKED) !== 0;
    if (this.#role === "server" && !masked) throw new WebSocketError("mask_missing", "frame is not masked");
    if (this.#role === "client" && masked) throw new WebSocketError("mask_unexpected", "frame is masked");
    if (isControl(start & OPCODE_BITS) && (byte & LENGTH_BITS) > MAX_CONTROL_BYTES) {
      throw new WebSocketError("control_too_large", `control frame exceeds ${MAX_CONTROL_BYTES} bytes`);
    }
  }

  #checkLength(length: number): void {
    const wide = (this.#header[1]! & LENGTH_BITS) === 127;
    if (wide && (this.#header[2]! & 0x80) !== 0) {
      throw new WebSocketError("length_invalid", "highest bit of a 64-bit length is set");
    }
    const extended = wide || (this.#header[1]! & LENGTH_BITS) === 126;
    if (extended && length < (wide ? 0x1_0000 : 126)) {
      throw new WebSocketError("length_not_minimal", `length ${length} is not in its shortest form`);
    }
    if (length > this.#maxFrameBytes) {
      throw new WebSocketError("frame_too_large", `frame of ${length} bytes exceeds ${this.#maxFrameBytes}`);
    }
  }

  /** A length beyond 2^53 loses its last digits, which no bound can notice. */
  #length(short: number): number {
    if (short < 126) return short;
    let length = 0;
    for (let at = 2; at < (short === 126 ? 4 : 10); at++) length = length * 256 + this.#header[at]!;
    return length;
  }

  #readData(frame: OpenFrame, bytes: Uint8Array): DataEvent | undefined {
    const message = this.#message!;
    const clear = frame.key === undefined ? bytes : this.#unmask(bytes, frame.key, frame.position);
    frame.position += bytes.length;
    const start = !message.started;
    const end = frame.fin && frame.position === frame.lengthBytes;
    message.started = true;
    if (end) this.#message = undefined;
    if (clear.length === 0 && !start && !end) return undefined;
    return { type: "data", kind: message.kind, start, end, bytes: clear };
  }

  /** Copies to a word boundary and unmasks there: faster than byte by byte in place. */
  #unmask(bytes: Uint8Array, key: Uint8Array, position: number): Uint8Array {
    const clear = this.#clear.subarray(this.#clearBytes, this.#clearBytes + bytes.length);
    this.#clearBytes = roundToWord(this.#clearBytes + bytes.length);
    clear.set(bytes);
    applyMask(clear, key, position);
    return clear;
  }

  #readControl(frame: OpenFrame, bytes: Uint8Array): WebSocketEvent | undefined {
    this.#control.set(bytes, frame.position);
    frame.position += bytes.length;
    if (frame.position < frame.lengthBytes) return undefined;
    const payload = this.#control.slice(0, frame.lengthBytes);
    if (frame.key !== undefined) applyMask(payload, frame.key);
    if (frame.opcode === OPCODE.PING) return { type: "ping", payload };
    if (frame.opcode === OPCODE.PONG) return { type: "pong", payload };
    return readClose(payload);
  }
}

/** Whether room for `roomBytes` is enough for a chunk, and not much more: a connection that is idle again keeps no more than it needs. */
function fits(chunkBytes: number, roomBytes: number): boolean {
  return chunkBytes <= roomBytes && roomBytes <= Math.max(1024, 16 * chunkBytes);
}

function isControl(opcode: number): boolean {
  return (opcode & CONTROL) !== 0;
}

function roundToWord(bytes: number): number {
  return (bytes + 3) & ~3;
}

/** @see RFC 6455, 5.5.1 and 7.4 */
function readClose(payload: Uint8Array): WebSocketEvent {
  if (payload.length === 0) return { type: "close", code: CLOSE_CODE.NO_STATUS, reason: "" };
  if (payload.length === 1) {
    throw new WebSocketError("close_payload_invalid", "close frame with half a code");
  }
  const code = payload[0]! * 256 + payload[1]!;
  if (!mayBeSent(code)) throw new WebSocketError("close_code_invalid", `close code ${code}`);
  try {
    const reason = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(payload.subarray(2));
    return { type: "close", code, reason };
  } catch {
    throw new WebSocketError("close_reason_invalid", "close reason is not UTF-8");
  }
}

/** 1004 to 1006 and 1015 never stand in a frame; 1012 to 1014 are registered with IANA; from 3000 on they are free. */
function mayBeSent(code: number): boolean {
  return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) || (code >= 3000 && code <= 4999);
}
