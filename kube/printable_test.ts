import assert from "node:assert/strict";
import fc from "fast-check";
import { printable, quoted } from "./printable.ts";

const CASES = [
  { name: "plain words stay", text: 'pods "web" not found', want: 'pods "web" not found' },
  { name: "letters of all people stay", text: "Grüße, 世界 🚀", want: "Grüße, 世界 🚀" },
  { name: "a cleared screen", text: "\x1b[2Jroot", want: String.raw`\u001b[2Jroot` },
  { name: "a C1 sequence", text: "\u009b31m", want: String.raw`\u009b31m` },
  {
    name: "a line of its own",
    text: "a\r\nError: b\u2028c\u0085",
    want: String.raw`a\u000d\u000aError: b\u2028c\u0085`,
  },
  { name: "text that is turned around", text: "\u202egpj.exe\u2066", want: String.raw`\u202egpj.exe\u2066` },
  { name: "letters without width", text: "ro\u200bot\ufeff", want: String.raw`ro\u200bot\ufeff` },
  { name: "tags beyond the first plane", text: "\u{e0041}", want: String.raw`\udb40\udc41` },
  { name: "half a character", text: "\ud83d", want: String.raw`\ud83d` },
];
for (const { name, text, want } of CASES) {
  Deno.test(`attack: no terminal acts on it: ${name}`, () => assert.equal(printable(text), want));
}

Deno.test("whatever the text, printable gives one line that does nothing, and the same again", () => {
  fc.assert(fc.property(fc.string({ unit: "binary" }), (text) => {
    const shown = printable(text);
    assert.doesNotMatch(shown, /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/u);
    assert.equal(printable(shown), shown);
    assert.equal(JSON.parse(quoted(text)), text);
  }));
});
