/** Clients that are many, slow or silent: what they cost is bounded, and others are served. */

import assert from "node:assert/strict";
import { Flood } from "./support/flood.ts";
import { ALICE, HostileScene, readAnswer, requestText } from "./support/hostile_scene.ts";

const suite = { sanitizeOps: true, sanitizeResources: true };

const MEBI = 1 << 20;

/** What is done on a connection that never becomes one of TLS. */
const OPENINGS = [
  { name: "that never speak", count: 2000, first: Uint8Array.of() },
  { name: "that stop within a TLS handshake", count: 500, first: Uint8Array.of(22, 3, 1, 2, 0, 1, 0) },
  { name: "that announce a record and send none", count: 200, first: Uint8Array.of(22, 3, 3, 255, 255) },
  {
    name: "that speak HTTP to TLS",
    count: 200,
    first: new TextEncoder().encode("GET / HTTP/1.1\r\nHost: gateway\r\n\r\n"),
  },
];

Deno.test("floods of connections are bounded, and others are served meanwhile", suite, async (t) => {
  const maxConnectionsPerAddress = 100;
  await using scene = await HostileScene.start({
    limits: { maxConnections: 1000, maxConnectionsPerAddress, handshakeTimeoutSeconds: 1 },
  });
  await scene.isWell();
  const before = await scene.residentBytes();
  for (const { name, count, first } of OPENINGS) {
    await t.step(`${count} connections from one address ${name}`, async () => {
      await using flood = await Flood.begin(scene.gateway.port, count, first);
      await flood.untilAtMost(maxConnectionsPerAddress, 10_000);
      await scene.isWell();
      await flood.untilAtMost(0, 10_000);
    });
  }
  await t.step("are told of once in the gateway's log", async () => {
    const log = await scene.log();
    assert.equal(log.match(/connections were refused, the last from 127\.0\.0\.2/g)?.length, 1, log);
  });
  await t.step("leave no memory behind that grows with them", async () => {
    const grown = await scene.residentBytes() - before;
    assert.ok(grown < 64 * MEBI, `${grown} bytes more`);
    await scene.isWell();
  });
});

Deno.test(
  "headers that come slowly are refused in time, and others are served meanwhile",
  suite,
  async () => {
    await using scene = await HostileScene.start({ limits: { headerTimeoutSeconds: 1 } });
    await scene.isWell();
    using silent = await scene.connect();
    const silence = silent.readAll();
    const clients = await Promise.all(Array.from({ length: 50 }, () => scene.connect()));
    const answers = Promise.all(clients.map(readAnswer));
    let isOver = false;
    void answers.then(() => isOver = true);
    const text = requestText("GET /api", [...ALICE, `A: ${"a".repeat(1000)}`]);
    for (let index = 0; !isOver; index++) {
      await Promise.all(clients.map((client) => client.send(text[index] ?? "a").catch(() => {})));
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    for (const client of clients) client[Symbol.dispose]();
    assert.deepEqual(new Set((await answers).map(({ code }) => code)), new Set([408]));
    assert.equal(await silence, "", "a connection that says nothing is closed");
    await scene.eventOf(({ responseStatus }) => responseStatus?.code === 408);
    await scene.isWell();
  },
);

Deno.test("headers without an end are refused, and all together hold bounded memory", suite, async (t) => {
  await using scene = await HostileScene.start({ limits: { maxHeldHeaderBytes: 4 * MEBI } });
  await scene.isWell();

  await t.step("one request: 431 at the bound", async () => {
    using client = await scene.connect();
    await client.send("GET /api HTTP/1.1\r\n");
    const answer = readAnswer(client);
    let isOver = false;
    void answer.then(() => isOver = true);
    const line = (index: number) => `A${index}: ${"a".repeat(60_000)}\r\n`;
    for (let index = 0; !isOver; index++) await client.send(line(index)).catch(() => isOver = true);
    assert.equal((await answer).code, 431);
    await scene.isWell();
  });

  await t.step("a megabyte from each of fifty: 503 beyond the room there is", async () => {
    const before = await scene.residentBytes();
    const large = `GET /api HTTP/1.1\r\nHost: gateway\r\nA: ${"a".repeat(900_000)}`;
    const clients = await Promise.all(Array.from({ length: 50 }, () => scene.connect()));
    await Promise.all(clients.map((client) => client.send(large).catch(() => {})));
    await scene.isWell();
    // Who is refused while sending may lose the answer: TCP gives no more than that. So the events are counted:
    // four find room at most.
    const isRefusal = ({ responseStatus }: { responseStatus?: { code: number } }) =>
      responseStatus?.code === 503;
    for (const deadline = performance.now() + 10_000; (await scene.eventsOf(isRefusal)).length < 46;) {
      assert.ok(performance.now() < deadline);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    const grown = await scene.residentBytes() - before;
    assert.ok(grown < 128 * MEBI, `${grown} bytes more`);
    for (const client of clients) client[Symbol.dispose]();
    await scene.isWell();
  });
});
