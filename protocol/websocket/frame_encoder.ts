import { applyMask } from "./mask.ts";
import { CLOSE_CODE, MAX_CONTROL_BYTES, OPCODE, type Opcode } from "./frame.ts";
import { ProtocolError } from "../errors.ts";

/** How a frame is sent, other than whole and unmasked. */
export interface FrameOptions {
  /** False where a continuation follows. Servers never fragment: Go's take each frame for a message. @default {true} */
  fin?: boolean;
  /** A client's masking key: 4 random bytes, fresh for each frame. A server has none. */
  key?: Uint8Array;
}

/**
 * The header of a frame; what follows it on the wire is `lengthBytes` of payload, masked with `key` where there is one.
 * For who writes the payload from where it lies; {@linkcode encodeFrame} copies it.
 */
export function encodeHeader(opcode: Opcode, lengthBytes: number, options: FrameOptions = {}): Uint8Array {
  const extended = extendedLengthBytes(lengthBytes);
  const header = new Uint8Array(2 + extended + (options.key ? 4 : 0));
  writeHeader(header, opcode, lengthBytes, options);
  return header;
}

/** A whole frame: header and a copy of the payload, which is left as it is. */
export function encodeFrame(opcode: Opcode, payload: Uint8Array, options: FrameOptions = {}): Uint8Array {
  const headerBytes = 2 + extendedLengthBytes(payload.length) + (options.key ? 4 : 0);
  const frame = new Uint8Array(headerBytes + payload.length);
  writeHeader(frame, opcode, payload.length, options);
  frame.set(payload, headerBytes);
  if (options.key) applyMask(frame.subarray(headerBytes), options.key);
  return frame;
}

/**
 * A Close frame. A reason that does not fit into 123 bytes is cut between two characters. Code 1005 makes a frame
 * without a code, so that a Close that was read can be echoed.
 */
export function encodeClose(code: number, reason = "", options: FrameOptions = {}): Uint8Array {
  if (code === CLOSE_CODE.NO_STATUS) return encodeFrame(OPCODE.CLOSE, new Uint8Array(), options);
  const payload = new Uint8Array(MAX_CONTROL_BYTES);
  const { written } = new TextEncoder().encodeInto(reason, payload.subarray(2));
  payload[0] = code >>> 8;
  payload[1] = code & 0xff;
  return encodeFrame(OPCODE.CLOSE, payload.subarray(0, 2 + written), options);
}

/** The answer to a ping: a pong with its payload. */
export function encodePong(payload: Uint8Array, options: FrameOptions = {}): Uint8Array {
  return encodeFrame(OPCODE.PONG, payload, options);
}

/** Bytes that the length of a payload needs behind the header's first two. */
function extendedLengthBytes(lengthBytes: number): 0 | 2 | 8 {
  return lengthBytes < 126 ? 0 : lengthBytes < 0x1_0000 ? 2 : 8;
}

/** Writes the header into the start of `frame`; `frame` must have room for it. */
function writeHeader(
  frame: Uint8Array,
  opcode: Opcode,
  lengthBytes: number,
  options: FrameOptions = {},
): void {
  const { fin = true, key } = options;
  if (opcode >= OPCODE.CLOSE && (lengthBytes > MAX_CONTROL_BYTES || !fin)) {
    throw new ProtocolError("control_too_large", "control frames are short and whole", "connection", "us");
  }
  const extended = extendedLengthBytes(lengthBytes);
  const short = extended === 0 ? lengthBytes : extended === 2 ? 126 : 127;
  frame[0] = (fin ? 0x80 : 0) | opcode;
  frame[1] = (key ? 0x80 : 0) | short;
  for (let rest = lengthBytes, at = 1 + extended; at >= 2; at--, rest = Math.floor(rest / 256)) {
    frame[at] = rest % 256;
  }
  if (key) frame.set(key, 2 + extended);
}
