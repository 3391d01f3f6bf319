import { Buffer } from "node:buffer";
import { ProtocolError } from "../errors.ts";
import { type ControlFrame, FLAG, FRAME_TYPE, HEADER_BYTES, MAX_PAYLOAD_BYTES, VERSION } from "./frame.ts";
import { encodeHeaderBlock, type HeaderBlock, HeaderDeflater } from "./header_block.ts";

/**
 * Control frames in, SPDY/3.1 bytes out, for one direction of one connection: header blocks are compressed in the
 * order in which they are encoded, so each encoded frame must be sent, and in that order.
 */
export class FrameEncoder {
  readonly #deflater = new HeaderDeflater();

  /** @throws {ProtocolError} by us, where a header block is larger than a frame can hold */
  encode(frame: ControlFrame): Uint8Array {
    switch (frame.type) {
      case "syn_stream": {
        const flags = (frame.fin ? FLAG.FIN : 0) | (frame.unidirectional ? FLAG.UNIDIRECTIONAL : 0);
        const block = this.#block(frame.headers);
        const rest = Buffer.concat([Uint8Array.of(frame.priority << 5, frame.slot), block]);
        return control(FRAME_TYPE.SYN_STREAM, flags, [frame.id, frame.associatedId], rest);
      }
      case "syn_reply":
        return control(
          FRAME_TYPE.SYN_REPLY,
          frame.fin ? FLAG.FIN : 0,
          [frame.id],
          this.#block(frame.headers),
        );
      case "headers":
        return control(FRAME_TYPE.HEADERS, frame.fin ? FLAG.FIN : 0, [frame.id], this.#block(frame.headers));
      case "rst_stream":
        return control(FRAME_TYPE.RST_STREAM, 0, [frame.id, frame.status]);
      case "settings": {
        const words = frame.entries.flatMap(({ flags, id, value }) => [flags * 0x100_0000 + id, value]);
        return control(FRAME_TYPE.SETTINGS, frame.clear ? 1 : 0, [frame.entries.length, ...words]);
      }
      case "ping":
        return control(FRAME_TYPE.PING, 0, [frame.id]);
      case "goaway":
        return control(FRAME_TYPE.GOAWAY, 0, [frame.lastGoodId, frame.status]);
      case "window_update":
        return control(FRAME_TYPE.WINDOW_UPDATE, 0, [frame.id, frame.delta]);
      default:
        frame satisfies never;
        throw new ProtocolError("frame_unknown", "no such frame", "connection", "us");
    }
  }

  #block(headers: HeaderBlock): Uint8Array {
    return this.#deflater.deflate(encodeHeaderBlock(headers));
  }
}

/** A SYN_STREAM as Kubernetes peers send it: priority 0, slot 0, no associated stream. */
export function synStream(id: number, headers: Record<string, string>): ControlFrame {
  return {
    type: "syn_stream",
    id,
    associatedId: 0,
    priority: 0,
    slot: 0,
    fin: false,
    unidirectional: false,
    headers: new Map(Object.entries(headers)),
  };
}

/** The 8 bytes before a DATA frame's payload of `length` bytes (at most 16,777,215). */
export function dataHeader(id: number, length: number, fin = false): Uint8Array {
  const header = Buffer.alloc(HEADER_BYTES);
  header.writeUInt32BE(id);
  header.writeUInt32BE((fin ? FLAG.FIN : 0) * 0x100_0000 + length, 4);
  return header;
}

/** A whole DATA frame; the payload is copied. Without bytes and with `fin` it is a half-close. */
export function dataFrame(id: number, bytes: Uint8Array, fin = false): Uint8Array {
  if (bytes.length > MAX_PAYLOAD_BYTES) {
    throw new ProtocolError("frame_too_large", `DATA of ${bytes.length} bytes`, "connection", "us");
  }
  return Buffer.concat([dataHeader(id, bytes.length, fin), bytes]);
}

const NOTHING = new Uint8Array();

/** @param words numbers of 32 bits, before `rest` */
function control(
  type: number,
  flags: number,
  words: readonly number[],
  rest: Uint8Array = NOTHING,
): Uint8Array {
  const length = 4 * words.length + rest.length;
  if (length > MAX_PAYLOAD_BYTES) {
    throw new ProtocolError("frame_too_large", `frame ${type} of ${length} bytes`, "connection", "us");
  }
  const frame = Buffer.allocUnsafe(HEADER_BYTES + length);
  let offset = frame.writeUInt32BE((0x8000 + VERSION) * 0x1_0000 + type);
  offset = frame.writeUInt32BE(flags * 0x100_0000 + length, offset);
  for (const word of words) offset = frame.writeUInt32BE(word, offset);
  frame.set(rest, offset);
  return frame;
}
