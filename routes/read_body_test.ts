import assert from "node:assert/strict";
import { BodyError, readBody } from "./read_body.ts";

const BOUNDS = { maxBytes: 8, deadlineMs: 1_000 };

/** A body of these chunks; `undefined` at the end is one that never comes. */
function bodyOf(chunks: readonly (Uint8Array | undefined)[]) {
  let isCancelled = false;
  let index = 0;
  const stream = new ReadableStream<Uint8Array>({
    pull(controller) {
      if (index === chunks.length) return controller.close();
      const chunk = chunks[index++];
      if (chunk === undefined) return new Promise(() => {});
      controller.enqueue(chunk);
    },
    cancel() {
      isCancelled = true;
    },
  }, { highWaterMark: 0 });
  return { stream, isCancelled: () => isCancelled };
}

Deno.test("readBody reads a body in pieces, up to its bound", async () => {
  const { stream } = bodyOf([Uint8Array.of(1, 2, 3), new Uint8Array(), Uint8Array.of(4, 5, 6, 7, 8)]);
  assert.deepEqual([...await readBody(stream, BOUNDS)], [1, 2, 3, 4, 5, 6, 7, 8]);
});

Deno.test("readBody reads no body as an empty one", async () => {
  assert.equal((await readBody(null, BOUNDS)).length, 0);
});

const bad: {
  name: string;
  chunks: (Uint8Array | undefined)[];
  kind: BodyError["kind"];
  deadlineMs?: number;
}[] = [
  { name: "one byte more than its bound", chunks: [new Uint8Array(8), new Uint8Array(1)], kind: "too_large" },
  {
    name: "a body that never ends",
    chunks: [new Uint8Array(1), undefined],
    kind: "too_slow",
    deadlineMs: 10,
  },
];
for (const { name, chunks, kind, deadlineMs = 1_000 } of bad) {
  Deno.test(`readBody gives up ${name}, and lets go of it`, async () => {
    const { stream, isCancelled } = bodyOf(chunks);
    await assert.rejects(readBody(stream, { ...BOUNDS, deadlineMs }), (error) => {
      return error instanceof BodyError && error.kind === kind;
    });
    assert.equal(isCancelled(), true);
  });
}
