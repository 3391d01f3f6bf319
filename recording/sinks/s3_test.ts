import assert from "node:assert/strict";
import { join } from "node:path";
import { StoreError } from "../store.ts";
import { S3Store, type S3StoreOptions } from "./s3.ts";
import { refusal, TestS3 } from "./test_s3.ts";

const io = { sanitizeOps: true, sanitizeResources: true };
const PATH = "2026/11/21/a.rec";
const SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";

interface Bench {
  s3: TestS3;
  store: S3Store;
  folder: string;
  troubles: string[];
  open(more?: Partial<S3StoreOptions>): Promise<S3Store>;
}

async function withStore(
  run: (bench: Bench) => Promise<void>,
  options: Partial<S3StoreOptions> = {},
): Promise<void> {
  const folder = await Deno.makeTempDir();
  const credentials = { accessKeyIdFile: join(folder, "id"), secretAccessKeyFile: join(folder, "secret") };
  await Deno.writeTextFile(credentials.accessKeyIdFile, "AKIAEXAMPLE\n");
  await Deno.writeTextFile(credentials.secretAccessKeyFile, `${SECRET}\n`);
  const s3 = new TestS3();
  const troubles: string[] = [];
  const opened: S3Store[] = [];
  const open = async (more: Partial<S3StoreOptions> = {}) => {
    const store = await S3Store.open({
      endpoint: s3.endpoint,
      region: "eu-central-1",
      bucket: "evidence",
      prefix: "prod/",
      credentials,
      instance: "one",
      requestTimeoutMs: 200,
      deadlineMs: 500,
      backoffMs: 1,
      onTrouble: (message, cause) => void troubles.push(`${message}: ${(cause as Error).message}`),
      ...options,
      ...more,
    });
    opened.push(store);
    return store;
  };
  try {
    await run({ s3, store: await open(), folder, troubles, open });
  } finally {
    s3.fate = () => undefined;
    for (const store of opened) await store[Symbol.asyncDispose]();
    await s3[Symbol.asyncDispose]();
    await Deno.remove(folder, { recursive: true });
  }
}

function test(name: string, run: (bench: Bench) => Promise<void>, options?: Partial<S3StoreOptions>): void {
  Deno.test({ name, ...io, fn: () => withStore(run, options) });
}

const bytes = (text: string) => new TextEncoder().encode(text);
const text = async (stream: ReadableStream<Uint8Array>) => await new Response(stream).text();
const paths = async (store: S3Store, prefix = "") =>
  (await Array.fromAsync(store.list(prefix))).map(({ path }) => path);

async function write(store: S3Store, path: string, ...parts: string[]): Promise<void> {
  const file = await store.create(path);
  for (const part of parts) await file.append(bytes(part));
  await file.close();
  await store.settle();
}

test("S3Store makes one object of what was appended, and removes its segments", async ({ s3, store }) => {
  const file = await store.create(PATH);
  await file.append(bytes("one "));
  await file.append(bytes("two"));
  assert.equal(s3.text(`prod/.parts/${PATH}/0000000000000000`), "one ");
  assert.equal(s3.text(`prod/.parts/${PATH}/0000000000000004`), "two");
  await file.close();
  await store.settle();
  assert.deepEqual([...s3.objects.keys()], [`prod/${PATH}`]);
  assert.equal(s3.text(`prod/${PATH}`), "one two");
});

test("S3Store lists and reads a recording before it is whole as if it were", async ({ s3, store }) => {
  const file = await store.create(PATH);
  assert.deepEqual(await paths(store), [PATH]);
  assert.equal(await text(await store.open(PATH)), "");
  await file.append(bytes("0123"));
  await file.append(bytes("4567"));
  assert.equal(await text(await store.open(PATH)), "01234567");
  assert.equal(await text(await store.open(PATH, { offset: 3, end: 5 })), "34");
  assert.equal((await Array.fromAsync(store.list("2026/")))[0]?.bytes, 8);
  assert.equal(s3.objects.has(`prod/${PATH}`), false);
});

