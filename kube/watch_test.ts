import assert from "node:assert/strict";
import fc from "fast-check";
import { ApiError, ApiUnreachable } from "./client.ts";
import { readLines, watch, type WatchEvent } from "./watch.ts";

const utf8 = (text: string) => new TextEncoder().encode(text);

/** A watch that says these pieces; `ended` tells whether its connection was given up. */
function scene(...pieces: string[]) {
  const state = { ended: false };
  const body = new ReadableStream<Uint8Array>({
    start: (controller) => pieces.forEach((piece) => controller.enqueue(utf8(piece))),
    cancel: () => void (state.ended = true),
  }, { highWaterMark: 0 });
  const client = { open: () => Promise.resolve(body) };
  const controller = new AbortController();
  const events = watch<{ n: number }>(client, "/x", controller.signal);
  return { state, events };
}

const line = (type: string, n: number) => `${JSON.stringify({ type, object: { n } })}\n`;

async function take(events: AsyncIterable<WatchEvent<{ n: number }>>, count: number): Promise<string[]> {
  const taken: string[] = [];
  for await (const { type, object } of events) {
    taken.push(`${type} ${object.n}`);
    if (taken.length === count) break;
  }
  return taken;
}

Deno.test("watch tells of each change, and gives the connection up when nobody listens any more", async () => {
  const { events, state } = scene(line("ADDED", 1) + line("MODIFIED", 2), line("DELETED", 3));
  assert.deepEqual(await take(events, 3), ["ADDED 1", "MODIFIED 2", "DELETED 3"]);
  assert.equal(state.ended, true);
});

Deno.test("watch throws what the API server says in it", async () => {
  const error = { type: "ERROR", object: { kind: "Status", code: 410, message: "too old resource version" } };
  const { events } = scene(line("ADDED", 1), `${JSON.stringify(error)}\n`);
  await assert.rejects(
    take(events, 2),
    (thrown) => thrown instanceof ApiError && thrown.code === 410 && /too old/.test(thrown.message),
  );
});

for (const bad of ["nonsense\n", "[]x\n", "null\n", '{"type":"OTHER"}\n', "\n"]) {
  Deno.test(`watch is lost at a line of ${JSON.stringify(bad)}`, async () => {
    await assert.rejects(take(scene(bad).events, 1), ApiUnreachable);
  });
}

Deno.test("readLines gives the same lines however the stream is cut, and no line that was cut off", async () => {
  await fc.assert(fc.asyncProperty(
    fc.array(fc.string({ unit: "binary" }).map((text) => text.replaceAll("\n", "")), { maxLength: 5 }),
    fc.array(fc.nat({ max: 40 })),
    async (lines, cuts) => {
      const bytes = utf8([...lines, "cut off"].join("\n"));
      const edges = [0, ...cuts.filter((cut) => cut < bytes.length).sort((a, b) => a - b), bytes.length];
      const chunks = edges.slice(1).map((edge, index) => bytes.slice(edges[index], edge));
      const got = await Array.fromAsync(readLines(ReadableStream.from(chunks)));
      assert.deepEqual(got, lines.map((text) => new TextDecoder().decode(utf8(text)).replace(/^\ufeff/, "")));
    },
  ));
});

Deno.test("memory: a line without an end is given up at its bound", async () => {
  let sent = 0;
  const endless = new ReadableStream<Uint8Array>({
    pull(controller) {
      sent += 1000;
      controller.enqueue(new Uint8Array(1000));
    },
  }, { highWaterMark: 0 });
  await assert.rejects(Array.fromAsync(readLines(endless, 10_000)), ApiUnreachable);
  assert.ok(sent <= 12_000, `${sent} bytes were taken`);
});
