import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import type { TLSSocket } from "node:tls";
import { issue, makeCa } from "../tests/support/certificates.ts";
import { ApiError, ApiUnreachable, KubeClient, type KubeClientOptions } from "./client.ts";
import { CredentialSource } from "./credentials.ts";
import { Refusal } from "./status.ts";

const ca = await makeCa();
const certificate = await issue(ca, { sans: ["127.0.0.1"] });
const own = await issue(ca, { commonName: "postern", organization: "system:masters" });
const TOKEN = "the-gateways-own-token";

interface Seen {
  method: string;
  path: string;
  headers: Record<string, string>;
  body: string;
}

/** @param never an answer that does not come before the test is over */
type Answer = (request: Request, never: Promise<Response>) => Response | Promise<Response>;

/** An API server over TLS that answers as it is told, and a client of it with a token and a certificate. */
async function scene(
  answer: Answer,
  run: (scene: { client: KubeClient; seen: Seen[]; signal: AbortSignal }) => Promise<void>,
  options: Partial<Pick<KubeClientOptions, "timeoutMs" | "forwardTimeoutMs" | "onTrouble">> & {
    trusted?: string;
  } = {},
): Promise<void> {
  const seen: Seen[] = [];
  const over = Promise.withResolvers<Response>();
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, ...certificate, onListen() {} }, async (r) => {
    const { pathname, search } = new URL(r.url);
    const body = r.method === "POST" ? await r.text() : "";
    seen.push({ method: r.method, path: pathname + search, headers: Object.fromEntries(r.headers), body });
    return await answer(r, over.promise);
  });
  const gone = new AbortController();
  try {
    using client = new KubeClient({
      server: `https://127.0.0.1:${server.addr.port}`,
      credentials: new CredentialSource({
        ca: { value: options.trusted ?? ca.cert },
        token: { value: TOKEN },
        clientCertificate: { cert: { value: own.cert }, key: { value: own.key } },
      }),
      timeoutMs: 2000,
      ...options,
    });
    await run({ client, seen, signal: gone.signal });
  } finally {
    gone.abort();
    over.resolve(new Response());
    await server.shutdown();
  }
}

function test(name: string, fn: () => Promise<void>): void {
  Deno.test({ name, fn, sanitizeOps: true, sanitizeResources: true });
}

const plain = (target: string, init: Partial<Parameters<KubeClient["forward"]>[0]> = {}) => ({
  method: "GET",
  target,
  headers: new Headers(),
  body: null,
  signal: new AbortController().signal,
  ...init,
});

const isRefusal = (reason: string) => (thrown: unknown) =>
  thrown instanceof Refusal && thrown.reason === reason;

test("get and create ask as the gateway", () =>
  scene(() => Response.json({ kind: "Pod" }), async ({ client, seen }) => {
    assert.deepEqual(await client.get("/api/v1/namespaces/a/pods/b"), { kind: "Pod" });
    await client.create("/apis/x", { some: "body" });
    assert.deepEqual(seen.map(({ method, path, body }) => `${method} ${path} ${body}`), [
      "GET /api/v1/namespaces/a/pods/b ",
      'POST /apis/x {"some":"body"}',
    ]);
    assert.deepEqual(seen.map(({ headers }) => headers["authorization"]), Array(2).fill(`Bearer ${TOKEN}`));
  }));

test("get tells what the API server says against it", () =>
  scene(
    () => Response.json({ kind: "Status", message: 'pods "x" not found', code: 404 }, { status: 404 }),
    async ({ client }) => {
      await assert.rejects(client.get("/x"), (thrown) => {
        assert.ok(thrown instanceof ApiError);
        return thrown.code === 404 && thrown.message.includes('pods "x" not found');
      });
    },
  ));

for (
  const [code, want] of [
    [200, []],
    [401, ["unauthorized"]],
    [403, ["forbidden"]],
    [404, []],
    [429, ["throttled"]],
    [500, ["server_error"]],
    [undefined, ["unreachable"]],
  ] as const
) {
  test(`a request that ${code === undefined ? "is not answered" : `is answered ${code}`} is trouble: ${want}`, async () => {
    const troubles: string[] = [];
    const answer = () =>
      code === undefined ? Response.redirect("https://example.org/") : Response.json({}, { status: code });
    await scene(answer, async ({ client }) => {
      await client.get("/x").catch(() => {});
    }, { onTrouble: (trouble) => troubles.push(trouble) });
    assert.deepEqual(troubles, want);
  });
}

test("who asks and goes away is no trouble of the API server's", async () => {
  const troubles: string[] = [];
  await scene((_request, never) => never, async ({ client }) => {
    await assert.rejects(client.get("/x", AbortSignal.timeout(20)));
  }, { onTrouble: (trouble) => troubles.push(trouble) });
  assert.deepEqual(troubles, []);
});

