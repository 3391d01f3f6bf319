export * from "./channels.ts";
export * from "./protocols.ts";
export { ResizeDecoder, type TerminalSize } from "./resize_decoder.ts";
export * from "./status_document.ts";
