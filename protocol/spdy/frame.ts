import type { HeaderBlock } from "./header_block.ts";

/** Control frame types of SPDY/3.1. NOOP (5) and CREDENTIAL (10) are unknown to Go peers, and so to us. */
export const FRAME_TYPE = {
  SYN_STREAM: 1,
  SYN_REPLY: 2,
  RST_STREAM: 3,
  SETTINGS: 4,
  PING: 6,
  GOAWAY: 7,
  HEADERS: 8,
  WINDOW_UPDATE: 9,
} as const;

/** Flags of SYN_STREAM, SYN_REPLY, HEADERS and DATA. */
export const FLAG = { FIN: 0x01, UNIDIRECTIONAL: 0x02 } as const;

/** Why a stream was reset (2.6.3). */
export const RST_STATUS = {
  PROTOCOL_ERROR: 1,
  INVALID_STREAM: 2,
  REFUSED_STREAM: 3,
  UNSUPPORTED_VERSION: 4,
  CANCEL: 5,
  INTERNAL_ERROR: 6,
  FLOW_CONTROL_ERROR: 7,
  STREAM_IN_USE: 8,
  STREAM_ALREADY_CLOSED: 9,
  INVALID_CREDENTIALS: 10,
  FRAME_TOO_LARGE: 11,
} as const;

/** Why a connection ends (2.6.6). */
export const GOAWAY_STATUS = { OK: 0, PROTOCOL_ERROR: 1, INTERNAL_ERROR: 2 } as const;

/** The version field of every SPDY/3.1 control frame: peers write 3. */
export const VERSION = 3;

/** Bytes of the header that starts every frame. */
export const HEADER_BYTES = 8;

/** Largest length that the 24 bits of a frame header hold, in bytes. */
export const MAX_PAYLOAD_BYTES = 0xff_ffff;

/** Bytes of one stream. Long frames come in pieces; `fin` is set on the last piece only. */
export interface DataFrame {
  type: "data";
  id: number;
  fin: boolean;
  /** The payload of this piece: a view of the chunk that was pushed; copy it to keep it. */
  bytes: Uint8Array;
  /** The frame as it stood on the wire, header and payload, where it came in one piece. */
  raw?: Uint8Array;
}

export interface SynStreamFrame {
  type: "syn_stream";
  id: number;
  associatedId: number;
  /** 0 is the highest. */
  priority: number;
  slot: number;
  fin: boolean;
  unidirectional: boolean;
  headers: HeaderBlock;
}

export interface SynReplyFrame {
  type: "syn_reply";
  id: number;
  fin: boolean;
  headers: HeaderBlock;
}

export interface HeadersFrame {
  type: "headers";
  id: number;
  fin: boolean;
  headers: HeaderBlock;
}

export interface RstStreamFrame {
  type: "rst_stream";
  id: number;
  status: number;
}

export interface SettingsFrame {
  type: "settings";
  clear: boolean;
  entries: readonly { flags: number; id: number; value: number }[];
}

export interface PingFrame {
  type: "ping";
  id: number;
}

export interface GoawayFrame {
  type: "goaway";
  lastGoodId: number;
  status: number;
}

export interface WindowUpdateFrame {
  type: "window_update";
  id: number;
  delta: number;
}

/** Every control frame that spdystream sends or tolerates. */
export type ControlFrame =
  | SynStreamFrame
  | SynReplyFrame
  | HeadersFrame
  | RstStreamFrame
  | SettingsFrame
  | PingFrame
  | GoawayFrame
  | WindowUpdateFrame;

/** What a {@linkcode FrameDecoder} hands out. */
export type Frame = DataFrame | ControlFrame;