const NO_ANSWERS: {
  name: string;
  answer: Answer;
  why: RegExp;
}[] = [
  { name: "no JSON", answer: () => new Response("<html>"), why: /no JSON object/ },
  { name: "JSON that is no object", answer: () => Response.json("yes"), why: /no JSON object/ },
  {
    name: "a redirect, which would take the token elsewhere",
    answer: () => Response.redirect("https://example.org/"),
    why: /cannot be reached/,
  },
  { name: "5 MB", answer: () => new Response(" ".repeat(5_000_000)), why: /cannot be reached/ },
  {
    name: "nothing in time",
    answer: (_request, never) => never,
    why: /did not answer in time/,
  },
  {
    name: "a beginning, and then nothing in time",
    answer: () => new Response(new ReadableStream({ start: (body) => body.enqueue(new Uint8Array([123])) })),
    why: /did not answer in time/,
  },
];
for (const { name, answer, why } of NO_ANSWERS) {
  test(`an answer of ${name} is no answer`, () =>
    scene(answer, async ({ client }) => {
      await assert.rejects(
        client.get("/x"),
        (thrown) => thrown instanceof ApiUnreachable && why.test(thrown.message),
      );
    }, { timeoutMs: 300 }));
}

test("an API server that another authority vouches for is not spoken to, and no token goes there", async () => {
  const { cert } = await makeCa("another authority");
  await scene(() => Response.json({}), async ({ client, seen }) => {
    await assert.rejects(client.get("/x"), ApiUnreachable);
    await assert.rejects(client.forward(plain("/x")), isRefusal("ServiceUnavailable"));
    assert.deepEqual(seen, []);
  }, { trusted: cert });
});

test("no error holds the gateway's token", () =>
  scene(() => new Response("no"), async ({ client }) => {
    const thrown: unknown = await client.get("/x").catch((error) => error);
    assert.ok(!Deno.inspect(thrown, { depth: 10 }).includes(TOKEN));
  }));

test("a caller who gives up ends the request", () =>
  scene(
    (_request, never) => never,
    async ({ client }) => {
      await assert.rejects(client.get("/x", AbortSignal.timeout(50)), ApiUnreachable);
    },
    { timeoutMs: 60_000 },
  ));

test("confused deputy: a forwarded request carries nothing of the gateway's, even when the gateway has just spoken", async () => {
  await scene(() => Response.json({}), async ({ client, seen }) => {
    await client.get("/own");
    await (await client.forward(plain("/anonymous"))).body?.cancel();
    const headers = new Headers({ "Authorization": "Bearer users-own" });
    await (await client.forward(plain("/user", { headers }))).body?.cancel();
    assert.deepEqual(seen.map(({ path, headers }) => `${path} ${headers["authorization"]}`), [
      `/own Bearer ${TOKEN}`,
      "/anonymous undefined",
      "/user Bearer users-own",
    ]);
  });
});

test("confused deputy: the gateway shows its certificate for itself, and never for others", async () => {
  const shown: string[] = [];
  const server = createServer(
    { ...certificate, requestCert: true, rejectUnauthorized: false },
    (request, answer) => {
      const peer: { subject?: { CN?: unknown } } = (request.socket as TLSSocket).getPeerCertificate() ?? {};
      shown.push(`${request.url} ${peer.subject?.CN ?? "nothing"}`);
      answer.end("{}");
    },
  );
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  {
    using client = new KubeClient({
      server: `https://127.0.0.1:${(server.address() as AddressInfo).port}`,
      credentials: new CredentialSource({
        ca: { value: ca.cert },
        token: undefined,
        clientCertificate: { cert: { value: own.cert }, key: { value: own.key } },
      }),
      timeoutMs: 2000,
    });
    await client.get("/own");
    await (await client.forward(plain("/users"))).body?.cancel();
    await client.get("/own");
  }
  assert.deepEqual(shown, ["/own postern", "/users nothing", "/own postern"]);
  server.close();
  await once(server, "close");
});

test("forward sends method, query, headers and body on, and passes the answer as it is", () =>
  scene(
    () => new Response("answer", { status: 418, headers: { "Warning": "199 x", "Content-Type": "a/b" } }),
    async ({
      client,
      seen,
    }) => {
      const headers = new Headers({ "X-A": "1", "Content-Type": "text/plain" });
      const body = new Blob(["hello"]).stream();
      const answer = await client.forward(
        plain("/api/v1/x%2Fy?a=b%20c&a=d", { method: "POST", headers, body }),
      );
      assert.equal(await answer.text(), "answer");
      assert.deepEqual([answer.status, answer.headers.get("Warning"), answer.headers.get("Content-Type")], [
        418,
        "199 x",
        "a/b",
      ]);
      assert.equal(seen.length, 1);
      const { method, path, headers: sent, body: received } = seen[0]!;
      assert.deepEqual([received, method, path, sent["x-a"], sent["content-type"]], [
        "hello",
        "POST",
        "/api/v1/x%2Fy?a=b%20c&a=d",
        "1",
        "text/plain",
      ]);
    },
  ));

