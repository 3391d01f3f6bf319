/** Requests that are meant to be understood in two ways: each has one outcome, and the gateway serves on. */

import assert from "node:assert/strict";
import { ALICE, HostileScene, readAnswer, requestText, SPDY } from "./support/hostile_scene.ts";

const suite = { sanitizeOps: true, sanitizeResources: true };

const HOST = ["Host: gateway"];
const EXEC = "/api/v1/namespaces/default/pods/shell/exec";
const ONE = `${EXEC}?command=id&stdout=1&container=main`;
const V4 = "X-Stream-Protocol-Version: v4.channel.k8s.io";
const WEBSOCKET = [
  "Connection: Upgrade",
  "Upgrade: websocket",
  "Sec-WebSocket-Version: 13",
  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
];

const post = (target: string, lines: readonly string[] = SPDY) =>
  requestText(`POST ${target}`, [...ALICE, ...lines]);
const chunked = (body: string) =>
  requestText("POST /api", [...ALICE, "Connection: close", "Transfer-Encoding: chunked"], body);

/** An attack, and what becomes of it. */
interface Attack {
  name: string;
  raw: string;
  /** Status of the answer. */
  code: number;
  /** What the kubelet was asked for behind the pod; absent: nothing. */
  session?: string;
  /** What the API server was asked for in the client's name; absent: nothing. */
  passedOn?: string;
}

const QUERIES: readonly Attack[] = [
  {
    name: "two containers: the first counts, as at the API server, and no other is opened",
    raw: post(`${EXEC}?command=id&stdout=1&container=main&container=other`),
    code: 101,
    session: "/main?command=id&output=1",
  },
  {
    name: "two containers, the first by an escaped name",
    raw: post(`${EXEC}?command=id&stdout=1&c%6fntainer=main&container=other`),
    code: 101,
    session: "/main?command=id&output=1",
  },
  {
    name: "an empty container before another is none",
    raw: post(`${EXEC}?command=id&stdout=1&container=&container=other`),
    code: 400,
  },
  {
    name: "a container in capitals is none",
    raw: post(`${EXEC}?command=id&stdout=1&Container=main`),
    code: 400,
  },
  {
    name: "a container that climbs",
    raw: post(`${EXEC}?command=id&stdout=1&container=..%2f..%2frun%2fdefault%2fother`),
    code: 400,
  },
  {
    name: "a container with a second request in it",
    raw: post(`${EXEC}?command=id&stdout=1&container=main%0d%0aX-A:%20b`),
    code: 400,
  },
  { name: "a second question mark is part of a value", raw: post(`${ONE}?container=other`), code: 400 },
  {
    name: "a terminal twice: the first counts",
    raw: post(`${ONE}&tty=true&tty=false`),
    code: 101,
    session: "/main?command=id&output=1&tty=1",
  },
  {
    name: "parameters that only a kubelet knows are not handed on",
    raw: post(`${ONE}&input=1&uid=x&foo=bar`),
    code: 101,
    session: "/main?command=id&output=1",
  },
  {
    name: "line breaks and NUL in a command stay in their word",
    raw: post(`${ONE}&command=a%0d%0aX-A:%20b%00`),
    code: 101,
    session: "/main?command=id&command=a%0D%0AX-A%3A+b%00&output=1",
  },
  {
    name: "empty parameters are none",
    raw: post(`${EXEC}?=x&&&command=id&stdout=1&container=main&=`),
    code: 101,
    session: "/main?command=id&output=1",
  },
  { name: "a semicolon between parameters", raw: post(`${ONE};command=x`), code: 400 },
  { name: "half a character", raw: post(`${ONE}&command=%ed%a0%80`), code: 400 },
  { name: "an escape that is none", raw: post(`${ONE}&command=%zz`), code: 400 },
  { name: "half a million parameters", raw: post(`${ONE}${"&a".repeat(500_000)}`), code: 400 },
  { name: "a megabyte of query", raw: post(`${ONE}&command=${"a".repeat(1 << 20)}`), code: 431 },
];

