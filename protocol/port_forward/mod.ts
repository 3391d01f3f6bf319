export * from "./ports.ts";
export * from "./protocols.ts";
export * from "./stream_headers.ts";