test("forward asks for plain bytes, whatever the client can unpack, and leaves a packed answer packed", () =>
  scene(() => new Response(new Uint8Array([1, 2, 3]), { headers: { "Content-Encoding": "gzip" } }), async ({
    client,
    seen,
  }) => {
    const answer = await client.forward(plain("/x", { headers: new Headers({ "Accept-Encoding": "gzip" }) }));
    assert.deepEqual(await answer.bytes(), new Uint8Array([1, 2, 3]));
    assert.equal(answer.headers.get("Content-Encoding"), "gzip");
    assert.equal(seen[0]?.headers["accept-encoding"], "identity");
  }));

test("forward follows no redirect: that is for the client to do, with its own credential", () =>
  scene(() => new Response(null, { status: 302, headers: { Location: "https://example.org/" } }), async ({
    client,
    seen,
  }) => {
    const answer = await client.forward(plain("/x"));
    assert.deepEqual([answer.status, answer.headers.get("Location")], [302, "https://example.org/"]);
    assert.equal(seen.length, 1);
    await answer.body?.cancel();
  }));

const NOT_CANONICAL = [
  { name: "a path that climbs", target: "/api/v1/x/../secrets" },
  { name: "a path that climbs in disguise", target: "/api/v1/x/%2e%2e/secrets" },
  { name: "a backslash", target: "/api\\v1" },
  { name: "a tab that a URL forgets", target: "/api/v1/po\tds" },
  { name: "a fragment", target: "/api#x" },
  { name: "a host that takes the server's place", target: "@example.org/" },
  { name: "a port that takes the server's place", target: "0/" },
  { name: "no URL at all", target: ":x/" },
  { name: "a space", target: "/a b" },
  { name: "nothing", target: "" },
];
for (const { name, target } of NOT_CANONICAL) {
  test(`path confusion: forward refuses ${name}`, () =>
    scene(() => Response.json({}), async ({ client, seen }) => {
      await assert.rejects(client.forward(plain(target)), isRefusal("BadRequest"));
      assert.deepEqual(seen, []);
    }));
}

test("forward takes a bare question mark and an empty segment for what they are", () =>
  scene(() => Response.json({}), async ({ client }) => {
    for (const target of ["/x?", "//x//y/", "/"]) {
      await (await client.forward(plain(target))).body?.cancel();
    }
  }));

test("forward refuses methods that would open a tunnel or show headers", () =>
  scene(() => Response.json({}), async ({ client }) => {
    for (const method of ["CONNECT", "TRACE"]) {
      await assert.rejects(client.forward(plain("/x", { method })), isRefusal("MethodNotAllowed"));
    }
  }));

test("forward waits for an answer to begin only so long, and for its end as long as it takes", () => {
  const slow = async (body: ReadableStreamDefaultController) => {
    await new Promise((resolve) => setTimeout(resolve, 400));
    body.enqueue(new TextEncoder().encode("late"));
    body.close();
  };
  return scene((request, never) => {
    if (new URL(request.url).pathname === "/watch") {
      return new Response(new ReadableStream({ start: (body) => void slow(body) }));
    }
    return never;
  }, async ({ client }) => {
    assert.equal(await (await client.forward(plain("/watch"))).text(), "late");
    await assert.rejects(client.forward(plain("/silent")), isRefusal("Timeout"));
  }, { forwardTimeoutMs: 150 });
});

test("starvation: those who do not read their answers stop nobody else's", () => {
  const endless = () => new ReadableStream({ pull: (body) => body.enqueue(new Uint8Array(65536)) });
  return scene(
    (request) => new URL(request.url).pathname === "/endless" ? new Response(endless()) : Response.json({}),
    async ({ client, signal }) => {
      const unread: Response[] = [];
      for (let index = 0; index < 8; index++) {
        unread.push(await client.forward(plain("/endless", { signal })));
      }
      await new Promise((resolve) => setTimeout(resolve, 200)); // until every buffer on the way is full
      const answer = await client.forward(plain("/small", { signal: AbortSignal.timeout(3000) }));
      assert.deepEqual(await answer.json(), {});
      await Promise.all(unread.map(({ body }) => body?.cancel()));
    },
  );
});
