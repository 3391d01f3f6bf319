import assert from "node:assert/strict";
import fc from "fast-check";
import { WindowSizeReader } from "./window_size.ts";

function sizes(...pieces: (string | Uint8Array)[]) {
  const reader = new WindowSizeReader();
  return pieces.flatMap((piece) => [
    ...reader.push(typeof piece === "string" ? new TextEncoder().encode(piece) : piece),
  ]);
}

const WIDE = { columns: 132, rows: 43 };

Deno.test("window sizes: width is columns, height is rows", () => {
  assert.deepEqual(sizes('{"Width":132,"Height":43}'), [WIDE]);
});

Deno.test("window sizes: one after the other, cut anywhere, as kubectl writes them", () => {
  const text = '{"Width":132,"Height":43}\n{"Width":80,"Height":24}\n';
  for (let cut = 0; cut <= text.length; cut++) {
    assert.deepEqual(sizes(text.slice(0, cut), text.slice(cut)), [WIDE, { columns: 80, rows: 24 }]);
  }
});

for (
  const nonsense of [
    "{}",
    '{"Width":0,"Height":0}',
    '{"Width":-1,"Height":24}',
    '{"Width":70000,"Height":24}',
    '{"Width":"80","Height":24}',
    "[80,24]}",
    "}}}",
    '{"a":{"Width":80',
  ]
) {
  Deno.test(`window sizes: ${nonsense} is none, and the next one is read`, () => {
    assert.deepEqual(sizes(nonsense, '{"Width":132,"Height":43}'), [WIDE]);
  });
}

Deno.test("window sizes: no bytes make the reader throw, or hold more than a document", () => {
  fc.assert(fc.property(fc.array(fc.uint8Array({ maxLength: 2000 })), (pieces) => {
    for (const { columns, rows } of sizes(...pieces)) assert.ok(columns > 0 && rows > 0);
  }));
});