const UPGRADES: readonly Attack[] = [
  {
    name: "two Upgrade lines: the first counts",
    raw: post(ONE, ["Connection: Upgrade", "Upgrade: SPDY/3.1", "Upgrade: websocket", V4]),
    code: 101,
    session: "/main?command=id&output=1",
  },
  {
    name: "Connection in two lines",
    raw: post(ONE, ["Connection: keep-alive", "Connection: x, upgrade", "Upgrade: SPDY/3.1", V4]),
    code: 101,
    session: "/main?command=id&output=1",
  },
  { name: "no Connection", raw: post(ONE, ["Upgrade: SPDY/3.1", V4]), code: 400 },
  {
    name: "a Connection that only looks like an upgrade",
    raw: post(ONE, ["Connection: not-upgrade, upgrades", "Upgrade: SPDY/3.1", V4]),
    code: 400,
  },
  { name: "no Upgrade", raw: post(ONE, ["Connection: Upgrade", V4]), code: 400 },
  { name: "an empty Upgrade", raw: post(ONE, ["Connection: Upgrade", "Upgrade: ", V4]), code: 400 },
  {
    name: "HTTP/2 in clear text",
    raw: post(ONE, ["Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk"]),
    code: 400,
  },
  {
    name: "an upgrade to TLS of what is passed on",
    raw: requestText("GET /api", [...ALICE, "Connection: Upgrade", "Upgrade: TLS/1.0"]),
    code: 400,
  },
  {
    name: "a method that is overridden",
    raw: requestText(`DELETE ${ONE}`, [...ALICE, ...SPDY, "X-HTTP-Method-Override: POST"]),
    code: 405,
  },
  { name: "a body", raw: post(ONE, [...SPDY, "Content-Length: 3"]) + "abc", code: 400 },
  { name: "a length that two read differently", raw: post(ONE, [...SPDY, "Content-Length: +0"]), code: 400 },
];

const FRAMING: readonly Attack[] = [
  {
    name: "a length beyond any integer",
    raw: post("/api", ["Content-Length: 99999999999999999999999"]),
    code: 400,
  },
  { name: "a negative length", raw: post("/api", ["Content-Length: -1"]), code: 400 },
  { name: "a length in hexadecimal", raw: post("/api", ["Content-Length: 0x3"]), code: 400 },
  { name: "an empty length", raw: post("/api", ["Content-Length: "]), code: 400 },
  {
    name: "an encoding behind a vertical tab",
    raw: post("/api", ["Transfer-Encoding: \x0bchunked"]),
    code: 400,
  },
  { name: "an encoding in quotes", raw: post("/api", ['Transfer-Encoding: "chunked"']), code: 400 },
  { name: "an encoding that ends in NUL", raw: post("/api", ["Transfer-Encoding: chunked\0"]), code: 400 },
  { name: "a space in a header's name", raw: post("/api", ["X A: b"]), code: 400 },
  { name: "a header's name beyond ASCII", raw: post("/api", ["X\xe9: b"]), code: 400 },
  { name: "an escape of a terminal in a header", raw: post("/api", ["User-Agent: \x1b[31m"]), code: 400 },
  { name: "a first header that is folded", raw: "GET /api HTTP/1.1\r\n Host: gateway\r\n\r\n", code: 400 },
  { name: "tabs instead of spaces", raw: "GET\t/api\tHTTP/1.1\r\nHost: gateway\r\n\r\n", code: 400 },
  { name: "a method in small letters", raw: "get /api HTTP/1.1\r\nHost: gateway\r\n\r\n", code: 400 },
  { name: "http in small letters", raw: "GET /api http/1.1\r\nHost: gateway\r\n\r\n", code: 400 },
  {
    name: "two expectations",
    raw: post("/api", ["Expect: 100-continue", "Expect: 100-continue"]),
    code: 417,
  },
  {
    name: "more headers than anybody sends",
    raw: post("/api", Array.from({ length: 5000 }, (_, index) => `A${index}: b`)),
    code: 431,
  },
  {
    name: "a Connection that names the credential",
    raw: post("/api", ["Connection: close, Authorization"]),
    code: 400,
  },
  {
    name: "a request inside a body is a body",
    raw: requestText("POST /api", [...ALICE, "Content-Length: 24"], "DELETE /api HTTP/1.1\r\n\r\n"),
    code: 200,
    passedOn: "POST /api",
  },
  {
    name: "a credential in a trailer is none of the request's",
    raw: requestText(
      `POST ${ONE}`,
      [...HOST, "Transfer-Encoding: chunked", "Trailer: Authorization"],
      "0\r\nAuthorization: Bearer alices-token\r\n\r\n",
    ),
    code: 401,
  },
];

/** What is wrong comes after the headers: the request may have been passed on, and is cut off then. */
const BODIES = [
  { name: "a chunk of more than any memory", body: "fffffffffffffffff\r\nabc\r\n" },
  { name: "a negative chunk", body: "-3\r\nabc\r\n0\r\n\r\n" },
  { name: "a chunk in C's hexadecimal", body: "0x3\r\nabc\r\n0\r\n\r\n" },
  { name: "chunks with bare line feeds", body: "3\nabc\n0\n\n" },
  { name: "a chunk longer than it says", body: "3\r\nabcd\r\n0\r\n\r\n" },
];

