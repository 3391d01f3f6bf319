import assert from "node:assert/strict";
import fc from "fast-check";
import { Outbox } from "./outbox.ts";

Deno.test("what lies side by side leaves as it came, without a copy", () => {
  const chunk = Uint8Array.of(1, 2, 3, 4, 5);
  const out = new Outbox();
  out.add(chunk.subarray(0, 2));
  out.add(chunk.subarray(2, 4));
  const [view, ...more] = out.take();
  assert.deepEqual([view, more], [Uint8Array.of(1, 2, 3, 4), []]);
  assert.equal(view?.buffer, chunk.buffer);
});

Deno.test("take gives all bytes, in order, once", () => {
  fc.assert(fc.property(fc.array(fc.uint8Array({ maxLength: 20 })), (pieces) => {
    const out = new Outbox();
    for (const piece of pieces) out.add(piece);
    assert.deepEqual(out.take().flatMap((view) => [...view]), pieces.flatMap((piece) => [...piece]));
    assert.deepEqual(out.take(), []);
  }));
});
