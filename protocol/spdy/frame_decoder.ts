import { ProtocolError } from "../errors.ts";
import {
  type ControlFrame,
  type DataFrame,
  FLAG,
  type Frame,
  FRAME_TYPE,
  HEADER_BYTES,
  VERSION,
} from "./frame.ts";
import { decodeHeaderBlock, type HeaderBlock, HeaderInflater } from "./header_block.ts";

/** Bounds of a {@linkcode FrameDecoder}. */
export interface FrameDecoderOptions {
  /**
   * Largest payload of a control frame, in bytes. Kubernetes needs less than 100; the wire allows 16,777,215.
   * @default {16384}
   */
  maxControlBytes?: number;
  /**
   * Largest inflated header block, in bytes. Kubernetes needs less than 400. A thousand bytes of it can be made of one on the wire,
   * and there may be thousands of blocks in one read.
   * @default {4096}
   */
  maxHeaderBlockBytes?: number;
  /** SYN_REPLY frames in all. Who opens no streams is sent none, and each costs more to read than to write. @default {Infinity} */
  maxReplies?: number;
}

/** HEADERS frames in all: Kubernetes knows none, and each costs more to read than to write. */
const MAX_HEADERS_FRAMES = 64;

/** Where each of an incoming frame's flags may stand; any other flag is a protocol error. */
const ALLOWED_FLAGS: Readonly<Record<number, number>> = {
  [FRAME_TYPE.SYN_STREAM]: FLAG.FIN | FLAG.UNIDIRECTIONAL,
  [FRAME_TYPE.SYN_REPLY]: FLAG.FIN,
  [FRAME_TYPE.RST_STREAM]: 0,
  [FRAME_TYPE.SETTINGS]: 1,
  [FRAME_TYPE.PING]: 0,
  [FRAME_TYPE.GOAWAY]: 0,
  [FRAME_TYPE.HEADERS]: FLAG.FIN,
  [FRAME_TYPE.WINDOW_UPDATE]: 0,
};

/**
 * SPDY/3.1 bytes in, frames out: no socket, no clock. Discard it once it has thrown.
 *
 *     |1| version 15 | type 16      |   control      |0| stream id 31           |   data
 *     | flags 8 | payload length 24 |                | flags 8 | length 24      |
 *
 * Control frames come whole. DATA comes in pieces as it arrives, so a 16 MB frame needs no buffer: what is held is
 * at most one control frame. DATA without bytes and FIN is passed over. It is stricter than the Go library that kubelets use (version, flags, lengths and header blocks
 * must be right to the bit): what two parsers could read differently is refused.
 *
 * @see draft-mbelshe-httpbis-spdy-00, 2.2 and 2.6
 */
export class FrameDecoder {
  readonly #maxControlBytes: number;
  readonly #maxReplies: number;
  #replies = 0;
  #headersFrames = 0;
  readonly #inflater: HeaderInflater;
  readonly #header = new Uint8Array(HEADER_BYTES);
  #headerBytes = 0;
  /** Frames that were begun. */
  #frames = 0;
  /** The control frame that is being gathered. */
  #control: { payload: Uint8Array; gathered: number } | undefined;
  /** The DATA frame that is passing through. */
  #data: { id: number; fin: boolean; remaining: number } | undefined;

  constructor(options: FrameDecoderOptions = {}) {
    this.#maxControlBytes = options.maxControlBytes ?? 16 * 1024;
    this.#maxReplies = options.maxReplies ?? Infinity;
    this.#inflater = new HeaderInflater(options.maxHeaderBlockBytes ?? 4096);
  }

  /** Bytes held back because their frame is not complete: a bound of every decoder, 0 between frames. */
  get heldBytes(): number {
    return this.#headerBytes + (this.#control?.gathered ?? 0);
  }

  /** True between two frames: the only place where a stream may end cleanly. */
  get isIdle(): boolean {
    return this.#headerBytes === 0 && this.#data === undefined;
  }

  /**
   * @param chunk the next bytes, cut anywhere
   * @returns every frame, or piece of a DATA frame, that is now known
   * @throws {ProtocolError} the connection cannot go on; it says which frame it was
   */
  push(chunk: Uint8Array): Frame[] {
    try {
      return this.#read(chunk);
    } catch (thrown) {
      if (thrown instanceof ProtocolError) thrown.frame = this.#frames;
      throw thrown;
    }
  }

