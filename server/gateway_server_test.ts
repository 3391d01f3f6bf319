import assert from "node:assert/strict";
import type { RequestContext } from "../routes/handler.ts";
import { TestFront } from "./test_front.ts";

const suite = { sanitizeOps: true, sanitizeResources: true };

const GET = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
const UPGRADE = "GET /exec HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n";

/** Resolves when the signal is aborted, with the reason's words. */
function abortion({ signal }: Pick<RequestContext, "signal">): Promise<string> {
  return new Promise((resolve) => signal.addEventListener("abort", () => resolve(String(signal.reason))));
}

Deno.test("drain with nothing to wait for closes idle connections and the port at once", suite, async () => {
  await using front = await TestFront.start(() => Promise.resolve(new Response("ok")));
  using idle = await front.connect();
  await idle.send(GET);
  await idle.readUntil("ok");
  const start = performance.now();
  await front.server.drain(60_000);
  assert.ok(performance.now() - start < 5000);
  assert.equal(await idle.readAll(), "");
  await assert.rejects(front.connect());
});

Deno.test("drain answers who comes while a session goes on, once for each connection", suite, async () => {
  await using front = await TestFront.start((_request, { upgrade }) =>
    Promise.resolve(
      upgrade?.accept([], async (client) => void await client.read()) ??
        new Response("come again", { status: 503 }),
    )
  );
  using session = await front.connect();
  await session.send(UPGRADE);
  await session.readUntil("\r\n\r\n");
  const drained = front.server.drain(60_000);
  for (let count = 0; count < 2; count++) {
    using late = await front.connect();
    await late.send(GET);
    const text = await late.readAll();
    assert.match(text, /^HTTP\/1.1 503 /);
    assert.match(text, /connection: close/i);
  }
  session[Symbol.dispose]();
  await drained;
  await assert.rejects(front.connect());
});

Deno.test("drain answers who had come just before it, and had not asked yet", suite, async () => {
  await using front = await TestFront.start((_request, { upgrade }) =>
    Promise.resolve(
      upgrade?.accept([], async (client) => void await client.read()) ?? new Response("ok"),
    )
  );
  using early = await front.connect();
  using session = await front.connect(); // served after the one before it
  await session.send(UPGRADE);
  await session.readUntil("\r\n\r\n");
  const drained = front.server.drain(60_000);
  await early.send(GET);
  const text = await early.readAll();
  assert.match(text, /^HTTP\/1.1 200 [^]*ok$/);
  assert.match(text, /connection: close/i);
  session[Symbol.dispose]();
  await drained;
});

Deno.test(
  "drain goes on answering for as long as it was asked to, with nothing to wait for",
  suite,
  async () => {
    await using front = await TestFront.start(() => Promise.resolve(new Response("not ready")));
    const start = performance.now();
    const drained = front.server.drain(60_000, { leastMs: 300 });
    using probe = await front.connect();
    await probe.send(GET);
    assert.match(await probe.readAll(), /not ready$/);
    await drained;
    assert.ok(performance.now() - start >= 300);
  },
);

Deno.test("drain in a hurry ends sessions at once, and waits for what they write down", suite, async () => {
  const written: string[] = [];
  await using front = await TestFront.start((_request, context) =>
    Promise.resolve(context.upgrade!.accept([], async () => {
      written.push(await abortion(context));
      await new Promise((resolve) => setTimeout(resolve, 2500)); // longer than a farewell
      written.push("the end");
    }))
  );
  using client = await front.connect();
  await client.send(UPGRADE);
  await client.readUntil("\r\n\r\n");
  const hurry = new AbortController();
  const drained = front.server.drain(60_000, { hurry: hurry.signal });
  hurry.abort();
  await drained;
  assert.deepEqual(written, ["Error: the gateway is shutting down", "the end"]);
});

Deno.test("drain waits for a request that is being answered, and closes after it", suite, async () => {
  const answer = Promise.withResolvers<Response>();
  const asked = Promise.withResolvers<void>();
  await using front = await TestFront.start(() => {
    asked.resolve();
    return answer.promise;
  });
  using client = await front.connect();
  await client.send(GET);
  await asked.promise;
  const drained = front.server.drain(60_000);
  await new Promise((resolve) => setTimeout(resolve, 50));
  answer.resolve(new Response("in time"));
  const text = await client.readAll();
  assert.match(text, /in time$/);
  assert.match(text, /connection: close/i);
  await drained;
});

Deno.test("drain lets a session go on until it ends", suite, async () => {
  await using front = await TestFront.start((_request, { upgrade }) =>
    Promise.resolve(upgrade!.accept([], async (client) => {
      for (let bytes = await client.read(); bytes !== null; bytes = await client.read()) {
        await client.write(bytes);
      }
    }))
  );
  using client = await front.connect();
  await client.send(UPGRADE);
  await client.readUntil("\r\n\r\n");
  let isDrained = false;
  const draining = front.server.drain(60_000).then(() => isDrained = true);
  await client.send("during");
  await client.readUntil("during");
  assert.equal(isDrained, false);
  client[Symbol.dispose]();
  await draining;
});

Deno.test("drain aborts what runs at the deadline, and leaves a session time to say so", suite, async () => {
  await using front = await TestFront.start((_request, context) =>
    Promise.resolve(context.upgrade!.accept([], async (client) => {
      const why = await abortion(context);
      await client.write(new TextEncoder().encode(why));
    }))
  );
  using client = await front.connect();
  await client.send(UPGRADE);
  await client.readUntil("\r\n\r\n");
  const drained = front.server.drain(50);
  assert.equal(await client.readAll(), "Error: the gateway is shutting down");
  await drained;
});

Deno.test("drain closes a session that does not care", suite, async () => {
  await using front = await TestFront.start((_request, { upgrade }) =>
    Promise.resolve(upgrade!.accept([], async (client) => void await client.read().catch(() => {})))
  );
  using client = await front.connect();
  await client.send(UPGRADE);
  await client.readUntil("\r\n\r\n");
  await front.server.drain(10);
  assert.equal(await client.readAll().catch(() => ""), "");
  assert.equal(front.server.connections, 0);
});

Deno.test("close ends watches and sessions without waiting", suite, async () => {
  const aborted: Promise<string>[] = [];
  await using front = await TestFront.start((_request, context) => {
    aborted.push(abortion(context));
    return Promise.resolve(new Response(new ReadableStream()));
  });
  using client = await front.connect();
  await client.send(GET);
  await client.readUntil("\r\n\r\n");
  await front.server.close();
  assert.deepEqual(await Promise.all(aborted), ["Error: the gateway is shutting down"]);
  assert.equal(front.server.connections, 0);
});
