import { ProtocolError } from "../errors.ts";
import { CLOSE_CODE } from "./frame.ts";

/** What can be wrong with a peer's frames and messages, and the close code that tells it so. */
const ANSWER = {
  reserved_bits: CLOSE_CODE.PROTOCOL_ERROR,
  opcode_unknown: CLOSE_CODE.PROTOCOL_ERROR,
  mask_missing: CLOSE_CODE.PROTOCOL_ERROR,
  mask_unexpected: CLOSE_CODE.PROTOCOL_ERROR,
  control_fragmented: CLOSE_CODE.PROTOCOL_ERROR,
  control_too_large: CLOSE_CODE.PROTOCOL_ERROR,
  continuation_unexpected: CLOSE_CODE.PROTOCOL_ERROR,
  continuation_missing: CLOSE_CODE.PROTOCOL_ERROR,
  length_not_minimal: CLOSE_CODE.PROTOCOL_ERROR,
  length_invalid: CLOSE_CODE.PROTOCOL_ERROR,
  frame_too_large: CLOSE_CODE.TOO_LARGE,
  close_payload_invalid: CLOSE_CODE.PROTOCOL_ERROR,
  close_code_invalid: CLOSE_CODE.PROTOCOL_ERROR,
  close_reason_invalid: CLOSE_CODE.INVALID_PAYLOAD,
  message_too_large: CLOSE_CODE.TOO_LARGE,
  /** Where bytes are carried that are no text. */
  text_unexpected: CLOSE_CODE.PROTOCOL_ERROR,
  /** A v5 CLOSE that cannot be read. API servers answer 1000 here (E-78), and so do we. */
  channel_close_invalid: CLOSE_CODE.NORMAL,
} as const;

/** The stable code of a {@linkcode WebSocketError}. */
export type WebSocketErrorCode = keyof typeof ANSWER;

/** The peer broke the WebSocket or channel protocol. The connection cannot go on: answer a Close of `closeCode`. */
export class WebSocketError extends ProtocolError {
  /** The code of the Close frame that answers it. */
  readonly closeCode: number;
  constructor(override readonly code: WebSocketErrorCode, message: string) {
    super(code, message);
    this.closeCode = ANSWER[code];
  }
}
