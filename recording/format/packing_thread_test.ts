import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { BLOCK, firstLink, HEAD_BYTES } from "./block.ts";
import { type Batch, footBytes, packBatch } from "./pack_batch.ts";
import { PackingThread } from "./packing_thread.ts";

const io = { sanitizeOps: true, sanitizeResources: true };
const KEY = randomBytes(32);

/** A batch as an encoder lays it out, behind four bytes that stay. */
function lay(payloads: readonly Uint8Array[], key?: Uint8Array) {
  const blocks = payloads.map(({ length }) => ({ kind: BLOCK.DATA, payloadBytes: length }));
  const bytes = payloads.reduce((sum, { length }) => sum + HEAD_BYTES + length + footBytes(key), 4);
  const buffer = new Uint8Array(bytes);
  buffer.set([1, 2, 3, 4]);
  let at = 4;
  for (const payload of payloads) {
    buffer.set(payload, at + HEAD_BYTES);
    at += HEAD_BYTES + payload.length + footBytes(key);
  }
  const batch: Batch = { start: 4, blocks, state: { link: firstLink(), blocks: 0, leftAlone: 0 }, key };
  return { buffer, bytes, batch };
}

const text = new TextEncoder().encode("a line that is much like others\n".repeat(4_000));
const noise = randomBytes(150_000);

/** Asks until the thread has taken over, which the first batch only starts. */
async function started(thread: PackingThread): Promise<void> {
  const deadline = Date.now() + 30_000;
  for (;;) {
    const { buffer, bytes, batch } = lay([text]);
    const packed = thread.pack(buffer, bytes, batch);
    if (packed instanceof Promise) return void await packed;
    assert.ok(Date.now() < deadline, "the thread never started");
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

const cases = [
  { name: "text", payloads: [text, text], key: undefined },
  { name: "noise, which gets no smaller", payloads: [noise, noise, text], key: undefined },
  { name: "noise, encrypted, which gets larger", payloads: [noise, noise], key: KEY },
  { name: "text and noise, encrypted", payloads: [text, noise, text], key: KEY },
];
for (const { name, payloads, key } of cases) {
  Deno.test({
    name: `PackingThread packs ${name} as it is packed without it`,
    ...io,
    fn: async () => {
      const thread = new PackingThread();
      try {
        await started(thread);
        const [one, other] = [lay(payloads, key), lay(payloads, key)];
        const here = packBatch(one.buffer, one.batch);
        const there = thread.pack(other.buffer, other.bytes, other.batch);
        assert.ok(there instanceof Promise);
        const { buffer, length, state } = await there;
        assert.deepEqual(buffer.subarray(0, length), here.buffer.subarray(0, here.length));
        assert.deepEqual({ ...state, link: [...state.link] }, { ...here.state, link: [...here.state.link] });
        assert.deepEqual([...buffer.subarray(0, 4)], [1, 2, 3, 4]);
      } finally {
        await thread.close();
      }
    },
  });
}

Deno.test({
  name: "PackingThread leaves small batches where they are, and starts no thread for them",
  ...io,
  fn: async () => {
    const thread = new PackingThread();
    const { buffer, bytes, batch } = lay([text.subarray(0, 1000)]);
    assert.ok(!(thread.pack(buffer, bytes, batch) instanceof Promise));
    await thread.close();
  },
});

Deno.test({
  name: "PackingThread that ends fails what it was asked for, and packs in place from then on",
  ...io,
  fn: async () => {
    const thread = new PackingThread();
    await started(thread);
    const lost = lay([noise]);
    const packing = assert.rejects(async () => await thread.pack(lost.buffer, lost.bytes, lost.batch), {
      code: "packing_failed",
    });
    await thread.close();
    await packing;
    const { buffer, bytes, batch } = lay([text]);
    assert.ok(!(thread.pack(buffer, bytes, batch) instanceof Promise));
  },
});

Deno.test({
  name: "PackingThread sends a buffer as a whole, and not element by element: 24 of 1 MiB within 5 seconds",
  ...io,
  fn: async () => {
    const thread = new PackingThread();
    try {
      await started(thread);
      const payloads = Array.from({ length: 4 }, () => new Uint8Array(250_000));
      const startMs = performance.now();
      for (let n = 0; n < 24; n++) {
        const { buffer, bytes, batch } = lay(payloads);
        await thread.pack(buffer, bytes, batch);
      }
      assert.ok(performance.now() - startMs < 5_000); // otherwise it takes 13
    } finally {
      await thread.close();
    }
  },
});