const ranges = [
  { range: {}, want: "0123456789" },
  { range: { offset: 4 }, want: "456789" },
  { range: { offset: 4, end: 6 }, want: "45" },
  { range: { end: 3 }, want: "012" },
  { range: { offset: 8, end: 99 }, want: "89" },
  { range: { offset: 10 }, want: "" },
  { range: { offset: 99, end: 100 }, want: "" },
  { range: { offset: 6, end: 4 }, want: "" },
];
test("S3Store.open reads every range alike, of a whole recording and of one in segments", async ({ store }) => {
  await write(store, "whole.rec", "01234", "56789");
  const file = await store.create("parts.rec");
  await file.append(bytes("01234"));
  await file.append(bytes("56789"));
  for (const path of ["whole.rec", "parts.rec"]) {
    for (const { range, want } of ranges) {
      assert.equal(await text(await store.open(path, range)), want, `${path} ${JSON.stringify(range)}`);
    }
  }
});

test("S3Store.open says at once that there is no such recording", async ({ store }) => {
  await assert.rejects(store.open(PATH), { code: "not_found" });
  await assert.rejects(store.open(PATH, { end: 0 }), { code: "not_found" });
});

test("S3Store.open finds what was joined while it was being read", async ({ s3, store, open }) => {
  const file = await store.create(PATH);
  await file.append(bytes("one "));
  await file.append(bytes("two"));
  const reader = (await store.open(PATH)).getReader();
  assert.equal(new TextDecoder().decode((await reader.read()).value), "one ");
  const other = await open({ instance: "two" });
  await other.assemble(PATH);
  assert.equal(s3.text(`prod/.parts/${PATH}/0000000000000000`), undefined);
  assert.equal(new TextDecoder().decode((await reader.read()).value), "two");
  assert.equal((await reader.read()).done, true);
});

test("S3Store.open notices a segment that was taken away", async ({ s3, store }) => {
  const file = await store.create(PATH);
  for (const part of ["one ", "two ", "three"]) await file.append(bytes(part));
  s3.objects.delete(`prod/.parts/${PATH}/0000000000000004`);
  await assert.rejects(async () => await text(await store.open(PATH)), /lacks its bytes from 4/);
});

test("S3Store refuses a second recording of a path: begun, whole, or begun elsewhere", async ({ store, open }) => {
  const other = await open({ instance: "two" });
  const file = await store.create(PATH);
  await assert.rejects(store.create(PATH), { code: "exists" });
  await assert.rejects(other.create(PATH), { code: "exists" });
  await file.close();
  await store.settle();
  await assert.rejects(other.create(PATH), { code: "exists" });
  assert.deepEqual(await Array.fromAsync(other.unjoined()), [], "and what was tried leaves nothing behind");
});

for (
  const path of [
    "../x.rec",
    "a/../../x.rec",
    "/x.rec",
    ".parts/x.rec",
    "a//x.rec",
    "x.txt",
    "a b.rec",
    "a%2f.rec",
  ]
) {
  test(`S3Store refuses the path ${path}`, async ({ s3, store }) => {
    const isRefused = { code: "path_refused" };
    await assert.rejects(store.create(path), isRefused);
    await assert.rejects(store.open(path), isRefused);
    await assert.rejects(store.remove(path), isRefused);
    await assert.rejects(store.assemble(path), isRefused);
    assert.deepEqual(s3.requests, []);
  });
}

test("S3Store joins parts of one size, whatever the segments' sizes", async ({ s3, store }) => {
  const parts = Array.from({ length: 40 }, (_, index) => String.fromCharCode(97 + index % 26).repeat(index));
  await write(store, PATH, ...parts);
  assert.equal(s3.text(`prod/${PATH}`), parts.join(""));
  assert.equal(s3.requests.filter((request) => request.includes("?partNumber")).length, 0);
  assert.equal(s3.requests.filter((request) => request === `PUT prod/${PATH}?uploadId`).length, 8);
  assert.equal(s3.uploads.size, 0);
  // Where each request is counted, none may be made twice because the machine is slow.
}, { partBytes: 100, requestTimeoutMs: 20_000, deadlineMs: 60_000 });

