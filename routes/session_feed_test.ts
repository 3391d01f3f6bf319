import assert from "node:assert/strict";
import type { StreamEvent } from "../session/stream_event.ts";
import { type FeedEvent, type FeedLimits, SessionFeed } from "./session_feed.ts";

const at = 1_764_000_000_000;
const END = { reason: "command_ended", by: "upstream", message: "the command ended", exitCode: 0 } as const;

const opened = (id: number, stream: string): StreamEvent => ({ type: "opened", id, stream });
const data = (text: string | Uint8Array<ArrayBuffer>, stream = "stdout"): StreamEvent => ({
  type: "data",
  id: 3,
  stream,
  direction: stream === "stdin" ? "in" : "out",
  bytes: typeof text === "string" ? new TextEncoder().encode(text) : text,
});

function feedOf(limits: FeedLimits = {}): SessionFeed {
  return new SessionFeed((stream) => stream !== "stdin", limits, () => at);
}

const texts = (events: readonly FeedEvent[]) =>
  events.map((event) =>
    event.type === "data" ? `${event.id} ${event.data ? atob(event.data) : event.bytes}` : event.type
  );

function feedTest(name: string, body: () => Promise<void>): void {
  Deno.test({ name: `a session's feed ${name}`, sanitizeOps: true, sanitizeResources: true, fn: body });
}

feedTest("tells those who watch what passes, from when they came, to the end", async () => {
  const feed = feedOf();
  feed.push(opened(3, "stdout"));
  feed.push(data("before"));
  const watcher = feed.watch();
  assert.deepEqual([watcher.streams, watcher.hasGap], [[{ stream: 3, name: "stdout" }], false]);
  feed.push(opened(5, "stderr"));
  feed.push(data("hello"));
  feed.push({ type: "half_closed", id: 3, stream: "stdout", direction: "out" });
  feed.push({ type: "reset", id: 5, stream: "stderr", direction: "out", status: 5 });
  feed.end(END);
  assert.deepEqual(await watcher.next(), [
    { id: "1.1", at: new Date(at), type: "opened", stream: 5, name: "stderr" },
    {
      ...{ id: "1.2", at: new Date(at), type: "data", stream: 3, name: "stdout", direction: "out" },
      ...{ bytes: 5, data: "aGVsbG8=" },
    },
    { id: "1.3", at: new Date(at), type: "half_closed", stream: 3, name: "stdout", direction: "out" },
    { id: "1.4", at: new Date(at), type: "reset", stream: 5, name: "stderr", direction: "out", status: 5 },
    { id: "1.5", at: new Date(at), type: "ended", ...END },
  ]);
  assert.deepEqual(await watcher.next(), []);
});

feedTest("shows of what is typed how much it was, and not what: it may be a password", async () => {
  const feed = feedOf();
  const watcher = feed.watch();
  feed.push(data("hunter2", "stdin"));
  const [event] = await watcher.next();
  assert.ok(event?.type === "data");
  assert.deepEqual([event.bytes, event.data], [7, undefined]);
  assert.doesNotMatch(JSON.stringify(event), /hunter2|aHVudGVyMg/);
  feed.end(END);
});

feedTest("copies bytes: what a tap was shown is the splice's again when it returns", async () => {
  const feed = feedOf();
  const watcher = feed.watch();
  const bytes = new TextEncoder().encode("hello");
  feed.push(data(bytes));
  bytes.fill(0);
  assert.deepEqual(texts(await watcher.next()), ["1.1 hello"]);
  feed.end(END);
});

feedTest(
  "gives a watcher up who does not take what comes, and holds on to no more than its bound",
  async () => {
    const feed = feedOf({ pendingBytes: 10_000, keptBytes: 0 });
    const slow = feed.watch();
    const quick = feed.watch();
    let got = 0;
    for (let count = 0; count < 50; count++) {
      feed.push(data("x".repeat(1_000)));
      got += (await quick.next()).length;
    }
    assert.deepEqual([slow.isTooSlow, quick.isTooSlow, got], [true, false, 50]);
    assert.deepEqual(await slow.next(), []);
    assert.equal(feed.watchers, 1);
    feed.end(END);
  },
);

feedTest("goes on behind the event that a watcher who comes back has seen", async () => {
  const feed = feedOf();
  const first = feed.watch();
  for (const text of ["one", "two"]) feed.push(data(text));
  assert.deepEqual(texts(await first.next()), ["1.1 one", "1.2 two"]);
  first.close();
  feed.push(data("three"));
  const again = feed.watch("1.1");
  assert.equal(again.hasGap, false);
  assert.deepEqual(texts(await again.next()), ["1.2 two", "1.3 three"]);
  feed.end(END);
});

feedTest("begins a long piece's events in order, each within its bound", async () => {
  const feed = feedOf();
  const watcher = feed.watch();
  const bytes = crypto.getRandomValues(new Uint8Array(60_000));
  feed.push(data(bytes));
  const events = await watcher.next();
  const pieces = events.map((event) =>
    event.type === "data" ? Uint8Array.fromBase64(event.data ?? "") : assert.fail()
  );
  assert.deepEqual(pieces.map(({ length }) => length), [49_152, 10_848]);
  assert.deepEqual(new Uint8Array(await new Blob(pieces).arrayBuffer()), bytes);
  feed.end(END);
});

const unknown = [
  { what: "of another life of the feed", after: "7.1" },
  { what: "that has not come yet", after: "1.9" },
  { what: "that is not kept any more", after: "1.0" },
  { what: "that is none", after: "../../etc/passwd" },
];
for (const { what, after } of unknown) {
  feedTest(`says that some are missing behind an event ${what}`, async () => {
    const feed = feedOf({ keptBytes: 600 });
    const first = feed.watch();
    for (const text of ["one", "two", "three"]) feed.push(data(text));
    const watcher = feed.watch(after);
    assert.equal(watcher.hasGap, true);
    feed.push(data("four"));
    assert.deepEqual(texts(await watcher.next()), ["1.4 four"]);
    first.close();
    feed.end(END);
  });
}

feedTest("forgets what it kept when the last watcher is gone for a while", async () => {
  const feed = feedOf({ keptMs: 5 });
  const first = feed.watch();
  feed.push(data("one"));
  first.close();
  await new Promise((resolve) => setTimeout(resolve, 30));
  const again = feed.watch("1.1");
  assert.equal(again.hasGap, true);
  feed.push(data("two"));
  assert.deepEqual(texts(await again.next()), ["2.1 two"]);
  feed.end(END);
});

feedTest("knows the streams that are open, and forgets those that were closed both ways or reset", () => {
  const feed = feedOf();
  for (const [id, name] of [[1, "stdin"], [3, "stdout"], [5, "stderr"]] as const) feed.push(opened(id, name));
  feed.push({ type: "half_closed", id: 1, stream: "stdin", direction: "in" });
  feed.push({ type: "half_closed", id: 3, stream: "stdout", direction: "in" });
  feed.push({ type: "half_closed", id: 3, stream: "stdout", direction: "out" });
  feed.push({ type: "reset", id: 5, stream: "stderr", direction: "out", status: 1 });
  assert.deepEqual(feed.streams, [{ stream: 1, name: "stdin" }]);
  return Promise.resolve();
});

feedTest("wakes a watcher that waits when it is closed", async () => {
  const feed = feedOf({ keptMs: 1 });
  const watcher = feed.watch();
  const next = watcher.next();
  watcher.close();
  assert.deepEqual(await next, []);
  feed.end(END);
});
