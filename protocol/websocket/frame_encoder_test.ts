import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { OPCODE } from "./frame.ts";
import { encodeClose, encodeFrame, encodeHeader, encodePong } from "./frame_encoder.ts";

const hex = (text: string) => Buffer.from(text.replace(/\s/g, ""), "hex");
const HELLO = new TextEncoder().encode("Hello");
const KEY = hex("37fa213d");

// RFC 6455, 5.7
const VECTORS: { name: string; frame: Uint8Array; want: string }[] = [
  { name: "unmasked text", frame: encodeFrame(OPCODE.TEXT, HELLO), want: "8105 48656c6c6f" },
  {
    name: "masked text",
    frame: encodeFrame(OPCODE.TEXT, HELLO, { key: KEY }),
    want: "8185 37fa213d 7f9f4d5158",
  },
  {
    name: "a first fragment",
    frame: encodeFrame(OPCODE.TEXT, HELLO.subarray(0, 3), { fin: false }),
    want: "0103 48656c",
  },
  { name: "a last fragment", frame: encodeFrame(OPCODE.CONTINUATION, HELLO.subarray(3)), want: "8002 6c6f" },
  { name: "a masked pong", frame: encodePong(HELLO, { key: KEY }), want: "8a85 37fa213d 7f9f4d5158" },
  { name: "the header of 125 bytes", frame: encodeHeader(OPCODE.BINARY, 125), want: "827d" },
  { name: "the header of 256 bytes", frame: encodeHeader(OPCODE.BINARY, 256), want: "827e0100" },
  { name: "the header of 65,535 bytes", frame: encodeHeader(OPCODE.BINARY, 65535), want: "827effff" },
  {
    name: "the header of 65,536 bytes",
    frame: encodeHeader(OPCODE.BINARY, 65536),
    want: "827f 0000000000010000",
  },
  {
    name: "the header of 2^40 + 1 bytes, masked",
    frame: encodeHeader(OPCODE.BINARY, 2 ** 40 + 1, { key: KEY }),
    want: "82ff 0000010000000001 37fa213d",
  },
  { name: "Close 1000", frame: encodeClose(1000), want: "8802 03e8" },
  { name: "Close 1011 with a reason", frame: encodeClose(1011, "no"), want: "8804 03f3 6e6f" },
  { name: "Close without a code", frame: encodeClose(1005), want: "8800" },
];

for (const { name, frame, want } of VECTORS) {
  Deno.test(`encodes ${name}`, () =>
    assert.equal(Buffer.from(frame).toString("hex"), want.replace(/\s/g, "")));
}

Deno.test("encodeClose cuts a long reason between two characters", () => {
  const frame = encodeClose(1000, "é".repeat(100));
  assert.equal(frame.length, 2 + 2 + 122);
  assert.equal(new TextDecoder("utf-8", { fatal: true }).decode(frame.subarray(4)), "é".repeat(61));
});

Deno.test("encodeFrame refuses a ping of 126 bytes as a fault of ours", () => {
  assert.throws(() => encodeFrame(OPCODE.PING, new Uint8Array(126)), { code: "control_too_large", by: "us" });
});

Deno.test("encodeFrame leaves the payload as it was", () => {
  const payload = Uint8Array.of(1, 2, 3);
  encodeFrame(OPCODE.BINARY, payload, { key: KEY });
  assert.deepEqual(payload, Uint8Array.of(1, 2, 3));
});