test("S3Store lists page by page, what is whole and what is not, each once", async ({ s3, store }) => {
  s3.pageSize = 2;
  for (const name of ["a", "b", "c"]) await write(store, `2026/11/20/${name}.rec`, "x");
  const file = await store.create(PATH);
  for (const part of ["one", "two", "three"]) await file.append(bytes(part));
  await store.create("2026/11/21/b.chain");
  assert.deepEqual(await paths(store), [
    "2026/11/20/a.rec",
    "2026/11/20/b.rec",
    "2026/11/20/c.rec",
    "2026/11/21/a.rec",
    "2026/11/21/b.chain",
  ]);
  assert.deepEqual(await paths(store, "2026/11/21/a"), [PATH]);
  assert.deepEqual(await paths(store, "2025"), []);
});

test("S3Store.remove removes all of a recording, whole or not, and does not mind a second time", async ({ s3, store }) => {
  await write(store, "whole.rec", "x");
  const file = await store.create("parts.rec");
  await file.append(bytes("x"));
  for (const path of ["whole.rec", "parts.rec", "whole.rec"]) await store.remove(path);
  assert.equal(s3.objects.size, 0);
});

test("S3Store.append makes a request again that the store could not serve, and finds what it had written", async ({ s3, store }) => {
  const file = await store.create(PATH);
  for (const fate of ["lost", "answer lost", "hang"] as const) {
    let left = 1;
    s3.fate = () => left-- > 0 ? fate : undefined;
    await file.append(bytes(`${fate} `));
  }
  assert.equal(await text(await store.open(PATH)), "lost answer lost hang ");
});

