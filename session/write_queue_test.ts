import assert from "node:assert/strict";
import { WriteQueue } from "./write_queue.ts";

const text = (words: string) => new TextEncoder().encode(words);

/** Takes at most `atOnce` bytes in a write, a while later; throws for those that hold `!`. */
class Slow {
  readonly taken: string[] = [];
  constructor(readonly atOnce: number) {}

  async write(bytes: Uint8Array): Promise<number> {
    await new Promise((resolve) => setTimeout(resolve));
    const words = new TextDecoder().decode(bytes.subarray(0, this.atOnce));
    if (words.includes("!")) throw new Error("refused");
    this.taken.push(words);
    return words.length;
  }
}

Deno.test("WriteQueue writes all of each, in the order of the calls", async () => {
  const sink = new Slow(2);
  const queue = new WriteQueue(sink);
  const end = () => Promise.resolve(void sink.taken.push("|"));
  await Promise.all([queue.write(text("abc")), queue.run(end), queue.write(text("de"))]);
  await queue.write(text("f"));
  assert.deepEqual(sink.taken, ["ab", "c", "|", "de", "f"]);
});

Deno.test("WriteQueue tells who wrote of a failure, and goes on", async () => {
  const sink = new Slow(10);
  const queue = new WriteQueue(sink);
  const [lost, next] = await Promise.allSettled([queue.write(text("one!")), queue.write(text("two"))]);
  assert.deepEqual([lost.status, next.status, sink.taken], ["rejected", "fulfilled", ["two"]]);
});

Deno.test("WriteQueue knows how many writes have not come to their end", async () => {
  const queue = new WriteQueue(new Slow(10));
  const writes = [queue.write(text("one")), queue.write(text("two!"))];
  assert.equal(queue.pending, 2);
  await Promise.allSettled(writes);
  assert.equal(queue.pending, 0);
});
