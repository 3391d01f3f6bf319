/** Opcodes of WebSocket frames. @see RFC 6455, 5.2 */
export const OPCODE = {
  CONTINUATION: 0x0,
  TEXT: 0x1,
  BINARY: 0x2,
  CLOSE: 0x8,
  PING: 0x9,
  PONG: 0xa,
} as const;

/** An opcode that RFC 6455 defines. */
export type Opcode = typeof OPCODE[keyof typeof OPCODE];

/** Close codes that we send or name. @see RFC 6455, 7.4.1 */
export const CLOSE_CODE = {
  NORMAL: 1000,
  GOING_AWAY: 1001,
  PROTOCOL_ERROR: 1002,
  /** Never on the wire: what a Close frame without a code counts as. */
  NO_STATUS: 1005,
  INVALID_PAYLOAD: 1007,
  POLICY_VIOLATION: 1008,
  TOO_LARGE: 1009,
  INTERNAL_ERROR: 1011,
} as const;

/** Bytes that a ping, pong or close may carry (5.5). */
export const MAX_CONTROL_BYTES = 125;

/** Bytes of the longest frame header: 2, a 64-bit length, a mask. */
export const MAX_HEADER_BYTES = 14;

/** Which end of the connection: a server gets masked frames and sends plain ones, a client the other way round. */
export type Role = "server" | "client";

/**
 * A piece of a message. Messages are passed on as they arrive, never gathered: a frame, or a part of one.
 *
 * `start` is set on a message's first piece and `end` on its last; both on a message that came in one piece. Only a
 * message's first or last piece may be empty.
 */
export interface DataEvent {
  type: "data";
  /** The opcode of the message. Text is not checked to be UTF-8: here it carries channel bytes, as Go servers take it. */
  kind: "text" | "binary";
  start: boolean;
  end: boolean;
  /** Unmasked. A view that is valid until the next `push`: copy it to keep it. */
  bytes: Uint8Array;
}

/** What a WebSocket peer said. Payloads of control frames are copies. */
export type WebSocketEvent =
  | DataEvent
  | { type: "ping"; payload: Uint8Array }
  | { type: "pong"; payload: Uint8Array }
  /** `code` is 1005 where the frame had none. Nothing comes after it. */
  | { type: "close"; code: number; reason: string };
