import assert from "node:assert/strict";
import { Room } from "./room.ts";

Deno.test("Room keeps what it holds as it grows", () => {
  const room = new Room();
  const all: number[] = [];
  for (let n = 0; n < 2_000; n++) {
    const bytes = new Uint8Array(100).fill(n);
    room.add(bytes);
    all.push(...bytes);
  }
  assert.deepEqual([...room.bytes], all);
});

Deno.test("Room that is used again shows nothing of what lay there before", () => {
  const first = new Room();
  first.add(new Uint8Array(100_000).fill(0x73));
  first.release();
  assert.equal(first.bytes.length, 0);
  const next = new Room();
  next.add(new Uint8Array(70_000).fill(0x61));
  assert.ok(next.bytes.every((byte) => byte === 0x61));
  assert.equal(next.bytes.length, 70_000);
});