  #read(chunk: Uint8Array): Frame[] {
    const frames: Frame[] = [];
    let offset = 0;
    while (offset < chunk.length) {
      if (this.#data !== undefined) {
        const end = Math.min(chunk.length, offset + this.#data.remaining);
        frames.push(this.#dataPiece(chunk.subarray(offset, end)));
        offset = end;
      } else if (this.#control !== undefined) {
        offset += this.#gather(this.#control, chunk.subarray(offset));
        if (this.#control.gathered === this.#control.payload.length) frames.push(this.#endControl());
      } else if (this.#headerBytes === 0 && chunk.length - offset >= HEADER_BYTES) {
        offset = this.#begin(chunk, offset, frames);
      } else {
        const taken = Math.min(HEADER_BYTES - this.#headerBytes, chunk.length - offset);
        this.#header.set(chunk.subarray(offset, offset + taken), this.#headerBytes);
        this.#headerBytes += taken;
        offset += taken;
        if (this.#headerBytes === HEADER_BYTES) {
          this.#headerBytes = 0;
          this.#begin(this.#header.slice(), 0, frames);
        }
      }
    }
    return frames;
  }

  /** Reads the frame header at `offset`; of a DATA frame also the payload behind it. Returns what follows. */
  #begin(bytes: Uint8Array, offset: number, frames: Frame[]): number {
    this.#frames += 1;
    const word = uint32(bytes, offset);
    const flags = bytes[offset + 4]!;
    const length = uint32(bytes, offset + 4) & 0xff_ffff;
    const payload = offset + HEADER_BYTES;
    if (word >>> 31 === 0) {
      if (word === 0) throw new ProtocolError("stream_id_zero", "DATA on stream 0");
      if ((flags & ~FLAG.FIN) !== 0) throw new ProtocolError("flags_unknown", `DATA with flags ${flags}`);
      // It says nothing, and costs who passes it on more than who sends it.
      if (length === 0 && flags === 0) return payload;
      this.#data = { id: word, fin: flags === FLAG.FIN, remaining: length };
      const end = Math.min(bytes.length, payload + length);
      if (end > payload || length === 0) {
        const piece = this.#dataPiece(bytes.subarray(payload, end));
        if (this.#data === undefined) piece.raw = bytes.subarray(offset, end);
        frames.push(piece);
      }
      return end;
    }
    const version = (word >>> 16) & 0x7fff;
    const type = word & 0xffff;
    const allowed = ALLOWED_FLAGS[type];
    if (version !== VERSION) {
      throw new ProtocolError("version_unknown", `control frame of version ${version}`);
    }
    if (allowed === undefined) throw new ProtocolError("frame_unknown", `control frame of type ${type}`);
    if ((flags & ~allowed) !== 0) {
      throw new ProtocolError("flags_unknown", `frame ${type} with flags ${flags}`);
    }
    if (length > this.#maxControlBytes) {
      throw new ProtocolError(
        "frame_too_large",
        `control frame of ${length} bytes exceeds ${this.#maxControlBytes}`,
      );
    }
    if (length < 4) throw new ProtocolError("length_wrong", `frame ${type} of ${length} bytes`);
    this.#header.set(bytes.subarray(offset, payload));
    this.#headerBytes = HEADER_BYTES;
    if (bytes.length - payload >= length) {
      this.#control = { payload: bytes.subarray(payload, payload + length), gathered: length };
      frames.push(this.#endControl());
      return payload + length;
    }
    this.#control = { payload: new Uint8Array(length), gathered: 0 };
    return payload;
  }

  #dataPiece(bytes: Uint8Array): DataFrame {
    const data = this.#data!;
    data.remaining -= bytes.length;
    const isLast = data.remaining === 0;
    if (isLast) this.#data = undefined;
    return { type: "data", id: data.id, fin: data.fin && isLast, bytes };
  }

  #gather(control: { payload: Uint8Array; gathered: number }, bytes: Uint8Array): number {
    const taken = bytes.subarray(0, control.payload.length - control.gathered);
    control.payload.set(taken, control.gathered);
    control.gathered += taken.length;
    return taken.length;
  }

  #endControl(): ControlFrame {
    const payload = this.#control!.payload;
    const type = uint32(this.#header, 0) & 0xffff;
    const flags = this.#header[4]!;
    this.#control = undefined;
    this.#headerBytes = 0;
    return this.#parseControl(type, flags, payload);
  }

  #parseControl(type: number, flags: number, payload: Uint8Array): ControlFrame {
    const fin = (flags & FLAG.FIN) !== 0;
    const id = uint32(payload, 0) & 0x7fff_ffff;
    switch (type) {
      case FRAME_TYPE.SYN_STREAM: {
        atLeast(type, payload, 10);
        return {
          type: "syn_stream",
          id: streamId(type, id),
          associatedId: uint32(payload, 4) & 0x7fff_ffff,
          priority: payload[8]! >> 5,
          slot: payload[9]!,
          fin,
          unidirectional: (flags & FLAG.UNIDIRECTIONAL) !== 0,
          headers: this.#headers(payload.subarray(10)),
        };
      }
      case FRAME_TYPE.SYN_REPLY:
        if (++this.#replies > this.#maxReplies) {
          throw new ProtocolError("replies_too_many", `more than ${this.#maxReplies} SYN_REPLY frames`);
        }
        return {
          type: "syn_reply",
          id: streamId(type, id),
          fin,
          headers: this.#headers(payload.subarray(4)),
        };
      case FRAME_TYPE.HEADERS:
        if (++this.#headersFrames > MAX_HEADERS_FRAMES) {
          throw new ProtocolError("headers_too_many", `more than ${MAX_HEADERS_FRAMES} HEADERS frames`);
        }
        return { type: "headers", id: streamId(type, id), fin, headers: this.#headers(payload.subarray(4)) };
      case FRAME_TYPE.RST_STREAM: {
        exactly(type, payload, 8);
        const status = uint32(payload, 4);
        if (status === 0) throw new ProtocolError("status_zero", "RST_STREAM with status 0");
        return { type: "rst_stream", id: streamId(type, id), status };
      }
      case FRAME_TYPE.SETTINGS:
        return { type: "settings", clear: flags === 1, entries: settings(payload) };
      case FRAME_TYPE.PING: {
        exactly(type, payload, 4);
        const ping = uint32(payload, 0);
        if (ping === 0) throw new ProtocolError("ping_id_zero", "PING with id 0");
        return { type: "ping", id: ping };
      }
      case FRAME_TYPE.GOAWAY:
        exactly(type, payload, 8);
        return { type: "goaway", lastGoodId: id, status: uint32(payload, 4) };
      default:
        exactly(type, payload, 8);
        return { type: "window_update", id, delta: uint32(payload, 4) & 0x7fff_ffff };
    }
  }

  #headers(block: Uint8Array): HeaderBlock {
    return decodeHeaderBlock(this.#inflater.inflate(block));
  }
}

function uint32(bytes: Uint8Array, offset: number): number {
  return ((bytes[offset]! << 24) | (bytes[offset + 1]! << 16) | (bytes[offset + 2]! << 8) |
    bytes[offset + 3]!) >>> 0;
}

function streamId(type: number, id: number): number {
  if (id === 0) throw new ProtocolError("stream_id_zero", `frame ${type} on stream 0`);
  return id;
}

function atLeast(type: number, payload: Uint8Array, bytes: number): void {
  if (payload.length < bytes) {
    throw new ProtocolError("length_wrong", `frame ${type} of ${payload.length} bytes`);
  }
}

function exactly(type: number, payload: Uint8Array, bytes: number): void {
  if (payload.length !== bytes) {
    throw new ProtocolError("length_wrong", `frame ${type} of ${payload.length} bytes`);
  }
}

/** The count must be what the frame's length says: memory is never sized by a number from the wire. */
function settings(payload: Uint8Array): { flags: number; id: number; value: number }[] {
  const count = uint32(payload, 0);
  if (payload.length !== 4 + 8 * count) {
    throw new ProtocolError("length_wrong", `SETTINGS of ${payload.length} bytes says ${count} entries`);
  }
  return Array.from({ length: count }, (_, index) => {
    const at = 4 + 8 * index;
    return { flags: payload[at]!, id: uint32(payload, at) & 0xff_ffff, value: uint32(payload, at + 4) };
  });
}
