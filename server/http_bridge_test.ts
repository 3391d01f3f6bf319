import assert from "node:assert/strict";
import { Refusal } from "../kube/status.ts";
import type { Handler, RequestContext } from "../routes/handler.ts";
import { TestFront } from "./test_front.ts";

const suite = { sanitizeOps: true, sanitizeResources: true };

const HOST = "Host: gateway\r\n";
const CLOSE = `${HOST}Connection: close\r\n`;
const UPGRADE = `${HOST}Connection: Upgrade\r\nUpgrade: SPDY/3.1\r\n`;

/** Tells what it was asked. */
const echo: Handler = async (request, { rawTarget }) =>
  new Response(`${request.method} ${rawTarget} [${request.body === null ? "-" : await request.text()}]`);

/** Must not be reached. */
const unreachable: Handler = () => Promise.reject(new Error("the handler was asked"));

/** Status code and body of the first answer in a text. */
function parse(answer: string): { code: number; head: string; body: string } {
  const end = answer.indexOf("\r\n\r\n");
  return { code: Number(answer.slice(9, 12)), head: answer.slice(0, end), body: answer.slice(end + 4) };
}

const REFUSED = [
  // Two lengths: a front and its backend that believe different ones see different requests (smuggling).
  {
    name: "Content-Length with Transfer-Encoding",
    code: 400,
    raw: `POST / HTTP/1.1\r\n${HOST}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
  },
  {
    name: "Transfer-Encoding with Content-Length",
    code: 400,
    raw: `POST / HTTP/1.1\r\n${HOST}Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n`,
  },
  {
    name: "two Content-Lengths",
    code: 400,
    raw: `POST / HTTP/1.1\r\n${HOST}Content-Length: 1\r\nContent-Length: 1\r\n\r\na`,
  },
  {
    name: "a list as Content-Length",
    code: 400,
    raw: `POST / HTTP/1.1\r\n${HOST}Content-Length: 1, 1\r\n\r\na`,
  },
  {
    name: "a signed Content-Length",
    code: 400,
    raw: `POST / HTTP/1.1\r\n${HOST}Content-Length: +1\r\n\r\na`,
  },
  {
    name: "a transfer encoding besides chunked",
    code: 400,
    raw: `POST / HTTP/1.1\r\n${HOST}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n`,
  },
  {
    name: "a transfer encoding after chunked",
    code: 400,
    raw: `POST / HTTP/1.1\r\n${HOST}Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n`,
  },
  {
    name: "an unknown transfer encoding",
    code: 400,
    raw: `POST / HTTP/1.1\r\n${HOST}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n`,
  },
  {
    name: "Transfer-Encoding before a space",
    code: 400,
    raw: `POST / HTTP/1.1\r\n${HOST}Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n`,
  },
  {
    name: "Transfer-Encoding in HTTP/1.0",
    code: 400,
    raw: `POST / HTTP/1.0\r\n${HOST}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
  },
  { name: "a folded header", code: 400, raw: `GET / HTTP/1.1\r\n${HOST}A: b\r\n c\r\n\r\n` },
  { name: "bare line feeds", code: 400, raw: "GET / HTTP/1.1\nHost: gateway\n\n" },
  {
    name: "a bare line feed after a header",
    code: 400,
    raw: "GET / HTTP/1.1\r\nHost: gateway\nA: b\r\n\r\n",
  },
  { name: "a bare carriage return", code: 400, raw: "GET / HTTP/1.1\r\nHost: gateway\rA: b\r\n\r\n" },
  { name: "a NUL in a header", code: 400, raw: `GET / HTTP/1.1\r\n${HOST}A: b\0c\r\n\r\n` },
  { name: "a header without a name", code: 400, raw: `GET / HTTP/1.1\r\n${HOST}: b\r\n\r\n` },
  { name: "a header without a colon", code: 400, raw: `GET / HTTP/1.1\r\n${HOST}b\r\n\r\n` },
  { name: "no Host", code: 400, raw: "GET / HTTP/1.1\r\n\r\n" },
  { name: "two Hosts", code: 400, raw: `GET / HTTP/1.1\r\n${HOST}${HOST}\r\n` },
  {
    name: "a target in absolute form",
    code: 400,
    raw: `GET https://elsewhere/api HTTP/1.1\r\n${HOST}\r\n`,
  },
  { name: "an asterisk as target", code: 400, raw: `OPTIONS * HTTP/1.1\r\n${HOST}\r\n` },
  { name: "a relative target", code: 400, raw: `GET api HTTP/1.1\r\n${HOST}\r\n` },
  { name: "a space in the target", code: 400, raw: `GET /a b HTTP/1.1\r\n${HOST}\r\n` },
  { name: "a byte above ASCII in the target", code: 400, raw: `GET /\xe9 HTTP/1.1\r\n${HOST}\r\n` },
  { name: "HTTP/0.9", code: 400, raw: "GET /\r\n\r\n" },
  { name: "HTTP/1.2", code: 400, raw: `GET / HTTP/1.2\r\n${HOST}\r\n` },
  { name: "the preface of HTTP/2", code: 400, raw: "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" },
  { name: "an unknown method", code: 400, raw: `FETCH / HTTP/1.1\r\n${HOST}\r\n` },
  { name: "CONNECT", code: 405, raw: "CONNECT elsewhere:443 HTTP/1.1\r\nHost: elsewhere:443\r\n\r\n" },
  { name: "TRACE", code: 405, raw: `TRACE / HTTP/1.1\r\n${HOST}\r\n` },
  { name: "PROPFIND", code: 405, raw: `PROPFIND / HTTP/1.1\r\n${HOST}\r\n` },
  { name: "a GET with a body", code: 400, raw: `GET / HTTP/1.1\r\n${HOST}Content-Length: 1\r\n\r\na` },
  {
    name: "an expectation that is not 100-continue",
    code: 417,
    raw: `POST / HTTP/1.1\r\n${HOST}Expect: fame\r\nContent-Length: 1\r\n\r\na`,
  },
  {
    name: "an upgrade with a body",
    code: 400,
    raw: `POST / HTTP/1.1\r\n${UPGRADE}Content-Length: 3\r\n\r\nabc`,
  },
  {
    name: "an upgrade with a chunked body",
    code: 400,
    raw: `POST / HTTP/1.1\r\n${UPGRADE}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
  },
  {
    name: "an upgrade with both lengths",
    code: 400,
    raw: `POST / HTTP/1.1\r\n${UPGRADE}Transfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n`,
  },
  {
    name: "a Connection that names the credential",
    code: 400,
    raw: `GET / HTTP/1.1\r\n${HOST}Connection: close, Authorization\r\n\r\n`,
  },
  {
    name: "a second Connection that names an impersonation",
    code: 400,
    raw: `GET / HTTP/1.1\r\n${HOST}Connection: close\r\nconnection:x,IMPERSONATE-Extra-a\r\n\r\n`,
  },
  { name: "an upgrade of HTTP/1.0", code: 400, raw: `GET / HTTP/1.0\r\n${UPGRADE}\r\n` },
  { name: "an upgrade to an absolute target", code: 400, raw: `GET https://x/ HTTP/1.1\r\n${UPGRADE}\r\n` },
  {
    name: "headers beyond the bound",
    code: 431,
    raw: `GET / HTTP/1.1\r\n${HOST}A: ${"a".repeat(5000)}\r\n\r\n`,
  },
  { name: "a target beyond the bound", code: 431, raw: `GET /${"a".repeat(5000)} HTTP/1.1\r\n${HOST}\r\n` },
];
Deno.test("HttpBridge refuses with a Status, tells, and never asks the handler", suite, async (t) => {
  await using front = await TestFront.start(unreachable, { maxHeaderBytes: 4096 });
  for (const { name, code, raw } of REFUSED) {
    await t.step(name, async () => {
      front.badRequests.length = 0;
      const answer = parse(await front.exchange(raw));
      assert.equal(answer.code, code, answer.head);
      assert.match(answer.head, /\r\nconnection: close(\r\n|$)/i);
      const status = JSON.parse(answer.body);
      assert.deepEqual([status.kind, status.status, status.code], ["Status", "Failure", code]);
      const [told] = front.badRequests;
      assert.equal(front.badRequests.length, 1);
      assert.deepEqual([told?.code, told?.reason], [code, status.message]);
      assert.equal(told?.remoteAddress, "127.0.0.1");
    });
  }
  assert.deepEqual(front.reports, []);
});

const SERVED = [
  {
    name: "a path as it stands",
    raw: `GET //a/../b%2f?x=%zz HTTP/1.1\r\n${CLOSE}\r\n`,
    body: "GET //a/../b%2f?x=%zz [-]",
  },
  {
    name: "Content-Length: 0",
    raw: `POST / HTTP/1.1\r\n${CLOSE}Content-Length: 0\r\n\r\n`,
    body: "POST / [-]",
  },
  {
    name: "a body with a length",
    raw: `PUT / HTTP/1.1\r\n${CLOSE}Content-Length: 3\r\n\r\nabc`,
    body: "PUT / [abc]",
  },
  {
    name: "a body in chunks, with extensions and trailers dropped",
    raw:
      `PATCH / HTTP/1.1\r\n${CLOSE}Transfer-Encoding: Chunked\r\n\r\n1;x=y\r\na\r\n2\r\nbc\r\n0\r\nT: 1\r\n\r\n`,
    body: "PATCH / [abc]",
  },
  { name: "HTTP/1.0 without Host", raw: "GET /old HTTP/1.0\r\n\r\n", body: "GET /old [-]" },
  {
    name: "HTTP/1.0 that would stay",
    raw: "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    body: "GET / [-]",
  },
  {
    name: "an Upgrade header without Connection",
    raw: `GET / HTTP/1.1\r\n${CLOSE}Upgrade: h2c\r\n\r\n`,
    body: "GET / [-]",
  },
  { name: "empty lines first", raw: `\r\n\r\nGET / HTTP/1.1\r\n${CLOSE}\r\n`, body: "GET / [-]" },
];
Deno.test("HttpBridge hands over", suite, async (t) => {
  await using front = await TestFront.start(echo);
  for (const { name, raw, body } of SERVED) {
    await t.step(name, async () => {
      const answer = parse(await front.exchange(raw));
      assert.deepEqual([answer.code, answer.body], [200, body]);
    });
  }
});

Deno.test(
  "HttpBridge tells the handler all header lines as they came, and who sent them",
  suite,
  async () => {
    let seen: RequestContext | undefined;
    await using front = await TestFront.start((_request, context) => {
      seen = context;
      return Promise.resolve(new Response(null));
    });
    using client = await front.connect();
    await client.send(`GET /x HTTP/1.1\r\nHost: a\r\nX-Two: 1\r\nx-tWO: 2\r\nConnection: close\r\n\r\n`);
    await client.readAll();
    assert.deepEqual(seen?.rawHeaders, [["Host", "a"], ["X-Two", "1"], ["x-tWO", "2"], [
      "Connection",
      "close",
    ]]);
    assert.equal(seen?.rawTarget, "/x");
    assert.equal(seen?.remoteAddress, "127.0.0.1");
    assert.equal(seen?.remotePort, client.connection.localAddr.port);
    assert.equal(seen?.upgrade, undefined);
  },
);

Deno.test("HttpBridge drops no header: one unseen would be one unjudged", suite, async () => {
  await using front = await TestFront.start((_request, { rawHeaders }) =>
    Promise.resolve(new Response(`${rawHeaders.length} ${rawHeaders.at(-1)?.[0]}`))
  );
  const many = Array.from({ length: 253 }, (_, index) => `A${index}: b\r\n`).join("");
  assert.equal(
    parse(await front.exchange(`GET / HTTP/1.1\r\n${CLOSE}${many}Last: 1\r\n\r\n`)).body,
    "256 Last",
  );
});

Deno.test(
  "HttpBridge answers a body that is malformed further down, where the handler has not",
  suite,
  async () => {
    await using front = await TestFront.start(async (request) => {
      await request.text().catch(() => {});
      await new Promise((resolve) => setTimeout(resolve, 20));
      return new Response("never sent");
    });
    const raw = `POST / HTTP/1.1\r\n${HOST}Transfer-Encoding: chunked\r\n\r\nno size\r\n`;
    const answer = await front.exchange(raw);
    assert.equal(parse(answer).code, 400);
    assert.doesNotMatch(answer, /never sent/);
  },
);

Deno.test(
  "HttpBridge does not take the fault of a second request for an answer to the first",
  suite,
  async () => {
    await using front = await TestFront.start(async () => {
      await new Promise((resolve) => setTimeout(resolve, 20));
      return new Response("first");
    });
    const answer = await front.exchange(`GET / HTTP/1.1\r\n${HOST}\r\nno request\r\n\r\n`).catch(() => "");
    assert.equal(answer, "");
    assert.equal(front.badRequests.length, 1);
  },
);

Deno.test("HttpBridge waits with 100 Continue until the handler reads the body", suite, async () => {
  const reading = Promise.withResolvers<void>();
  await using front = await TestFront.start(async (request) => {
    await reading.promise;
    return new Response(await request.text());
  });
  using client = await front.connect();
  await client.send(`POST / HTTP/1.1\r\n${CLOSE}Expect: 100-continue\r\nContent-Length: 2\r\n\r\n`);
  reading.resolve();
  assert.equal(await client.readUntil("\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
  await client.send("ok");
  assert.equal(parse(await client.readAll()).body, "ok");
});

Deno.test(
  "HttpBridge refuses a body that is waiting for 100 Continue without asking for it",
  suite,
  async () => {
    await using front = await TestFront.start(() => Promise.resolve(new Response("no", { status: 401 })));
    const answer = parse(
      await front.exchange(`POST / HTTP/1.1\r\n${HOST}Expect: 100-continue\r\nContent-Length: 2\r\n\r\n`),
    );
    assert.deepEqual([answer.code, answer.body], [401, "no"]);
    assert.match(answer.head, /connection: close/i);
  },
);

Deno.test("HttpBridge answers before the body is there, and the client can read that", suite, async () => {
  await using front = await TestFront.start(() =>
    Promise.resolve(new Response("too large", { status: 413 }))
  );
  using client = await front.connect();
  await client.send(`POST / HTTP/1.1\r\n${HOST}Content-Length: 9999999\r\n\r\n${"a".repeat(200_000)}`);
  assert.deepEqual(parse(await client.readAll()).body, "too large");
});

Deno.test("HttpBridge passes response headers on, but for those of the connection", suite, async () => {
  const headers: [string, string][] = [
    ["Set-Cookie", "a=1"],
    ["Set-Cookie", "b=2"],
    ["Audit-Id", "1234"],
    ["Warning", '299 - "one"'],
    ["Warning", '299 - "two"'],
    ["Connection", "X-Secret"],
    ["Transfer-Encoding", "gzip"],
    ["Date", "then"],
  ];
  await using front = await TestFront.start(() => Promise.resolve(new Response("x", { headers })));
  const { head } = parse(await front.exchange(`GET / HTTP/1.1\r\n${CLOSE}\r\n`));
  for (
    const line of ["set-cookie: a=1", "set-cookie: b=2", "audit-id: 1234", "date: then", "Connection: close"]
  ) {
    assert.ok(head.split("\r\n").includes(line), `${line} in ${head}`);
  }
  assert.match(head, /warning: 299 - "one", 299 - "two"\r\n/);
  assert.doesNotMatch(head, /transfer-encoding|secret/i);
});

const EMPTY = [
  {
    name: "HEAD",
    method: "HEAD",
    response: () => new Response("abc", { headers: { "Content-Length": "3" } }),
    length: "3",
  },
  { name: "204", method: "GET", response: () => new Response(null, { status: 204 }), length: undefined },
  { name: "304", method: "GET", response: () => new Response(null, { status: 304 }), length: undefined },
  { name: "a null body", method: "GET", response: () => new Response(null), length: "0" },
];
for (const { name, method, response, length } of EMPTY) {
  Deno.test(`HttpBridge sends no body for ${name}`, suite, async () => {
    await using front = await TestFront.start(() => Promise.resolve(response()));
    const { head, body } = parse(await front.exchange(`${method} / HTTP/1.1\r\n${CLOSE}\r\n`));
    assert.equal(body, "");
    assert.equal(/content-length: (\d+)/i.exec(head)?.[1], length);
    assert.doesNotMatch(head, /transfer-encoding/i);
  });
}

Deno.test(
  "HttpBridge keeps a connection for the next request, and answers requests sent ahead in order",
  suite,
  async () => {
    await using front = await TestFront.start(async (_request, { rawTarget }) => {
      if (rawTarget === "/slow") await new Promise((resolve) => setTimeout(resolve, 30));
      return new Response(rawTarget);
    });
    const answers = await front.exchange(
      `GET /slow HTTP/1.1\r\n${HOST}\r\nGET /fast HTTP/1.1\r\n${HOST}\r\nGET /last HTTP/1.1\r\n${CLOSE}\r\n`,
    );
    assert.deepEqual(answers.match(/\/(slow|fast|last)/g), ["/slow", "/fast", "/last"]);
  },
);

Deno.test("HttpBridge gives a client up that sends hundreds of requests ahead", suite, async () => {
  let asked = 0;
  await using front = await TestFront.start(async () => {
    asked++;
    await new Promise((resolve) => setTimeout(resolve, 20));
    return new Response("x");
  });
  await front.exchange(`GET / HTTP/1.1\r\n${HOST}\r\n`.repeat(300)).catch(() => {});
  assert.ok(asked <= 1, `${asked} were asked`);
  assert.equal(front.badRequests[0]?.reason, "too many requests were sent ahead");
});

Deno.test(
  "HttpBridge refuses large headers without an end for which there is no room, and serves others",
  suite,
  async (t) => {
    const maxHeldHeaderBytes = 200_000;
    await using front = await TestFront.start(echo, { maxHeldHeaderBytes });
    const large = `GET / HTTP/1.1\r\n${HOST}A: ${"a".repeat(100_000)}`;
    using first = await front.connect();
    using second = await front.connect();
    for (const client of [first, second]) await client.send(large);
    await t.step("a third one is told to come again", async () => {
      using third = await front.connect();
      await third.send(large);
      const { code, head, body } = parse(await third.readAll());
      assert.deepEqual([code, JSON.parse(body).reason], [503, "ServiceUnavailable"]);
      assert.match(head, /\r\nRetry-After: 1(\r\n|$)/);
    });
    await t.step("a request of the usual size is served", async () => {
      assert.match(await front.exchange(`GET /usual HTTP/1.1\r\n${CLOSE}\r\n`), /GET \/usual/);
    });
    await t.step("room that is free again is given again, even on the same connection", async () => {
      for (let round = 0; round < 3; round++) {
        await first.send("\r\n\r\n");
        await first.readUntil("GET / [-]");
        await first.send(large);
      }
    });
    await t.step("room is free when a client has gone", async () => {
      first[Symbol.dispose]();
      const served = async () => parse(await front.exchange(`${large}\r\nConnection: close\r\n\r\n`)).code;
      for (const deadline = performance.now() + 2000; await served() !== 200;) {
        assert.ok(performance.now() < deadline);
      }
    });
  },
);

Deno.test("HttpBridge counts the large headers of a session until it ends", suite, async () => {
  await using front = await TestFront.start(
    (_request, { upgrade }) =>
      Promise.resolve(upgrade!.accept([["Upgrade", "x"]], async (client) => {
        while (await client.read().catch(() => null) !== null) { /* until the client goes */ }
      })),
    { maxHeldHeaderBytes: 200_000 },
  );
  const open = async () => {
    const client = await front.connect();
    await client.send(`GET / HTTP/1.1\r\n${UPGRADE}A: ${"a".repeat(100_000)}\r\n\r\n`);
    return { client, code: Number((await client.readUntil("\r\n\r\n")).slice(9, 12)) };
  };
  const sessions = [await open(), await open(), await open()];
  assert.deepEqual(sessions.map(({ code }) => code), [101, 101, 503]);
  for (const { client } of sessions) client[Symbol.dispose]();
  while (front.server.connections > 0) await new Promise((resolve) => setTimeout(resolve, 5));
  const again = await open();
  assert.equal(again.code, 101);
  again.client[Symbol.dispose]();
});

Deno.test(
  "HttpBridge leaves requests that were sent ahead where they are, until it is their turn",
  suite,
  async () => {
    const answer = Promise.withResolvers<void>();
    let asked = 0;
    await using front = await TestFront.start(async () => {
      if (++asked === 1) await answer.promise;
      return new Response("x");
    });
    using client = await front.connect();
    await client.send(`GET / HTTP/1.1\r\n${HOST}\r\n`);
    let sent = 0;
    const next = `GET /${"a".repeat(900_000)} HTTP/1.1\r\n${HOST}\r\n`;
    const sending = (async () => {
      for (; sent < 12; sent++) await client.send(next);
    })();
    await stalls(() => sent + 1, 12);
    answer.resolve();
    for (let answered = 0; answered < 13; answered++) await client.readUntil("\r\n\r\nx");
    await sending;
    assert.equal(asked, 13);
  },
);

Deno.test("HttpBridge answers no upgrade that was sent ahead of another answer", suite, async () => {
  await using front = await TestFront.start(async (_request, { upgrade }) => {
    assert.equal(upgrade, undefined);
    await new Promise((resolve) => setTimeout(resolve, 20));
    return new Response("x");
  });
  await front.exchange(`GET / HTTP/1.1\r\n${HOST}\r\nGET /exec HTTP/1.1\r\n${UPGRADE}\r\n`).catch(() => {});
  assert.match(front.badRequests[0]?.reason ?? "", /upgrade was sent ahead/);
});

Deno.test("HttpBridge closes a connection after the last request that it may carry", suite, async () => {
  let asked = 0;
  await using front = await TestFront.start(() => Promise.resolve(new Response(`${++asked}`)), {
    maxRequestsPerConnection: 2,
  });
  const answers = await front.exchange(`GET / HTTP/1.1\r\n${HOST}\r\n`.repeat(3));
  assert.equal(answers.match(/HTTP\/1\.1 200/g)?.length, 2);
  assert.equal(asked, 2, "what is not answered must have no effect");
});

Deno.test(
  "HttpBridge answers 408 where headers take too long, and does not wait for a client that says nothing",
  suite,
  async (t) => {
    await using front = await TestFront.start(echo, { headerTimeoutSeconds: 0.1 });
    await t.step("headers byte by byte", async () => {
      using client = await front.connect();
      await client.send("GET / HTTP/1.1\r\n");
      const dripping = setInterval(() => void client.send("a").catch(() => {}), 20);
      try {
        assert.equal(parse(await client.readAll()).code, 408);
      } finally {
        clearInterval(dripping);
      }
    });
    await t.step("nothing at all", async () => {
      using client = await front.connect();
      assert.equal(await client.readAll(), "");
    });
  },
);

Deno.test(
  "HttpBridge closes a connection that is idle, but not one that waits for its answer",
  suite,
  async () => {
    await using front = await TestFront.start(async () => {
      await new Promise((resolve) => setTimeout(resolve, 250));
      return new Response("late");
    }, { idleTimeoutSeconds: 0.1 });
    using client = await front.connect();
    await client.send(`GET / HTTP/1.1\r\n${HOST}\r\n`);
    await client.readUntil("late");
    const start = performance.now();
    assert.equal(await client.readAll(), "");
    assert.ok(performance.now() - start < 2000);
  },
);

Deno.test("HttpBridge gives a body up that stops coming", suite, async () => {
  const cut = Promise.withResolvers<unknown>();
  await using front = await TestFront.start(async (request) => {
    await request.text().catch(cut.resolve);
    return new Response();
  }, { idleTimeoutSeconds: 0.1 });
  using client = await front.connect();
  await client.send(`POST / HTTP/1.1\r\n${HOST}Content-Length: 10\r\n\r\nabc`);
  assert.match(String(await cut.promise), /cut off|abort/);
});

Deno.test("HttpBridge answers 500 without a word of what was thrown", suite, async () => {
  await using front = await TestFront.start(() => Promise.reject(new Error("token=secret")));
  const { code, body } = parse(await front.exchange(`GET / HTTP/1.1\r\n${CLOSE}\r\n`));
  assert.equal(code, 500);
  assert.equal(JSON.parse(body).message, "internal error");
  assert.deepEqual(front.reports, ["a handler failed"]);
});

Deno.test("HttpBridge answers a refusal that a handler let through", suite, async () => {
  await using front = await TestFront.start(() => Promise.reject(new Refusal("Forbidden", "not you")));
  const { code, body } = parse(await front.exchange(`GET / HTTP/1.1\r\n${CLOSE}\r\n`));
  assert.deepEqual([code, JSON.parse(body).message], [403, "not you"]);
});

Deno.test("HttpBridge sends the headers of a watch at once, and each event as it comes", suite, async () => {
  let controller!: ReadableStreamDefaultController<Uint8Array>;
  const body = new ReadableStream<Uint8Array>({ start: (given) => void (controller = given) });
  await using front = await TestFront.start(() => Promise.resolve(new Response(body)));
  using client = await front.connect();
  await client.send(`GET /watch HTTP/1.1\r\n${CLOSE}\r\n`);
  assert.match(await client.readUntil("\r\n\r\n"), /transfer-encoding: chunked/i);
  for (const event of ["ADDED\n", "DELETED\n"]) {
    controller.enqueue(new TextEncoder().encode(event));
    await client.readUntil(event);
  }
  controller.close();
  assert.match(await client.readAll(), /0\r\n\r\n$/);
});

Deno.test("HttpBridge aborts the request and cancels the body when the client goes", suite, async () => {
  const cancelled = Promise.withResolvers<void>();
  const signals: AbortSignal[] = [];
  await using front = await TestFront.start((request, { signal }) => {
    signals.push(request.signal, signal);
    return Promise.resolve(new Response(new ReadableStream({ cancel: () => cancelled.resolve() })));
  });
  {
    using client = await front.connect();
    await client.send(`GET /watch HTTP/1.1\r\n${HOST}\r\n`);
    await client.readUntil("\r\n\r\n");
  }
  await cancelled.promise;
  assert.deepEqual(signals.map(({ aborted }) => aborted), [true, true]);
});

Deno.test("HttpBridge aborts the request of a client that goes before the answer", suite, async () => {
  const aborted = Promise.withResolvers<void>();
  await using front = await TestFront.start(async (_request, { signal }) => {
    await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve()));
    aborted.resolve();
    return new Response();
  });
  {
    using client = await front.connect();
    await client.send(`GET / HTTP/1.1\r\n${HOST}\r\n`);
    await new Promise((resolve) => setTimeout(resolve, 30));
  }
  await aborted.promise;
});

const BROKEN = [
  {
    name: "fails",
    length: undefined,
    start: (c: ReadableStreamDefaultController) => c.error(new Error("lost")),
  },
  {
    name: "is longer than its Content-Length",
    length: "3",
    start: (c: ReadableStreamDefaultController) => c.close(),
  },
  {
    name: "is shorter than its Content-Length",
    length: "99",
    start: (c: ReadableStreamDefaultController) => c.close(),
  },
];
for (const { name, length, start } of BROKEN) {
  Deno.test(`HttpBridge closes the connection without a proper end when a body ${name}`, suite, async () => {
    let pulls = 0;
    const body = new ReadableStream<Uint8Array>({
      pull(controller) {
        if (pulls++ > 0) start(controller);
        else controller.enqueue(new TextEncoder().encode("partial"));
      },
    }, { highWaterMark: 0 });
    const headers = length === undefined ? undefined : { "Content-Length": length };
    await using front = await TestFront.start(() => Promise.resolve(new Response(body, { headers })));
    const answer = await front.exchange(`GET / HTTP/1.1\r\n${HOST}\r\n`).catch(() => "");
    assert.doesNotMatch(answer, /0\r\n\r\n$/);
    assert.ok(front.reports.includes("an answer broke off"));
  });
}

Deno.test("HttpBridge reads no more of a body than the client takes", suite, async () => {
  let produced = 0;
  const body = new ReadableStream<Uint8Array>({
    pull(controller) {
      produced += 65536;
      controller.enqueue(new Uint8Array(65536));
    },
  });
  await using front = await TestFront.start(() => Promise.resolve(new Response(body)));
  using client = await front.connect();
  await client.send(`GET / HTTP/1.1\r\n${HOST}\r\n`);
  await stalls(() => produced, 16 << 20);
});

Deno.test("HttpBridge reads no more of a request's body than the handler takes", suite, async () => {
  const done = Promise.withResolvers<Response>();
  await using front = await TestFront.start(() => done.promise);
  using client = await front.connect();
  let sent = 0;
  const sending = (async () => {
    await client.send(`POST / HTTP/1.1\r\n${HOST}Content-Length: 1000000000\r\n\r\n`);
    for (;;) sent += await client.connection.write(new Uint8Array(65536));
  })().catch(() => {});
  await stalls(() => sent, 16 << 20);
  done.resolve(new Response("no"));
  await client.readUntil("no");
  client[Symbol.dispose]();
  await sending;
});

Deno.test("HttpBridge closes a connection whose client takes nothing for too long", suite, async () => {
  const cancelled = Promise.withResolvers<void>();
  const body = new ReadableStream<Uint8Array>({
    pull: (controller) => controller.enqueue(new Uint8Array(65536)),
    cancel: () => cancelled.resolve(),
  });
  await using front = await TestFront.start(() => Promise.resolve(new Response(body)), {
    stalledWriteSeconds: 0.1,
  });
  using client = await front.connect();
  await client.send(`GET / HTTP/1.1\r\n${HOST}\r\n`);
  await cancelled.promise;
});

/** Waits until a count stands still, and checks that it did so below a bound. */
async function stalls(count: () => number, below: number): Promise<void> {
  for (let last = -1; count() !== last || last === 0;) {
    last = count();
    assert.ok(last < below, `${last} bytes, and growing`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}
