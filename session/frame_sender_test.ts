import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import fc from "fast-check";
import { dataFrame, FrameDecoder } from "../protocol/spdy/mod.ts";
import { FrameSender } from "./frame_sender.ts";

/** Takes what is written when it is told to. */
class Sink {
  readonly written: string[] = [];
  readonly #waiting: (() => void)[] = [];
  constructor(public isOpen: boolean) {}

  write(bytes: Uint8Array): Promise<void> {
    this.written.push(new TextDecoder().decode(bytes));
    return this.isOpen ? Promise.resolve() : new Promise((taken) => this.#waiting.push(taken));
  }

  take(): void {
    for (const taken of this.#waiting.splice(0)) taken();
  }

  read(): Promise<null> {
    return Promise.resolve(null);
  }

  close(): void {}
}

const text = (words: string) => new TextEncoder().encode(words);
const turn = () => new Promise((done) => setTimeout(done));

Deno.test("FrameSender.flush waits for what another has flushed before", async () => {
  const sink = new Sink(false);
  const sender = new FrameSender(sink);
  sender.add(text("views of a buffer"));
  sender.flush();
  let isDone = false;
  sender.flush().then(() => isDone = true);
  await turn();
  assert.equal(isDone, false, "the buffer may not be used again yet");
  sink.take();
  await turn();
  assert.equal(isDone, true);
});

Deno.test("FrameSender.flushAnswers does not wait for a side that takes little, and waits for one that takes nothing", async () => {
  const sink = new Sink(false);
  const sender = new FrameSender(sink);
  sender.add(text("pong"));
  await sender.flushAnswers();
  sender.add(new Uint8Array(300_000));
  let isDone = false;
  const waiting = sender.flushAnswers().then(() => isDone = true);
  await turn();
  assert.equal(isDone, false);
  sink.take();
  await waiting;
});

Deno.test("FrameSender.after writes when it is time, behind all that came before, and never after a failure", async () => {
  const sink = new Sink(true);
  const sender = new FrameSender(sink);
  const [one, other] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  sender.after(one.promise, () => sender.add(text("last")));
  sender.after(other.promise, () => sender.add(text("never")));
  sender.add(text("first "));
  one.resolve();
  other.reject(new Error("disk full"));
  await turn();
  await sender.flush();
  assert.deepEqual(sink.written.join(""), "first last");
});

/** Frames of some sizes on streams 3 and 5, as one piece of wire. */
const wires = fc.array(
  fc.record({
    id: fc.constantFrom(3, 5),
    bytes: fc.integer({ min: 0, max: 40 }),
    fin: fc.boolean(),
  }),
  { minLength: 1, maxLength: 12 },
).map((frames) =>
  Buffer.concat(
    frames.map(({ id, bytes, fin }, index) => dataFrame(id, new Uint8Array(bytes).fill(index), fin)),
  )
);

/** Passes a wire on in chunks, each with headroom or without. @returns what was written, and whether each write was a chunk's own memory */
async function passOn(wire: Uint8Array, chunkBytes: number, headroomBytes: number, id?: number) {
  const written: Uint8Array[] = [];
  const own: boolean[] = [];
  let buffer = new Uint8Array();
  const sender = new FrameSender({
    write: (bytes) => {
      own.push(bytes.buffer === buffer.buffer);
      return Promise.resolve(void written.push(bytes.slice()));
    },
    read: () => Promise.resolve(null),
    close: () => {},
  });
  const decoder = new FrameDecoder();
  for (let at = 0; at < wire.length; at += chunkBytes) {
    const bytes = wire.subarray(at, at + chunkBytes);
    buffer = new Uint8Array(headroomBytes + bytes.length).fill(0xee);
    const chunk = buffer.subarray(headroomBytes);
    chunk.set(bytes);
    sender.passOn(chunk, headroomBytes);
    for (const frame of decoder.push(chunk)) if (frame.type === "data") sender.addData(frame, id);
    await sender.flush();
  }
  return { wire: Buffer.concat(written), own };
}

Deno.test("FrameSender.addData writes headers into a chunk where it may, and says the same as where it may not", async () => {
  await fc.assert(
    fc.asyncProperty(wires, fc.integer({ min: 1, max: 64 }), async (wire, chunkBytes) => {
      const apart = await passOn(wire, chunkBytes, 0);
      const inPlace = await passOn(wire, chunkBytes, 8);
      assert.deepEqual(inPlace.wire, apart.wire);
      const under = await passOn(wire, chunkBytes, 8, 7);
      assert.deepEqual(under.wire, (await passOn(wire, chunkBytes, 0, 7)).wire);
    }),
    { numRuns: 300 },
  );
});

Deno.test("FrameSender.addData passes pieces of a large frame on as they lie", async () => {
  const { wire, own } = await passOn(dataFrame(3, new Uint8Array(1000)), 100, 8);
  assert.deepEqual(own, new Array(11).fill(true));
  assert.equal(wire.length, 1000 + 11 * 8, "each piece is a frame of its own");
});
