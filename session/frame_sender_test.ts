import assert from "node:assert/strict";
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
