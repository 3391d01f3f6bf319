import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { join } from "node:path";
import { AwsClient } from "aws4fetch";
import { S3Store, type S3StoreOptions } from "../../recording/sinks/s3.ts";
import { S3Client } from "../../recording/sinks/s3_client.ts";
import { S3Objects } from "../../recording/sinks/s3_objects.ts";
import { StoreError } from "../../recording/store.ts";
import { issue, makeAuthority } from "../cluster/certificates.ts";
import { type AccessKey, S3Server } from "./support/s3_server.ts";
import { TcpProxy } from "./support/tcp_proxy.ts";

const PATH = "2026/11/21/a.rec";
const MIB = 1024 * 1024;

interface Bench {
  server: S3Server;
  key: AccessKey;
  folder: string;
  troubles: string[];
  options(more?: Partial<S3StoreOptions>): S3StoreOptions;
  open(more?: Partial<S3StoreOptions>): Promise<S3Store>;
  /** A request that is none of the store's own. */
  ask(method: string, path: string, headers?: Record<string, string>): Promise<Response>;
}

/** One server for all: signatures are looked at, and every test has a bucket of its own. */
async function withServer(run: (bench: Bench) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    await using server = await S3Server.start();
    const key = await server.requireSignatures();
    const credentials = { accessKeyIdFile: join(folder, "id"), secretAccessKeyFile: join(folder, "secret") };
    await Deno.writeTextFile(credentials.accessKeyIdFile, key.id);
    await Deno.writeTextFile(credentials.secretAccessKeyFile, key.secret);
    const aws = new AwsClient({
      accessKeyId: key.id,
      secretAccessKey: key.secret,
      service: "s3",
      region: "us-east-1",
    });
    const troubles: string[] = [];
    const opened: S3Store[] = [];
    const options = (more: Partial<S3StoreOptions> = {}): S3StoreOptions => ({
      endpoint: server.url,
      region: "us-east-1",
      bucket: "evidence",
      prefix: "prod/",
      credentials,
      instance: "one",
      onTrouble: (message, cause) => void troubles.push(`${message}: ${String(cause)}`),
      ...more,
    });
    const open = async (more?: Partial<S3StoreOptions>) => {
      const store = await S3Store.open(options(more));
      opened.push(store);
      return store;
    };
    const ask = async (method: string, path: string, headers: Record<string, string> = {}) =>
      await fetch(await aws.sign(`${server.url}/${path}`, { method, headers }));
    try {
      await run({ server, key, folder, troubles, options, open, ask });
    } finally {
      for (const store of opened) await store[Symbol.asyncDispose]();
    }
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

async function makeBucket(
  { server, key }: Bench,
  name: string,
  headers?: Record<string, string>,
): Promise<string> {
  await server.makeBucket(name, key, headers);
  return name;
}

async function status(response: Promise<Response>): Promise<number> {
  const answer = await response;
  await answer.body?.cancel();
  return answer.status;
}

const text = async (stream: ReadableStream<Uint8Array>) => await new Response(stream).text();
const bytes = (word: string) => new TextEncoder().encode(word);

async function digest(stream: ReadableStream<Uint8Array>): Promise<string> {
  const hash = createHash("sha256");
  for await (const part of stream) hash.update(part);
  return hash.digest("hex");
}

Deno.test({
  name: "S3Store on a real S3 server that looks at every signature",
  sanitizeOps: true,
  sanitizeResources: true,
  fn: (t) =>
    withServer(async (bench) => {
      await t.step(
        "keeps 100 MB of 400 appends to the byte, in bounded memory",
        async () => {
          const store = await bench.open({ bucket: await makeBucket(bench, "large") });
          const hash = createHash("sha256");
          const file = await store.create(PATH);
          for (let index = 0; index < 4; index++) await append(file, hash);
          let peakBytes = 0;
          const startBytes = Deno.memoryUsage().rss;
          const sampler = setInterval(() => peakBytes = Math.max(peakBytes, Deno.memoryUsage().rss), 20);
          for (let index = 4; index < 400; index++) await append(file, hash);
          await file.close();
          await store.settle();
          clearInterval(sampler);
          assert.deepEqual(bench.troubles, []);
          const [stored] = await Array.fromAsync(store.list(""));
          assert.equal(stored?.bytes, 400 * MIB / 4);
          assert.equal(await digest(await store.open(PATH)), hash.digest("hex"));
          assert.deepEqual(await Array.fromAsync(store.unjoined()), []);
          const grownMiB = Math.round((peakBytes - startBytes) / MIB);
          await Deno.stderr.write(bytes(`100 MB: ${grownMiB} MiB more than before\n`));
          assert.ok(grownMiB < 160, `grew by ${grownMiB} MiB`);
        },
      );

      await t.step("gives back any range of it", async () => {
        const store = await bench.open({ bucket: await makeBucket(bench, "ranges") });
        const file = await store.create(PATH);
        for (const part of ["01234", "56789"]) await file.append(bytes(part));
        const look = async () => {
          const ranges = [{}, { offset: 4 }, { offset: 4, end: 6 }, { end: 3 }, { offset: 10 }, {
            offset: 99,
          }];
          return await Promise.all(ranges.map(async (range) => await text(await store.open(PATH, range))));
        };
        const wanted = ["0123456789", "456789", "45", "012", "", ""];
        assert.deepEqual(await look(), wanted, "in segments");
        await file.close();
        await store.settle();
        assert.deepEqual(await look(), wanted, "whole");
        await store.remove(PATH);
        await assert.rejects(store.open(PATH), { code: "not_found" });
      });

      await t.step("lists more than one answer holds", async () => {
        const store = await bench.open({ bucket: await makeBucket(bench, "many") });
        const file = await store.create(PATH);
        for (let index = 0; index < 10; index++) await file.append(bytes("0123456789"));
        using client = await S3Client.open(bench.options({ bucket: "many" }));
        const listed = await Array.fromAsync(new S3Objects(client, true, 3).list("prod/"));
        const names = listed.map(({ key }) => key.split("/").at(-1));
        const offsets = Array.from({ length: 10 }, (_, index) => `${index * 10}`.padStart(16, "0"));
        assert.deepEqual(names, [...offsets, "begun"]);
      });

      await t.step("never writes over a recording, whoever tries", async () => {
        const bucket = await makeBucket(bench, "conditions");
        const store = await bench.open({ bucket });
        const other = await bench.open({ bucket, instance: "two" });
        const file = await store.create(PATH);
        await assert.rejects(other.create(PATH), { code: "exists", message: /PreconditionFailed|HTTP 412/ });
        await file.append(bytes("first"));
        await file.close();
        await store.settle();
        await assert.rejects(other.create(PATH), { code: "exists" });
        assert.equal(await text(await other.open(PATH)), "first");
      });

      await t.step(
        "says in time that the store is down; what was durable is assembled when it is back",
        async () => {
          const bucket = await makeBucket(bench, "down");
          const proxy = new TcpProxy(bench.server.port);
          const store = await bench.open({
            bucket,
            endpoint: `http://127.0.0.1:${proxy.port}`,
            deadlineMs: 2_000,
            requestTimeoutMs: 1_000,
          });
          const file = await store.create(PATH);
          for (const part of ["one ", "two "]) await file.append(bytes(part));
          await proxy.close();
          const startedAt = performance.now();
          await assert.rejects(file.append(bytes("three")), { code: "unavailable" });
          assert.ok(performance.now() - startedAt < 3_000);
          await file.close();

          const other = await bench.open({ bucket, instance: "two" });
          const left = await Array.fromAsync(other.unjoined());
          assert.deepEqual(left.map(({ path, instance }) => [path, instance]), [[PATH, "one"]]);
          await other.assemble(PATH);
          assert.equal(await text(await other.open(PATH)), "one two ");
          assert.deepEqual(await Array.fromAsync(other.unjoined()), []);
        },
      );

      await t.step("shuts out a gateway that was wrongly taken for gone", async () => {
        const bucket = await makeBucket(bench, "fence");
        const store = await bench.open({ bucket });
        const other = await bench.open({ bucket, instance: "two" });
        const file = await store.create(PATH);
        await file.append(bytes("one"));
        await other.assemble(PATH);
        await assert.rejects(file.append(bytes("two")), { code: "exists" });
        assert.equal(await text(await store.open(PATH)), "one");
        await other.remove(PATH);
      });

      for (const large of [false, true]) {
        await t.step(
          `locks what is whole, ${large ? "of several parts" : "of one"}, and removes no lock`,
          async () => {
            const name = large ? "locked-large" : "locked-small";
            const bucket = await makeBucket(bench, name, { "x-amz-bucket-object-lock-enabled": "true" });
            const objectLock = { mode: "COMPLIANCE", retainDays: 30, legalHold: true } as const;
            const encryption = { algorithm: "AES256" } as const;
            const store = await bench.open({ bucket, objectLock, encryption });
            const file = await store.create(PATH);
            const part = new Uint8Array(large ? 5 * MIB : 5);
            await file.append(part);
            await file.append(part);
            await file.close();
            await store.settle();
            assert.deepEqual(bench.troubles, []);
            const head = await bench.ask("HEAD", `${bucket}/prod/${PATH}`);
            await head.body?.cancel();
            assert.equal(head.headers.get("content-length"), String(2 * part.length));
            assert.equal(head.headers.get("x-amz-object-lock-mode"), "COMPLIANCE");
            assert.equal(head.headers.get("x-amz-object-lock-legal-hold"), "ON");
            assert.equal(head.headers.get("x-amz-server-side-encryption"), "AES256");
            const until = Date.parse(head.headers.get("x-amz-object-lock-retain-until-date") ?? "");
            assert.ok(until > Date.now() + 29 * 86_400_000, String(until));
            const version = head.headers.get("x-amz-version-id") ?? "";
            const removal = bench.ask("DELETE", `${bucket}/prod/${PATH}?versionId=${version}`);
            assert.equal(await status(removal), 403, "the version cannot be removed");
          },
        );
      }

      await t.step("says that credentials are wrong, and what they are not", async () => {
        const bucket = await makeBucket(bench, "refused");
        const file = join(bench.folder, "wrong");
        await Deno.writeTextFile(file, "not-the-secret-of-this-key");
        const idFile = join(bench.folder, "id");
        const store = await bench.open({
          bucket,
          credentials: { accessKeyIdFile: idFile, secretAccessKeyFile: file },
        });
        await assert.rejects(store.create(PATH), (thrown) => {
          assert.ok(thrown instanceof StoreError);
          assert.equal(thrown.code, "refused");
          assert.match(thrown.message, /does not allow it: SignatureDoesNotMatch, HTTP 403/);
          assert.equal(thrown.message.includes(bench.key.id), false);
          assert.doesNotMatch(thrown.message, /not-the-secret/);
          return true;
        });
        await Deno.writeTextFile(file, bench.key.secret);
        await store.create(PATH);
      });

      await t.step("says that there is no such bucket", async () => {
        const store = await bench.open({ bucket: "nowhere" });
        await assert.rejects(store.create(PATH), { code: "not_found", message: /NoSuchBucket/ });
      });
    }),
});

async function append(
  file: { append(bytes: Uint8Array): Promise<void> },
  hash: ReturnType<typeof createHash>,
) {
  const part = randomBytes(MIB / 4);
  hash.update(part);
  await file.append(part);
}

Deno.test({
  name: "S3Store trusts the authority that it is told of, and no other",
  sanitizeOps: true,
  sanitizeResources: true,
  async fn() {
    const folder = await Deno.makeTempDir();
    try {
      const authority = await makeAuthority("s3");
      const leaf = await issue(authority, { commonName: "s3", ipAddresses: ["127.0.0.1"] });
      const rogue = await makeAuthority("rogue");
      const at = (name: string) => join(folder, name);
      await Deno.writeTextFile(at("ca.crt"), authority.certificate.toString("pem"));
      await Deno.writeTextFile(at("rogue.crt"), rogue.certificate.toString("pem"));
      await Deno.writeTextFile(at("tls.crt"), leaf.certificate);
      await Deno.writeTextFile(at("tls.key"), leaf.key);
      await Deno.writeTextFile(at("word"), "any");
      await using server = await S3Server.start({ tls: { certFile: at("tls.crt"), keyFile: at("tls.key") } });
      const options: S3StoreOptions = {
        endpoint: server.url,
        region: "us-east-1",
        bucket: "evidence",
        credentials: { accessKeyIdFile: at("word"), secretAccessKeyFile: at("word") },
        instance: "one",
        deadlineMs: 2_000,
        onTrouble: (message, cause) => assert.fail(`${message}: ${cause}`),
      };
      for (const caFile of [undefined, at("rogue.crt")]) {
        await using store = await S3Store.open({ ...options, ...(caFile && { caFile }) });
        await assert.rejects(store.create(PATH), { code: "unavailable", message: /cannot be reached/ });
      }
      await using store = await S3Store.open({ ...options, caFile: at("ca.crt") });
      await assert.rejects(store.create(PATH), { code: "not_found", message: /NoSuchBucket/ });
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  },
});
