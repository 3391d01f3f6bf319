import assert from "node:assert/strict";
import { openSession, wholeSession } from "../catalog/test_events.ts";
import { apiTest, brief, FACTS, ID, SESSION } from "./test_scene.ts";

const TAIL = `${SESSION}/tail`;
const END = { reason: "command_ended", by: "upstream", message: "the command ended", exitCode: 3 } as const;

/** Reads server-sent events as a client does. */
class EventReader {
  readonly #reader: ReadableStreamDefaultReader<string>;
  #text = "";
  comments = 0;

  constructor(response: Response) {
    assert.equal(response.headers.get("Content-Type"), "text/event-stream");
    this.#reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
  }

  /** The next event; `undefined` at the end. */
  async next(): Promise<{ event: string; id?: string; data: Record<string, unknown> } | undefined> {
    for (;;) {
      const end = this.#text.indexOf("\n\n");
      if (end >= 0) {
        const lines = this.#text.slice(0, end).split("\n");
        this.#text = this.#text.slice(end + 2);
        const field = (name: string) =>
          lines.find((line) => line.startsWith(`${name}: `))?.slice(name.length + 2);
        const event = field("event");
        if (lines.some((line) => line.startsWith(":"))) this.comments++;
        if (event === undefined) continue;
        const id = field("id");
        return { event, ...(id !== undefined && { id }), data: JSON.parse(field("data") ?? "") };
      }
      const { done, value } = await this.#reader.read();
      if (done) return undefined;
      this.#text += value;
    }
  }

  async names(): Promise<string[]> {
    const names: string[] = [];
    for (let each = await this.next(); each; each = await this.next()) names.push(each.event);
    return names;
  }

  async cancel(): Promise<void> {
    await this.#reader.cancel();
  }
}

const said = (text: string) => ({
  ...{ type: "data", id: 3, stream: "stdout", direction: "out" } as const,
  bytes: new TextEncoder().encode(text),
});

apiTest("a tail begins with the session, tells what passes, and ends with it", async (scene) => {
  const entry = scene.sessions.enter(FACTS);
  entry.feed.push({ type: "opened", id: 3, stream: "stdout" });
  const reader = new EventReader(await scene.ask(TAIL));
  assert.deepEqual(await reader.next(), {
    event: "header",
    data: {
      ...{ auditId: ID, kind: "exec", namespace: "default", pod: "web", username: "alice" },
      startedAt: "2026-11-21T12:00:00.000Z",
      streams: [{ stream: 3, name: "stdout" }],
    },
  });
  entry.feed.push(said("a\n\nevent: ended\r\ndata: {}\n\n"));
  const data = await reader.next();
  assert.equal(data?.event, "data");
  assert.equal(atob(String(data?.data.data)), "a\n\nevent: ended\r\ndata: {}\n\n");
  assert.deepEqual([data?.data.bytes, data?.data.name, data?.data.direction], [27, "stdout", "out"]);
  assert.match(String(data?.data.at), /^2\d{3}-.*Z$/);
  entry.feed.push({ type: "half_closed", id: 3, stream: "stdout", direction: "out" });
  entry.over(END);
  assert.equal((await reader.next())?.event, "half_closed");
  const ended = await reader.next();
  const { at: _, ...end } = ended?.data ?? {};
  assert.deepEqual([ended?.event, end], ["ended", END]);
  assert.equal(await reader.next(), undefined);
});

apiTest("a tail goes on behind the last event that its reader has", async (scene) => {
  const entry = scene.sessions.enter(FACTS);
  const first = new EventReader(await scene.ask(TAIL));
  await first.next();
  for (const text of ["one", "two", "three"]) entry.feed.push(said(text));
  const one = await first.next();
  await first.cancel();
  const again = new EventReader(await scene.ask(TAIL, { headers: { "Last-Event-ID": one!.id! } }));
  const events = [await again.next(), await again.next(), await again.next()];
  assert.deepEqual(events.map((each) => each?.data.data && atob(String(each.data.data))), [
    ...[undefined, "two", "three"],
  ]);
  entry.over(END);
  await again.cancel();
});

apiTest("a tail says so where it cannot go on behind what its reader has", async (scene) => {
  const entry = scene.sessions.enter(FACTS);
  const reader = new EventReader(await scene.ask(TAIL, { headers: { "Last-Event-ID": "9.9" } }));
  entry.over(END);
  assert.deepEqual(await reader.names(), ["header", "gap", "ended"]);
});

