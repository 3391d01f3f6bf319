import assert from "node:assert/strict";
import fc from "fast-check";
import { TextExporter } from "./text.ts";

/** What becomes of one stream's pieces. */
function text(...pieces: (string | Uint8Array)[]): string {
  const exporter = new TextExporter();
  const about = { atUs: 0, stream: 0, name: "stdout" } as const;
  const parts: Uint8Array[] = [];
  for (const piece of pieces) {
    const bytes = typeof piece === "string" ? new TextEncoder().encode(piece) : piece;
    parts.push(...exporter.push({ type: "data", ...about, direction: "out", bytes }));
  }
  parts.push(...exporter.push({ type: "ended", ...about, totals: {} }), ...exporter.end());
  return parts.map((part) => new TextDecoder("utf-8", { ignoreBOM: true }).decode(part)).join("");
}

for (
  const [name, said, want] of [
    ["lines and tabs are kept", "a\tb\nc\n", "a\tb\nc\n"],
    ["a terminal's line ends are line ends", "a\r\nb\r\n", "a\nb\n"],
    ["a CR alone is visible: what stood there was written over", "10%\r20%", "10%^M20%"],
    ["colours are left out", "\x1b[1;31mred\x1b[0m", "red"],
    ["cursor movements are left out", "\x1b[2J\x1b[10;20Hhere\x1b[K", "here"],
    ["two-character escapes are left out", "\x1b7a\x1b8\x1b(Bb\x1b=", "ab"],
    ["a title is visible, not executed", "\x1b]0;gotcha\x07", "^[]0;gotcha^G"],
    ["a device string is visible, not executed", "\x1bPq#1\x1b\\", "^[Pq#1"],
    ["an 8-bit introducer is visible", "\u009b31m", "\\u{9b}31m"],
    ["text that runs the other way is visible", "a\u202eb", "a\\u{202e}b"],
    ["an escape that is no sequence is visible", "\x1b", "^["],
    ["what is left when one sequence is taken out of another makes none", "\x1b\x1b[0m[31m", "^[[31m"],
    ["backspaces and DEL are visible", "ab\b\x7f", "ab^H^?"],
  ] as const
) {
  Deno.test(`text export: ${name}`, () => assert.equal(text(said), want));
}

Deno.test("text export is the same wherever characters and sequences are cut", () => {
  const bytes = new TextEncoder().encode("☃\x1b[1;31mré\x1b[0m\r\n\x1b(B\x1b]0;t\x07€\r\n");
  for (let cut = 0; cut <= bytes.length; cut++) {
    assert.equal(text(bytes.slice(0, cut), bytes.slice(cut)), text(bytes), `cut at ${cut}`);
  }
});

Deno.test("no bytes make a text export say anything that a terminal executes", () => {
  const piece = fc.oneof(
    fc.uint8Array({ maxLength: 40 }),
    fc.string({ unit: fc.constantFrom("\x1b", "[", "]", "0", ";", "m", "P", "\\", "\x9b", "\r", "\n", "A") }),
  );
  fc.assert(fc.property(fc.array(piece), (pieces) => {
    assert.doesNotMatch(text(...pieces).replaceAll(/[\n\t]/g, ""), /[\p{Cc}\p{Cf}]/u);
  }));
});
