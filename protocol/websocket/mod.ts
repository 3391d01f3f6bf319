export * from "./frame.ts";
export { FrameDecoder, type FrameDecoderOptions } from "./frame_decoder.ts";
export { encodeClose, encodeFrame, encodeHeader, encodePong, type FrameOptions } from "./frame_encoder.ts";
export * from "./handshake.ts";
export { WebSocketError, type WebSocketErrorCode } from "./websocket_error.ts";