apiTest("a tail of a session that says nothing says that it lives", async (scene) => {
  const entry = scene.sessions.enter(FACTS);
  const reader = new EventReader(await scene.ask(TAIL));
  await reader.next();
  const next = reader.next();
  for (const deadline = performance.now() + 5_000; reader.comments < 2;) {
    assert.ok(performance.now() < deadline);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  entry.over(END);
  assert.equal((await next)?.event, "ended");
});

apiTest("a reader that is too slow is told so, and the session is not held up", async (scene) => {
  const entry = scene.sessions.enter(FACTS);
  const reader = new EventReader(await scene.ask(TAIL));
  await reader.next();
  for (let count = 0; count < 100; count++) {
    assert.equal(entry.tap({ push: () => {} }).push(said("x".repeat(30_000))), undefined);
  }
  assert.equal(entry.feed.watchers, 0);
  const names = await reader.names();
  assert.equal(names.at(-1), "dropped");
  entry.over(END);
});

apiTest("whoever stops to read watches no more", async (scene) => {
  const entry = scene.sessions.enter(FACTS);
  const reader = new EventReader(await scene.ask(TAIL));
  await reader.next();
  assert.equal(entry.feed.watchers, 1);
  await reader.cancel();
  assert.equal(entry.feed.watchers, 0);
  entry.over(END);
});

apiTest("a tail ends when the gateway shuts down", async (scene) => {
  const entry = scene.sessions.enter(FACTS);
  const drain = new AbortController();
  const reader = new EventReader(await scene.ask(TAIL, { signal: drain.signal }));
  await reader.next();
  const next = reader.next();
  drain.abort();
  assert.equal(await next, undefined);
  assert.equal(entry.feed.watchers, 0);
  entry.over(END);
});

apiTest("a tail is written down before its first byte, and when it is over", async (scene) => {
  const entry = scene.sessions.enter(FACTS);
  const response = await scene.ask(TAIL);
  assert.deepEqual(brief(scene.events), [`decision root watch sessions default/${ID}`]);
  entry.over(END);
  await response.text();
  assert.deepEqual(brief(scene.events).slice(1), [`response root watch sessions default/${ID} 200`]);
});

apiTest("no audit, no tail", async (scene) => {
  const entry = scene.sessions.enter(FACTS);
  scene.isAuditDown = true;
  assert.equal((await scene.refused(TAIL)).code, 503);
  assert.equal(entry.feed.watchers, 0);
});

apiTest("HEAD watches nothing", async (scene) => {
  const entry = scene.sessions.enter(FACTS);
  assert.equal((await scene.ask(TAIL, { method: "HEAD" })).status, 200);
  assert.equal(entry.feed.watchers, 0);
});

apiTest(
  "a session of another replica cannot be watched here, and one that is over nowhere",
  async (scene) => {
    await scene.catalog!.apply(openSession({ auditId: ID }));
    assert.equal((await scene.refused(TAIL)).code, 409);
    await scene.catalog!.apply(wholeSession({ auditId: ID }));
    assert.equal((await scene.refused(TAIL)).code, 410);
  },
  { index: "real" },
);

const revocations = [
  {
    what: "the grant is withdrawn",
    revoke: (grants: string[]) => void grants.splice(grants.indexOf("bob watch sessions default"), 1),
    message: "access was withdrawn, so the watch ends: may not watch",
  },
  {
    what: "the token is revoked",
    revoke: (_grants: string[], scene: { revoked: string | undefined }) => void (scene.revoked = "bob"),
    message: "the credential that opened the watch is no longer valid, so the watch ends",
  },
];
for (const { what, revoke, message } of revocations) {
  apiTest(
    `attack: nobody goes on watching when ${what}: the reason is told, and nothing more`,
    async (scene) => {
      scene.grants.push("bob watch sessions default");
      const entry = scene.sessions.enter(FACTS);
      const reader = new EventReader(await scene.ask(TAIL, { user: "bob" }));
      assert.equal((await reader.next())?.event, "header");
      await new Promise((resolve) => setTimeout(resolve, 60)); // it was asked about, and goes on
      entry.feed.push(said("seen"));
      assert.equal((await reader.next())?.event, "data");
      revoke(scene.grants, scene);
      const revoked = await reader.next();
      entry.feed.push(said("secret"));
      assert.deepEqual([revoked?.event, revoked?.data.message], ["revoked", message]);
      assert.equal(await reader.next(), undefined);
      assert.equal(entry.feed.watchers, 0);
      entry.over(END);
    },
  );
}

apiTest("attack: what waits for a reader is not given once it may watch no more", async (scene) => {
  scene.grants.push("bob watch sessions default");
  const entry = scene.sessions.enter(FACTS);
  const response = await scene.ask(TAIL, { user: "bob" });
  const body = response.body!.getReader();
  await body.read(); // the header; then the reader holds back, and no more than one piece is on its way to it
  entry.feed.push(said("on its way"));
  await new Promise((resolve) => setTimeout(resolve));
  scene.grants.splice(scene.grants.indexOf("bob watch sessions default"), 1);
  for (let waiting = 0; waiting < 10; waiting++) entry.feed.push(said("waits"));
  for (const deadline = performance.now() + 5_000; entry.feed.watchers > 0;) {
    assert.ok(performance.now() < deadline);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  let rest = "";
  for (let piece = await body.read(); !piece.done; piece = await body.read()) {
    rest += new TextDecoder().decode(piece.value);
  }
  assert.doesNotMatch(rest, new RegExp(btoa("waits")));
  assert.match(rest, /event: revoked\ndata: .*access was withdrawn.*\n\n$/);
  entry.over(END);
});
