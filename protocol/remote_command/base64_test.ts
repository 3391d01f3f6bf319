import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import fc from "fast-check";
import { decodeBase64 } from "./base64.ts";

// What Go 1.26's base64.StdEncoding.Decode made of each; undefined where it returned an error.
const VECTORS: [text: string, want: string | undefined][] = [
  ["Zm9vCg==", "foo\n"],
  ["Zm9vCg", undefined],
  ["Zm9vCg=", undefined],
  ["Zm9v\nCg=\r=", "foo\n"],
  ["Zm9vCh==", "foo\n"],
  ["Zm9vCg==\n", "foo\n"],
  ["Zm9vCg==A", undefined],
  ["Zm9vCg===", undefined],
  ["", ""],
  ["=", undefined],
  ["Zg==Zg==", undefined],
  ["Zm 9v", undefined],
  ["Zm9-", undefined],
  ["Z", undefined],
  ["Zm9vC", undefined],
  ["Zm9vCgA=", "foo\n\x00"],
  ["\n", ""],
  ["====", undefined],
  ["Zg=a", undefined],
  ["Zm=v", undefined],
];

for (const [text, want] of VECTORS) {
  Deno.test(`decodeBase64 makes of ${JSON.stringify(text)} what Go makes of it (E-74)`, () => {
    const got = decodeBase64(Buffer.from(text));
    assert.deepEqual(got && Buffer.from(got).toString("latin1"), want);
  });
}

Deno.test("decodeBase64 takes back what was encoded", () => {
  fc.assert(fc.property(fc.uint8Array(), (bytes) => {
    assert.deepEqual(decodeBase64(Buffer.from(Buffer.from(bytes).toString("base64"))), bytes);
  }));
});
