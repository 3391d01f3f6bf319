import assert from "node:assert/strict";
import fc from "fast-check";
import { printable, printableJson } from "./printable.ts";

/** Any code points, and many of those that matter. Halves of pairs are among them. */
const TEXT = fc.array(fc.oneof(fc.nat(0x10ffff), fc.nat(0xa0), fc.integer({ min: 0x2000, max: 0x206f }))).map(
  (points) => String.fromCodePoint(...points),
);

Deno.test("printable text is one line that executes nothing", () => {
  assert.equal(printable("a\x1b[2J\nb\u202e\u{e0001}☃"), "a\\u{1b}[2J\\u{a}b\\u{202e}\\u{e0001}☃");
  fc.assert(fc.property(TEXT, (text) => {
    assert.doesNotMatch(printable(text), /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/u);
  }));
});

Deno.test("printable JSON means the same as JSON, and executes nothing", () => {
  fc.assert(fc.property(TEXT, TEXT, (name, value) => {
    const document = { [name]: [value, 1] };
    const text = printableJson(document);
    assert.deepEqual(JSON.parse(text), JSON.parse(JSON.stringify(document)));
    assert.doesNotMatch(text, /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/u);
  }));
});
