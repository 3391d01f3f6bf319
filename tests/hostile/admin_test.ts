/** The admin port, to whoever can reach it: it tells what it is for, and nobody keeps a probe out. */

import assert from "node:assert/strict";
import { connect } from "node:net";
import { Flood } from "./support/flood.ts";
import { ALICE, HostileScene, requestText, SPDY } from "./support/hostile_scene.ts";

/** Connections from one address that the port keeps. */
const SHARE = 16;

const EXEC = "/api/v1/namespaces/default/pods/web/exec?command=id&stdout=1&container=main";
const get = (target: string, lines: readonly string[] = []) =>
  requestText(`GET ${target}`, ["Host: gateway", "Connection: close", ...lines]);

const REQUESTS: readonly { name: string; raw: string; code: number }[] = [
  { name: "a probe", raw: get("/healthz"), code: 200 },
  { name: "metrics", raw: get("/metrics"), code: 200 },
  ...[
    "/METRICS",
    "/%6detrics",
    "//metrics",
    "/metrics/",
    "/./metrics",
    "/x/../metrics",
    "/metrics;x",
    "/metrics%00",
  ]
    .map((target) => ({ name: target, raw: get(target), code: 404 })),
  { name: "what other servers have", raw: get("/debug/pprof/heap"), code: 404 },
  { name: "the console's API", raw: get("/apis/postern.dev/v1alpha1/sessions", ALICE.slice(1)), code: 404 },
  {
    name: "a session with a good credential",
    raw: requestText(`POST ${EXEC}`, [...ALICE, ...SPDY]),
    code: 404,
  },
  { name: "a POST", raw: requestText("POST /metrics", ["Host: a", "Connection: close"]), code: 405 },
  { name: "TRACE", raw: requestText("TRACE /metrics", ["Host: a"]), code: 405 },
  { name: "no Host", raw: "GET /metrics HTTP/1.1\r\n\r\n", code: 400 },
  { name: "another host's URL", raw: "GET http://elsewhere/metrics HTTP/1.1\r\nHost: a\r\n\r\n", code: 400 },
  { name: "a body on a GET", raw: get("/metrics", ["Content-Length: 1"]) + "a", code: 400 },
  {
    name: "two lengths",
    raw: requestText("POST /metrics", ["Host: a", "Content-Length: 1", "Transfer-Encoding: chunked"]),
    code: 400,
  },
  { name: "escapes of a terminal", raw: get("/metrics", ["A: \x1b[2J"]), code: 400 },
  { name: "HTTP/2", raw: "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", code: 400 },
  { name: "TLS", raw: "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", code: 400 },
  { name: "17 KiB of query", raw: get(`/readyz?${"a".repeat(17_408)}`), code: 431 },
  { name: "headers without an end", raw: `GET / HTTP/1.1\r\nA: ${"a".repeat(32_768)}`, code: 431 },
];

Deno.test("a hostile client of the admin port", { sanitizeOps: true, sanitizeResources: true }, async (t) => {
  await using scene = await HostileScene.start({ admin: { listener: "on", port: 0 } });
  const port = await adminPort(scene);
  scene.cluster.forget();

  for (const { name, raw, code } of REQUESTS) {
    await t.step(`${name}: ${code}`, async () => {
      const answer = await exchange(port, raw);
      assert.equal(answer.slice(0, 12), `HTTP/1.1 ${code}`, answer);
      assert.ok(!["\x1b", "alice", "elsewhere"].some((word) => answer.includes(word)), answer);
      assert.deepEqual([scene.cluster.reviewed, scene.cluster.sessions], [[], []]);
    });
  }

  for (
    const { name, first, isCutOff = false } of [
      { name: "say nothing", first: "" },
      { name: "stop in the middle of a header", first: "GET /metrics HTTP/1.1\r\nHo", isCutOff: true },
      { name: "ask for all metrics and read nothing", first: get("/metrics").replace("close", "keep-alive") },
    ]
  ) {
    await t.step(`500 connections that ${name} keep out no probe from elsewhere`, async () => {
      const before = await scene.residentBytes();
      await using flood = await Flood.begin(port, 500, new TextEncoder().encode(first));
      await flood.untilAtMost(SHARE, 60_000);
      assert.match(await exchange(port, get("/healthz")), /^HTTP\/1\.1 200 /);
      assert.ok(await scene.residentBytes() - before < 64 << 20);
      await scene.isWell();
      if (isCutOff) await flood.untilAtMost(0, 60_000);
    });
  }
});

/** It is told right after the port that clients use. */
async function adminPort(scene: HostileScene): Promise<number> {
  for (const deadline = performance.now() + 20_000;;) {
    const [, port] = /"the admin port listens".*?"port":(\d+)/.exec(await scene.log()) ?? [];
    if (port !== undefined) return Number(port);
    assert.ok(performance.now() < deadline, "the admin port does not listen");
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** Sends these bytes, of a character each, and reads to the end. */
async function exchange(port: number, raw: string): Promise<string> {
  const socket = connect({ host: "127.0.0.1", port });
  let answer = "";
  socket.on("data", (bytes) => answer += bytes.toString("latin1"));
  socket.on("error", () => {}); // who is refused before all was sent may be reset
  const closed = new Promise((resolve) => socket.once("close", resolve));
  socket.write(raw, "latin1");
  await closed;
  return answer;
}
