import assert from "node:assert/strict";
import fc from "fast-check";
import { ReplayKeyReader } from "./replay_keys.ts";

function keys(...pieces: string[]) {
  const reader = new ReplayKeyReader();
  return pieces.flatMap((piece) => [...reader.push(new TextEncoder().encode(piece))]);
}

const FORWARD = { type: "seek", byMs: 5_000 };

for (
  const [name, typed, want] of [
    ["space pauses", " ", [{ type: "pause" }]],
    ["arrows seek", "\x1b[C\x1b[D\x1b[A\x1b[B", [
      FORWARD,
      { type: "seek", byMs: -5_000 },
      { type: "seek", byMs: 60_000 },
      { type: "seek", byMs: -60_000 },
    ]],
    ["arrows of application mode, which a recording may have set, seek as well", "\x1bOC", [FORWARD]],
    ["Ctrl-C quits", "\x03", [{ type: "quit" }]],
    ["a modified arrow is none", "\x1b[1;5C", []],
    ["where the cursor is, a terminal may say without a key being pressed", "\x1b[12;40R", []],
    ["a title may be told that holds the letters of keys", "\x1b]lq .q\x1b\\", []],
    ["a device string may hold them", "\x1bP1$rq.q\x1b\\ ", [{ type: "pause" }]],
    ["a string may end with BEL", "\x1b]11;q\x07.", [{ type: "step" }]],
    ["that it is well, a terminal answers", "\x1b[0n", [{ type: "answered" }]],
  ] as const
) {
  Deno.test(`replay keys: ${name}`, () => assert.deepEqual(keys(typed), want));
}

Deno.test("the escape key alone does not swallow the key that comes next", () => {
  assert.deepEqual(keys("\x1b", "q"), [{ type: "quit" }]);
});

Deno.test("a sequence may be cut behind its introducer", () => {
  assert.deepEqual(keys("\x1b[", "C"), [FORWARD]);
});

Deno.test("no answer, however long, takes memory or throws", () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
    for (const key of new ReplayKeyReader().push(bytes)) assert.ok(key.type);
  }));
});
