import assert from "node:assert/strict";
import type { Handler } from "../routes/handler.ts";
import type { ByteConnection } from "../session/byte_connection.ts";
import { type RawClient, TestFront } from "./test_front.ts";
import { UpgradeExchange } from "./upgrade_exchange.ts";

const suite = { sanitizeOps: true, sanitizeResources: true };

const UPGRADE = "POST /exec HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Upgrade\r\nUpgrade: SPDY/3.1\r\n" +
  "Content-Length: 0\r\n\r\n";
const SWITCHED = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\n";
const HEADERS = [["Connection", "Upgrade"], ["Upgrade", "SPDY/3.1"]] as const;

/** Accepts, and lets `run` have the connection. */
function session(run: (client: ByteConnection) => Promise<void>): Handler {
  return (_request, { upgrade }) => Promise.resolve(upgrade!.accept(HEADERS, run));
}

async function echo(client: ByteConnection): Promise<void> {
  for (let bytes = await client.read(); bytes !== null; bytes = await client.read()) {
    await client.write(bytes);
  }
}

const INVALID = [
  { name: "a line end in a value", header: ["A", "b\r\nSet-Cookie: c"] },
  { name: "a colon in a name", header: ["A: b", "c"] },
  { name: "no name", header: ["", "c"] },
] as const;
for (const { name, header } of INVALID) {
  Deno.test(`UpgradeExchange refuses ${name}: a header must not become two`, suite, () => {
    assert.throws(() => new UpgradeExchange().accept([header], () => Promise.resolve()), TypeError);
  });
}

Deno.test("UpgradeExchange lets a connection be taken over once", suite, () => {
  const exchange = new UpgradeExchange();
  exchange.accept(HEADERS, () => Promise.resolve());
  assert.throws(() => exchange.accept(HEADERS, () => Promise.resolve()), TypeError);
  assert.throws(() => exchange.answerRaw(new Uint8Array()), TypeError);
});

Deno.test(
  "an accepted upgrade is the 101 with its headers in order, then the session's bytes",
  suite,
  async () => {
    await using front = await TestFront.start(session(echo));
    using client = await front.connect();
    await client.send(UPGRADE);
    assert.equal(await client.readUntil("\r\n\r\n"), SWITCHED);
    await client.send("hello");
    await client.readUntil("hello");
  },
);

Deno.test(
  "bytes that came with the upgrade request, whole or cut anywhere, are the session's first",
  suite,
  async (t) => {
    await using front = await TestFront.start(session(echo));
    const all = `${UPGRADE}first\r\n\r\nGET / HTTP/1.1\r\n`;
    for (const cut of [UPGRADE.length - 1, UPGRADE.length, UPGRADE.length + 3, all.length]) {
      await t.step(`cut at ${cut - UPGRADE.length} from the end of the headers`, async () => {
        using client = await front.connect();
        await client.send(all.slice(0, cut));
        await new Promise((resolve) => setTimeout(resolve, 10));
        await client.send(all.slice(cut));
        assert.equal(await client.readUntil("\r\n\r\n"), SWITCHED);
        assert.equal(await client.readUntil("HTTP/1.1\r\n"), "first\r\n\r\nGET / HTTP/1.1\r\n");
      });
    }
  },
);

