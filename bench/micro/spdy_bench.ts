/** `deno task bench:micro`: what a frame and a header block cost by themselves. */

import { dataFrame, FrameDecoder, FrameEncoder, GOAWAY_STATUS, synStream } from "../../protocol/spdy/mod.ts";

/** A TLS record: what one read of the platform gives. */
const RECORD_BYTES = 16 * 1024;
const MEBIBYTE = 1024 * 1024;

const bulk = repeat(dataFrame(3, new Uint8Array(32 * 1024)), MEBIBYTE);
const small = repeat(dataFrame(3, new Uint8Array(10)), MEBIBYTE / 16);

Deno.bench("decode 1 MiB of DATA in 32 KiB frames, a record at a time", { group: "decode" }, () => {
  decode(bulk, RECORD_BYTES);
});

Deno.bench("decode 64 KiB of DATA in 10-byte frames, a record at a time", { group: "decode" }, () => {
  decode(small, RECORD_BYTES);
});

Deno.bench("decode 64 KiB of DATA in 10-byte frames, 100 bytes at a time", { group: "decode" }, () => {
  decode(small, 100);
});

Deno.bench("encode the five SYN_STREAMs of a session", { group: "headers" }, () => {
  openingFrames();
});

const opening = openingFrames();

Deno.bench("decode the five SYN_STREAMs of a session", { group: "headers" }, () => {
  const decoder = new FrameDecoder();
  for (const frame of opening) decoder.push(frame);
});

Deno.bench("encode a GOAWAY", { group: "headers" }, () => {
  new FrameEncoder().encode({ type: "goaway", lastGoodId: 9, status: GOAWAY_STATUS.OK });
});

function openingFrames(): Uint8Array[] {
  const encoder = new FrameEncoder();
  return ["error", "stdin", "stdout", "stderr", "resize"].map((streamtype, index) =>
    encoder.encode(synStream(2 * index + 1, { streamtype }))
  );
}

function decode(wire: Uint8Array, chunkBytes: number): void {
  const decoder = new FrameDecoder();
  for (let at = 0; at < wire.length; at += chunkBytes) decoder.push(wire.subarray(at, at + chunkBytes));
}

/** Whole frames, `bytes` of wire or a little less. */
function repeat(frame: Uint8Array, bytes: number): Uint8Array {
  const wire = new Uint8Array(Math.floor(bytes / frame.length) * frame.length);
  for (let at = 0; at < wire.length; at += frame.length) wire.set(frame, at);
  return wire;
}
