export * from "./frame.ts";
export { FrameDecoder, type FrameDecoderOptions } from "./frame_decoder.ts";
export { dataFrame, dataHeader, FrameEncoder, synStream } from "./frame_encoder.ts";
export type { HeaderBlock } from "./header_block.ts";