const CREDENTIALS: readonly Attack[] = [
  {
    name: "a token of a megabyte, less what else must fit",
    raw: requestText(`POST ${ONE}`, [...HOST, `Authorization: Bearer ${"x".repeat(1_000_000)}`, ...SPDY]),
    code: 401,
  },
  {
    name: "a token of a megabyte as a subprotocol",
    raw: requestText(`GET ${ONE}`, [
      ...HOST,
      ...WEBSOCKET,
      `Sec-WebSocket-Protocol: base64url.bearer.authorization.k8s.io.${
        "eHh4".repeat(250_000)
      }, v4.channel.k8s.io`,
    ]),
    code: 401,
  },
  {
    name: "a token of more than a megabyte",
    raw: requestText(`POST ${ONE}`, [...HOST, `Authorization: Bearer ${"x".repeat(1 << 20)}`, ...SPDY]),
    code: 431,
  },
  {
    name: "a token that is no text",
    raw: requestText(`POST ${ONE}`, [...HOST, "Authorization: Bearer \xff\xfe", ...SPDY]),
    code: 401,
  },
  {
    name: "a token in a cookie",
    raw: requestText(`GET ${ONE}`, [
      ...HOST,
      "Cookie: token=alices-token; Authorization=alices-token",
      ...WEBSOCKET,
    ]),
    code: 401,
  },
  {
    name: "a token in the query",
    raw: requestText(`GET ${ONE}&access_token=alices-token&token=alices-token`, [...HOST, ...WEBSOCKET]),
    code: 401,
  },
];

const GROUPS = [
  { what: "a query", attacks: QUERIES },
  { what: "an upgrade", attacks: UPGRADES },
  { what: "the framing", attacks: FRAMING },
  { what: "a credential", attacks: CREDENTIALS },
];

Deno.test(
  "a request that could be understood in two ways has one outcome, and harms nobody",
  suite,
  async (t) => {
    await using scene = await HostileScene.start();
    const { cluster } = scene;
    await scene.isWell();
    for (const { what, attacks } of GROUPS) {
      for (const { name, raw, code, session, passedOn } of attacks) {
        await t.step(`${what}: ${name}`, async () => {
          cluster.forget();
          const answer = await scene.exchange(raw);
          assert.equal(answer.code, code, answer.body);
          assert.deepEqual(
            cluster.sessions,
            session === undefined ? [] : [`/exec/default/shell/uid-of-shell${session}`],
          );
          assert.deepEqual(cluster.passedOn, passedOn === undefined ? [] : [passedOn]);
          if (what === "a credential") assert.deepEqual(cluster.reviewed, [], "a review was asked for");
          if (code >= 400) {
            const { kind, message } = statusOf(answer.body);
            assert.equal(kind, "Status");
            // Wherever it was refused, it is written down in the same words.
            await scene.eventOf(({ responseStatus }) => responseStatus?.message === message);
          }
          await scene.isWell();
        });
      }
    }
    for (const { name, body } of BODIES) {
      await t.step(`a body: ${name}`, async () => {
        assert.equal((await scene.exchange(chunked(body))).code, 400);
        await scene.isWell();
      });
    }
    await t.step(
      "what is no UTF-8 in a header is passed on byte for byte, and written down as text",
      async () => {
        const userAgent = "caf\xe9 \xff";
        assert.equal((await scene.exchange(post(ONE, [...SPDY, `User-Agent: ${userAgent}`]))).code, 101);
        await scene.eventOf((event) => event.userAgent === userAgent);
      },
    );
    await t.step(
      "requests sent ahead of each other are answered in order, and an upgrade among them not at all",
      async () => {
        cluster.forget();
        using client = await scene.connect();
        await client.send(post("/api", []) + post("/apis", []) + post(ONE));
        const answers = [await readAnswer(client), await readAnswer(client)];
        assert.ok(answers.every(({ code }) => code === 200 || code === 0), JSON.stringify(answers));
        await client.readAll().catch(() => {});
        assert.deepEqual(cluster.sessions, []);
      },
    );
    await t.step("half a request behind an answered one starts no request", async () => {
      cluster.forget();
      using client = await scene.connect();
      await client.send(post("/api", ["Content-Length: 0"]) + `POST ${ONE} HTTP/1.1\r\nX-A: `);
      assert.equal((await readAnswer(client)).code, 200);
      await client.send(post("/version", ["Connection: close"]));
      await client.readAll();
      // What was sent as a second request is the value of a header in the half one, which has no credential before it.
      assert.deepEqual([cluster.passedOn, cluster.sessions], [["POST /api"], []]);
    });
    await scene.isWell();
  },
);

function statusOf(body: string): { kind?: string; message?: string } {
  return body.startsWith("{") ? JSON.parse(body) : { kind: "Status", message: body.trim() };
}
