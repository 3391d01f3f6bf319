import assert from "node:assert/strict";
import fc from "fast-check";
import { parseUint16, quote } from "./uint16.ts";

// What strconv.ParseUint(text, 10, 16) of Go 1.26 gives.
const NUMBERS: { text: string; value?: number; why?: string }[] = [
  { text: "0", value: 0 },
  { text: "8080", value: 8080 },
  { text: "0080", value: 80 },
  { text: "65535", value: 65535 },
  { text: "65536", why: 'parsing "65536": value out of range' },
  { text: "99999x", why: 'parsing "99999x": value out of range' },
  { text: "9x", why: 'parsing "9x": invalid syntax' },
  { text: "", why: 'parsing "": invalid syntax' },
  { text: "-1", why: 'parsing "-1": invalid syntax' },
  { text: "+80", why: 'parsing "+80": invalid syntax' },
  { text: " 80", why: 'parsing " 80": invalid syntax' },
  { text: "1_0", why: 'parsing "1_0": invalid syntax' },
  { text: "0x50", why: 'parsing "0x50": invalid syntax' },
  { text: "٨", why: 'parsing "٨": invalid syntax' },
];
for (const { text, value, why } of NUMBERS) {
  Deno.test(`parseUint16 ${value === undefined ? "refuses" : "reads"} ${quote(text)}`, () => {
    const want = value === undefined
      ? { ok: false, error: `strconv.ParseUint: ${why}` }
      : { ok: true, value };
    assert.deepEqual(parseUint16(text), want);
  });
}

const QUOTED = [
  { text: 'a"b\\c', want: '"a\\"b\\\\c"' },
  { text: "\r\n\t\0\x7f", want: '"\\r\\n\\t\\x00\\x7f"' },
  { text: "ü☺𝄞", want: '"ü☺𝄞"' },
  { text: "\u00a0\u200b\u0085", want: '"\\u00a0\\u200b\\u0085"' },
  { text: "\u{e0001}", want: '"\\U000e0001"' },
];
for (const { text, want } of QUOTED) {
  Deno.test(`quote writes ${want} as Go's %q does`, () => assert.equal(quote(text), want));
}

Deno.test("quote lets nothing into a log line that would break it", () => {
  fc.assert(fc.property(fc.string({ unit: "binary" }), (text) => {
    assert.match(quote(text), /^"[^\p{Cc}\p{Zl}\p{Zp}]*"$/u);
  }));
});