test("S3Store.append rejects at its deadline where the store hangs, and names no secret", async ({ s3, store }) => {
  const file = await store.create(PATH);
  s3.fate = () => "hang";
  const startedAt = performance.now();
  await assert.rejects(file.append(bytes("x")), (thrown) => {
    assert.ok(thrown instanceof StoreError);
    assert.equal(thrown.code, "unavailable");
    assert.match(thrown.message, /gave no answer within 0\.\d s \(PUT prod\/\.parts\//);
    return true;
  });
  const tookMs = performance.now() - startedAt;
  assert.ok(tookMs < 700, `took ${tookMs} ms of 500`);
});

test("S3Store.append rejects where nobody listens", async ({ s3, store, open }) => {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr;
  listener.close();
  const nowhere = await open({ endpoint: `http://127.0.0.1:${port}` });
  await assert.rejects(nowhere.create(PATH), { code: "unavailable", message: /cannot be reached/ });
  await store.create(PATH);
  assert.equal(s3.objects.size, 1);
});

test("S3Store.append is not made again where the store refuses, and tells the code and nothing else", async ({ s3, store }) => {
  const file = await store.create(PATH);
  const before = s3.requests.length;
  s3.fate = () => refusal(400, "InvalidRequest", `signed with ${SECRET}`);
  await assert.rejects(file.append(bytes("x")), (thrown) => {
    assert.ok(thrown instanceof StoreError);
    assert.equal(thrown.code, "refused");
    assert.match(thrown.message, /refused: InvalidRequest, HTTP 400/);
    assert.doesNotMatch(JSON.stringify([thrown.message, thrown.stack, thrown.cause]), /wJalr|AKIA/);
    return true;
  });
  assert.equal(s3.requests.length - before, 1);
  s3.fate = () => undefined;
  await assert.rejects(
    file.append(bytes("y")),
    /is broken/,
    "after it has rejected nothing more is appended",
  );
});

test("S3Store follows no redirect: it would show its signature to another host", async ({ s3, store }) => {
  s3.fate = () => new Response(null, { status: 307, headers: { location: "http://127.0.0.1:1/" } });
  await assert.rejects(store.create(PATH), { code: "refused", message: /HTTP 307/ });
  assert.equal(s3.requests.length, 1);
});

test("S3Store believes no answer that sends more than was asked for", async ({ s3, store }) => {
  const file = await store.create(PATH);
  await file.append(bytes("four"));
  s3.fate = (request) => request.startsWith("GET prod/") ? new Response("x".repeat(5)) : undefined;
  await assert.rejects(async () => await text(await store.open(PATH)), { code: "damaged" });
});

test("S3Store believes no answer whose bytes are other ones", async ({ s3, store }) => {
  const file = await store.create(PATH);
  await file.append(bytes("four"));
  const headers = { "x-amz-checksum-sha256": s3.lastHeaders.get("x-amz-checksum-sha256") ?? "" };
  s3.fate = (request) => request.startsWith("GET prod/") ? new Response("fuor", { headers }) : undefined;
  await assert.rejects(async () => await text(await store.open(PATH)), { code: "damaged" });
});

test("S3Store takes new credentials when the store refuses the old ones, at once", async ({ s3, store, folder }) => {
  const file = await store.create(PATH);
  s3.fate = () =>
    /Credential=AKIANEW\//.test(s3.lastHeaders.get("authorization") ?? "")
      ? undefined
      : refusal(403, "InvalidAccessKeyId");
  await Deno.writeTextFile(join(folder, "id"), "AKIANEW");
  await file.append(bytes("x"));
  assert.equal(await text(await store.open(PATH)), "x");
});

test("S3Store asks once where its credentials are refused and have not changed", async ({ s3, store }) => {
  s3.fate = () => refusal(403, "SignatureDoesNotMatch", SECRET);
  await assert.rejects(store.create(PATH), {
    code: "refused",
    message:
      "the recording store does not allow it: SignatureDoesNotMatch, HTTP 403 (PUT prod/.parts/2026/11/21/a.rec/begun)",
  });
  assert.equal(s3.requests.length, 1);
});

test("S3Store signs what it sends, and the digest of it", async ({ s3, store }) => {
  const file = await store.create(PATH);
  await file.append(bytes("abc"));
  const { lastHeaders: headers } = s3;
  assert.equal(
    headers.get("x-amz-content-sha256"),
    "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
  );
  assert.equal(headers.get("x-amz-checksum-sha256"), "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=");
  const signed = /SignedHeaders=([^,]+)/.exec(headers.get("authorization") ?? "")?.[1]?.split(";");
  const wanted = ["host", "if-none-match", "x-amz-checksum-sha256", "x-amz-content-sha256", "x-amz-date"];
  for (const name of wanted) assert.ok(signed?.includes(name), name);
});

test("S3Store locks what is whole, and asks for encryption of everything", async ({ s3, store }) => {
  await write(store, PATH, "x");
  const { headers } = s3.objects.get(`prod/${PATH}`)!;
  assert.equal(headers.get("x-amz-object-lock-mode"), "COMPLIANCE");
  assert.equal(headers.get("x-amz-object-lock-legal-hold"), "ON");
  const days = (Date.parse(headers.get("x-amz-object-lock-retain-until-date") ?? "") - Date.now()) /
    86_400_000;
  assert.ok(days > 29.9 && days <= 30, String(days));
  assert.equal(headers.get("x-amz-server-side-encryption"), "aws:kms");
  assert.equal(headers.get("x-amz-server-side-encryption-aws-kms-key-id"), "k-1");
}, {
  objectLock: { mode: "COMPLIANCE", retainDays: 30, legalHold: true },
  encryption: { algorithm: "aws:kms", kmsKeyId: "k-1" },
});

test(
  "S3Store locks what is of several parts, though the store takes no lock with an upload's begin",
  async ({ s3, store }) => {
    await write(store, PATH, "0123456789", "0123456789");
    const { headers } = s3.objects.get(`prod/${PATH}`)!;
    assert.equal(headers.get("x-amz-object-lock-mode"), "GOVERNANCE");
    assert.equal(headers.get("x-amz-object-lock-legal-hold"), "ON");
    assert.equal(s3.objects.size, 1);
  },
  { partBytes: 15, objectLock: { retainDays: 1, legalHold: true } },
);

test("S3Store keeps the segments where what is whole cannot be locked", async ({ s3, store, troubles }) => {
  s3.fate = (request) => request.endsWith("?retention") ? refusal(403, "AccessDenied") : undefined;
  await write(store, PATH, "0123456789", "0123456789");
  assert.match(troubles[0] ?? "", /AccessDenied/);
  assert.equal(s3.text(`prod/.parts/${PATH}/0000000000000000`), "0123456789");
}, { partBytes: 15, objectLock: { retainDays: 1 } });

test("S3Store keeps the segments where the object that it made is not what it wrote", async ({ s3, store, troubles }) => {
  const file = await store.create(PATH);
  await file.append(bytes("x"));
  let heads = 0;
  s3.fate = (request) =>
    request === `HEAD prod/${PATH}` && ++heads === 2
      ? new Response(null, { headers: { "content-length": "7" } })
      : undefined;
  await file.close();
  await store.settle();
  assert.match(troubles[0] ?? "", /is not what was written/);
  assert.equal(s3.text(`prod/.parts/${PATH}/0000000000000000`), "x");
});

test("S3Store keeps the segments where another object has their place", async ({ s3, store, troubles }) => {
  const file = await store.create(PATH);
  await file.append(bytes("ours"));
  const theirs = { bytes: bytes("theirs"), headers: new Headers(), modifiedAt: new Date() };
  s3.objects.set(`prod/${PATH}`, theirs);
  await file.close();
  await store.settle();
  assert.match(troubles[0] ?? "", /holds something else/);
  assert.equal(s3.text(`prod/${PATH}`), "theirs");
  assert.equal(s3.text(`prod/.parts/${PATH}/0000000000000000`), "ours");
});

test("S3Store.assemble makes whole what a gateway left that died, and tells whose it was", async ({ s3, store, open }) => {
  const file = await store.create(PATH);
  await file.append(bytes("one "));
  await file.append(bytes("two"));
  const other = await open({ instance: "two" });
  const [left] = await Array.fromAsync(other.unjoined());
  assert.deepEqual([left?.path, left?.bytes, left?.instance], [PATH, 7, "one"]);
  for (let again = 0; again < 2; again++) {
    await other.assemble(PATH);
    assert.equal(s3.text(`prod/${PATH}`), "one two");
    assert.deepEqual([...s3.objects].map(([key, { bytes }]) => [key, bytes.length]), [
      [`prod/.parts/${PATH}/0000000000000007`, 0],
      [`prod/${PATH}`, 7],
    ]);
    assert.deepEqual(await Array.fromAsync(other.unjoined()), []);
    assert.deepEqual(await paths(other), [PATH]);
  }
  await other.remove(PATH);
  assert.equal(s3.objects.size, 0);
});

test("S3Store.assemble shuts out a gateway that was wrongly taken for gone", async ({ s3, store, open }) => {
  const file = await store.create(PATH);
  await file.append(bytes("one"));
  const other = await open({ instance: "two" });
  await other.assemble(PATH);
  await assert.rejects(file.append(bytes("two")), { code: "exists" });
  assert.equal(s3.text(`prod/${PATH}`), "one");
});

test("S3Store.assemble gives way to a gateway that appends meanwhile", async ({ s3, store, open }) => {
  const file = await store.create(PATH);
  await file.append(bytes("one"));
  const other = await open({ instance: "two" });
  let isFirst = true;
  s3.fate = (request) => {
    if (isFirst && request === `PUT prod/.parts/${PATH}/0000000000000003`) {
      isFirst = false;
      const late = { bytes: bytes("two"), headers: new Headers(), modifiedAt: new Date() };
      s3.objects.set(`prod/.parts/${PATH}/0000000000000003`, late);
    }
    return undefined;
  };
  await assert.rejects(other.assemble(PATH), { code: "exists", message: /gateway that lives/ });
  assert.equal(await text(await other.open(PATH)), "onetwo");
});

test("S3Store.assembleAbandoned assembles what no gateway can be writing, and nothing else", async ({ s3, store, open }) => {
  const daysAgo = (days: number) => new Date(Date.now() - days * 86_400_000);
  for (const [path, days] of [["new", 0], ["old", 29], ["older", 31]] as const) {
    for (const suffix of [".rec", ".chain"]) {
      await (await store.create(path + suffix)).append(bytes(path));
      for (const [key, held] of s3.objects) if (key.includes(path + suffix)) held.modifiedAt = daysAgo(days);
    }
  }
  const left = async (by: S3Store) => (await Array.fromAsync(by.unjoined())).map(({ path }) => path);
  const other = await open({ instance: "two" });
  assert.equal(await other.assembleAbandoned(Date.now()), 3);
  assert.deepEqual(await left(other), ["new.chain", "new.rec", "old.rec"]);
  assert.equal(await store.assembleAbandoned(Date.now()), 0, "it writes them itself");
  const again = await open({ instance: "one" });
  assert.equal(await again.assembleAbandoned(Date.now()), 3);
  assert.deepEqual(await left(again), []);
});

test("S3Store.assemble by two at once loses nothing", async ({ s3, store, open }) => {
  const file = await store.create(PATH);
  for (let index = 0; index < 20; index++) await file.append(bytes(`${index} `));
  const others = [await open({ instance: "two" }), await open({ instance: "three" })];
  await Promise.allSettled(others.map((other) => other.assemble(PATH)));
  for (const other of others) await other.assemble(PATH);
  const want = Array.from({ length: 20 }, (_, index) => `${index} `).join("");
  assert.equal(s3.text(`prod/${PATH}`), want);
  assert.deepEqual(await Array.fromAsync(store.unjoined()), []);
}, { partBytes: 16 });

test(
  "S3Store joins later what it could not join at once, also after an append failed",
  async ({ s3, store, troubles }) => {
    const file = await store.create(PATH);
    await file.append(bytes("durable "));
    s3.fate = () => refusal(503, "SlowDown");
    await assert.rejects(file.append(bytes("lost")), { code: "unavailable" });
    await file.close();
    s3.fate = () => undefined;
    while (s3.text(`prod/${PATH}`) === undefined) await new Promise((resolve) => setTimeout(resolve, 5));
    await store.settle();
    assert.equal(s3.text(`prod/${PATH}`), "durable ");
    assert.deepEqual(troubles, []);
  },
  { rejoinMs: 10 },
);

Deno.test({
  name:
    "S3Store loses no byte that it acknowledged, wherever its process dies, and whether its last request was done or not",
  ...io,
  async fn() {
    const parts = ["a".repeat(30), "b".repeat(50), "c".repeat(20)];
    for (const last of ["lost", "answer lost"] as const) {
      let died = true;
      for (let at = 1; died; at++) {
        await withStore(async ({ s3, store, open }) => {
          died = false;
          s3.fate = (_, number) => {
            if (number < at) return undefined;
            died = true;
            return number === at ? last : "lost";
          };
          let acknowledged = "";
          try {
            const file = await store.create(PATH);
            for (const part of parts) {
              await file.append(bytes(part));
              acknowledged += part;
            }
            await file.close();
          } catch (thrown) {
            assert.ok(thrown instanceof StoreError);
          }
          await store.settle();
          s3.fate = () => undefined;
          const other = await open({ instance: "two" });
          for await (const { path } of other.unjoined()) await other.assemble(path);
          const got = s3.text(`prod/${PATH}`) ?? "";
          assert.ok(got.startsWith(acknowledged), `${last} at ${at}: ${acknowledged.length}, ${got.length}`);
          assert.ok(parts.join("").startsWith(got), `${last} at ${at}`);
          const left = [...s3.objects].filter(([key]) => key.includes(".parts"));
          assert.ok(left.every(([, { bytes }]) => bytes.length === 0), `${last} at ${at}`);
          assert.deepEqual(await Array.fromAsync(other.unjoined()), [], `${last} at ${at}`);
        }, { partBytes: 40, maxAttempts: 1 });
      }
    }
  },
});

for (
  const endpoint of [
    "ftp://s3.example",
    "https://s3.example/path",
    "https://u:p@s3.example",
    "https://s3.example?x",
  ]
) {
  Deno.test(`S3Store takes no endpoint such as ${endpoint}`, async () => {
    await assert.rejects(withStore(async ({ open }) => void await open({ endpoint })), TypeError);
  });
}
