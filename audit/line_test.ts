import assert from "node:assert/strict";
import fc from "fast-check";
import { safeJson } from "./line.ts";

const attacks: { name: string; text: string; want: string }[] = [
  {
    name: "a newline that forges an event",
    text: 'x\n{"kind":"Event"}',
    want: String.raw`"x\n{\"kind\":\"Event\"}"`,
  },
  { name: "an escape sequence that clears the screen", text: "\x1b[2J", want: String.raw`"\u001b[2J"` },
  { name: "the same begun with a C1 control", text: "\x9b2J", want: String.raw`"\u009b2J"` },
  { name: "DEL", text: "\x7f", want: String.raw`"\u007f"` },
  {
    name: "separators that some readers take for newlines",
    text: "\u2028\u2029",
    want: String.raw`"\u2028\u2029"`,
  },
  {
    name: "bidi controls that show another command",
    text: "\u202e\u2066\u061c\u200f",
    want: String.raw`"\u202e\u2066\u061c\u200f"`,
  },
  { name: "invisible tag characters", text: "\u{e0041}", want: String.raw`"\udb40\udc41"` },
  { name: "half a surrogate pair", text: "\ud800", want: String.raw`"\ud800"` },
  { name: "nothing of honest text", text: "naïve 文字 🙂", want: '"naïve 文字 🙂"' },
];
for (const { name, text, want } of attacks) {
  Deno.test(`safeJson escapes ${name}`, () => assert.equal(safeJson(text), want));
}

Deno.test("safeJson: any strings give one line that is safe to print and parses back", () => {
  const text = fc.oneof(fc.string({ unit: "binary" }), fc.string({ unit: "grapheme" }), hostileText());
  fc.assert(fc.property(fc.dictionary(text, fc.array(text)), (value) => {
    const line = safeJson(value);
    assert.doesNotMatch(line, /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/u);
    assert.equal(line, new TextDecoder().decode(new TextEncoder().encode(line)));
    assert.equal(JSON.stringify(JSON.parse(line)), JSON.stringify(value));
  }));
});

function hostileText() {
  return fc.array(
    fc.constantFrom("\n", "\r", "\0", "\x1b", "\x9b", "\u2028", "\u202e", "\ud800", "\udc00", '"', "\\"),
  )
    .map((units) => units.join(""));
}