Deno.test("bytes that come in while the handler decides wait for the session, in order", suite, async () => {
  const decided = Promise.withResolvers<void>();
  await using front = await TestFront.start(async (_request, { upgrade }) => {
    await decided.promise;
    return upgrade!.accept(HEADERS, echo);
  });
  using client = await front.connect();
  await client.send(`${UPGRADE}glued `);
  for (const word of ["one ", "two ", "three "]) {
    await client.send(word);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  decided.resolve();
  await client.readUntil("\r\n\r\n");
  assert.equal(await client.readUntil("three "), "glued one two three ");
});

Deno.test("a megabyte passes a session unharmed, glued to its upgrade", suite, async () => {
  await using front = await TestFront.start(session(echo));
  using client = await front.connect();
  const data = Array.from({ length: 1 << 16 }, (_, index) => index.toString(16).padStart(16, "0")).join("");
  const sending = client.send(`${UPGRADE}${data}END`);
  await client.readUntil("\r\n\r\n");
  assert.ok(await client.readUntil("END") === `${data}END`);
  await sending;
});

Deno.test(
  "an ordinary response to an upgrade request can be read in full by a client that keeps sending",
  suite,
  async () => {
    await using front = await TestFront.start((_request, { upgrade }) => {
      assert.ok(upgrade);
      return Promise.resolve(new Response("a".repeat(30_000), { status: 403, headers: { "Audit-Id": "1" } }));
    });
    using client = await front.connect();
    await client.send(`${UPGRADE}${"x".repeat(100_000)}`);
    const answer = await client.readAll();
    assert.match(answer, /^HTTP\/1\.1 403 Forbidden\r\n/);
    assert.match(answer, /\r\ncontent-length: 30000\r\n/i);
    assert.match(answer, /\r\naudit-id: 1\r\n/);
    assert.match(answer, /\r\nconnection: close\r\n/i);
    assert.equal(answer.slice(answer.indexOf("\r\n\r\n") + 4).length, 30_000);
  },
);

Deno.test("a streamed response to an upgrade request is cancelled when its client goes", suite, async () => {
  const cancelled = Promise.withResolvers<void>();
  await using front = await TestFront.start(() =>
    Promise.resolve(new Response(new ReadableStream({ cancel: () => cancelled.resolve() })))
  );
  {
    using client = await front.connect();
    await client.send(UPGRADE);
    await client.readUntil("\r\n\r\n");
  }
  await cancelled.promise;
});

Deno.test("a raw answer leaves byte for byte, then the connection is closed", suite, async () => {
  const raw = "HTTP/1.1 403 Forbidden\r\n\r\n";
  await using front = await TestFront.start((_request, { upgrade }) =>
    Promise.resolve(upgrade!.answerRaw(new TextEncoder().encode(raw)))
  );
  assert.equal(await front.exchange(UPGRADE), raw);
});

Deno.test(
  "a handler that accepts and then fails is answered as failed, and the session does not run",
  suite,
  async () => {
    let hasRun = false;
    await using front = await TestFront.start((_request, { upgrade }) => {
      upgrade!.accept(HEADERS, () => Promise.resolve(void (hasRun = true)));
      return Promise.reject(new Error("after all"));
    });
    assert.match(await front.exchange(UPGRADE), /^HTTP\/1\.1 500 /);
    assert.equal(hasRun, false);
  },
);

Deno.test(
  "the connection is closed when the session settles, and what it wrote last arrives",
  suite,
  async (t) => {
    for (const fails of [false, true]) {
      await t.step(fails ? "with an error" : "well", async () => {
        await using front = await TestFront.start(session(async (client) => {
          await client.read();
          await client.write(new TextEncoder().encode("x".repeat(200_000) + "status"));
          if (fails) throw new Error("the session broke");
        }));
        using client = await front.connect();
        await client.send(UPGRADE + "y".repeat(50_000));
        assert.match(await client.readAll(), /status$/);
        assert.deepEqual(front.reports, fails ? ["a session failed"] : []);
      });
    }
  },
);

Deno.test(
  "a client that goes while the handler decides aborts it, and the session still runs to clean up",
  suite,
  async () => {
    const aborted = Promise.withResolvers<void>();
    const read = Promise.withResolvers<Uint8Array | null>();
    await using front = await TestFront.start(async (_request, { upgrade, signal }) => {
      await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve()));
      aborted.resolve();
      return upgrade!.accept(HEADERS, async (client) => read.resolve(await client.read().catch(() => null)));
    });
    {
      using client = await front.connect();
      await client.send(UPGRADE);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    await aborted.promise;
    assert.equal(await read.promise, null);
  },
);

Deno.test(
  "the end of a session's client does not abort it before it was told: the session reads that itself",
  suite,
  async () => {
    let wasAborted: boolean | undefined;
    const done = Promise.withResolvers<void>();
    await using front = await TestFront.start((_request, { upgrade, signal }) =>
      Promise.resolve(upgrade!.accept(HEADERS, async (client) => {
        await client.read();
        wasAborted = signal.aborted;
        done.resolve();
      }))
    );
    using client = await front.connect();
    await client.send(UPGRADE);
    await client.readUntil("\r\n\r\n");
    client[Symbol.dispose]();
    await done.promise;
    assert.equal(wasAborted, false);
  },
);

Deno.test("a session that is not read from takes no more than the sockets hold", suite, async () => {
  const done = Promise.withResolvers<void>();
  await using front = await TestFront.start(session(() => done.promise));
  using client = await front.connect();
  await client.send(UPGRADE);
  await client.readUntil("\r\n\r\n");
  let sent = 0;
  const sending = sendForever(client, (bytes) => sent += bytes);
  await stalls(() => sent);
  done.resolve();
  client[Symbol.dispose]();
  await sending;
});

Deno.test("a session whose client does not read can write no more than the sockets hold", suite, async () => {
  let written = 0;
  const stopped = Promise.withResolvers<void>();
  await using front = await TestFront.start(session(async (client) => {
    const chunk = new Uint8Array(65536);
    try {
      for (;; written += chunk.length) await client.write(chunk);
    } catch {
      stopped.resolve();
    }
  }));
  {
    using client = await front.connect();
    await client.send(UPGRADE);
    await stalls(() => written);
  }
  await stopped.promise;
});

Deno.test("small writes in a row are not held back: each key of a shell is one", suite, async () => {
  await using front = await TestFront.start(session(async (client) => {
    while (await client.read() !== null) {
      for (const text of ["first....", "second...", "third....\n"]) {
        await client.write(new TextEncoder().encode(text));
      }
    }
  }));
  using client = await front.connect();
  await client.send(UPGRADE);
  await client.readUntil("\r\n\r\n");
  const times: number[] = [];
  for (let round = 0; round < 30; round++) {
    const start = performance.now();
    await client.send("x");
    await client.readUntil("third....\n");
    times.push(performance.now() - start);
  }
  const [median] = times.toSorted((a, b) => a - b).slice(15);
  assert.ok(median !== undefined && median < 20, `${median} ms: Nagle's algorithm waits 40`);
});

async function sendForever(client: RawClient, count: (bytes: number) => void): Promise<void> {
  const chunk = new Uint8Array(65536);
  try {
    for (;;) count(await client.connection.write(chunk));
  } catch {
    // The connection was closed.
  }
}

/** Waits until a count of bytes stands still, and checks that it did so below 16 MiB. */
async function stalls(count: () => number): Promise<void> {
  for (let last = -1; count() !== last || last === 0;) {
    last = count();
    assert.ok(last < 16 << 20, `${last} bytes, and growing`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}
