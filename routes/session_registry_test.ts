import assert from "node:assert/strict";
import { Refusal } from "../kube/status.ts";
import { SessionFailure } from "../session/stream_event.ts";
import { type SessionFacts, SessionRegistry } from "./session_registry.ts";

const FACTS: SessionFacts = {
  auditId: "a",
  kind: "exec",
  namespace: "default",
  pod: "web",
  username: "alice",
  startedAt: new Date(0),
  recording: "2026/11/21/a.rec",
};
const END = { reason: "client_closed", by: "client", message: "the client closed the session" } as const;

Deno.test("a session is known while it runs, and for a while after", () => {
  const registry = new SessionRegistry({ maxEnded: 1 });
  const entry = registry.enter(FACTS);
  assert.equal(registry.find("a"), entry);
  entry.over(END);
  const ended = registry.find("a");
  assert.deepEqual([ended?.isLive, ended?.facts], [false, FACTS]);
  registry.enter({ ...FACTS, auditId: "b" }).over(END);
  assert.deepEqual([registry.find("a"), registry.find("b")?.isLive], [undefined, false]);
});

Deno.test("who ends a session is named in its end, in no terminal's language", () => {
  const entry = new SessionRegistry().enter(FACTS);
  void entry.end("eve\x1b]0;x\x07\u202e");
  const { reason } = entry.signal;
  assert.ok(reason instanceof SessionFailure);
  assert.deepEqual(reason.end, {
    reason: "ended_by_operator",
    by: "gateway",
    message: 'the session was ended by "eve\\u001b]0;x\\u0007\\u202e"',
  });
});

Deno.test("who ended a session learns when that was written down", async () => {
  const entry = new SessionRegistry().enter(FACTS);
  let isOver = false;
  const ended = entry.end("root").then(() => isOver = true);
  await Promise.resolve();
  assert.equal(isOver, false);
  entry.over(END);
  await ended;
});

Deno.test("a tap's answer is the first one's: who watches holds nothing up", async () => {
  const entry = new SessionRegistry().enter(FACTS);
  const watcher = entry.watch();
  const gate = Promise.withResolvers<void>();
  const pushed = entry.tap({ push: () => gate.promise }).push({ type: "opened", id: 1, stream: "stdin" });
  assert.equal(pushed, gate.promise);
  assert.equal((await watcher.next()).length, 1);
  entry.over(END);
});

const content = [
  { kind: "exec", stream: "stdin", options: {}, isShown: false },
  { kind: "exec", stream: "stdin", options: { showsStdin: true }, isShown: true },
  { kind: "exec", stream: "stdout", options: {}, isShown: true },
  { kind: "portforward", stream: "data", options: { showsStdin: true }, isShown: false },
  { kind: "portforward", stream: "data", options: { showsForwarded: true }, isShown: true },
];
for (const { kind, stream, options, isShown } of content) {
  const what = `${isShown ? "see" : "do not see"} ${stream} of ${kind} with ${JSON.stringify(options)}`;
  Deno.test(`those who watch ${what}`, async () => {
    const entry = new SessionRegistry(options).enter({ ...FACTS, kind });
    const watcher = entry.watch();
    entry.feed.push({ type: "data", id: 1, stream, direction: "in", bytes: Uint8Array.of(1) });
    const [event] = await watcher.next();
    assert.equal(event?.type === "data" && event.data !== undefined, isShown);
    entry.over(END);
  });
}

Deno.test("only so many watch at once, all sessions together", () => {
  const registry = new SessionRegistry({ maxWatchers: 2 });
  const [one, other] = [registry.enter(FACTS), registry.enter({ ...FACTS, auditId: "b" })];
  one.watch();
  const second = other.watch();
  assert.throws(() => one.watch(), { reason: "TooManyRequests" });
  second.close();
  one.watch();
  one.over(END);
  other.over(END);
});

Deno.test("nobody watches a session that has ended", () => {
  const registry = new SessionRegistry();
  registry.enter(FACTS).over(END);
  assert.throws(
    () => registry.find("a")?.watch(),
    (thrown) => thrown instanceof Refusal && thrown.reason === "Gone",
  );
});
