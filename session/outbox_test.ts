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

Deno.test("Outbox lends no buffer a second time before it was released", () => {
  const outbox = new Outbox();
  const gather = (letter: number) => {
    for (let times = 0; times < 2; times++) outbox.add(new Uint8Array(30_000).fill(letter));
    return outbox.take();
  };
  const [first, second] = [gather(1), gather(2)];
  outbox.release(second); // was never lent
  const third = gather(3);
  const isAll = (views: readonly Uint8Array[], letter: number) =>
    views.length === 1 && views[0]!.length === 60_000 && views[0]!.every((byte) => byte === letter);
  assert.deepEqual([isAll(first, 1), isAll(second, 2), isAll(third, 3)], [true, true, true]);
  outbox.release(first);
  const fourth = gather(4);
  assert.equal(fourth[0]!.buffer, first[0]!.buffer, "used again");
  outbox.release(fourth);
});
