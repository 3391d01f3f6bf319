import assert from "node:assert/strict";
import { generateKeyPairSync, randomBytes } from "node:crypto";
import { join } from "node:path";
import fc from "fast-check";
import { MemoryStore } from "../../tests/support/memory_store.ts";
import { RecordingArchive, type RecordingFacts } from "../archive.ts";
import { ChainAudit } from "../chain/chain_audit.ts";
import { chainInstance, ChainWriter, readChain } from "../chain/chain_writer.ts";
import { type ChainEntry, DayChain } from "../chain/day_chain.ts";
import { placeHold, releaseHold } from "./legal_hold.ts";
import { lostMarkOf } from "../chain/lost_recordings.ts";
import type { Deletion, RetentionOptions } from "./retention.ts";
import { RetentionSweeper } from "./retention_sweeper.ts";
import { Signer, Verifier } from "../format/signer.ts";
import { FolderStore } from "../sinks/folder.ts";
import { type RecordingStore, StoreError } from "../store.ts";
import { RecordingVerifier } from "../format/verify.ts";
import { FACTS } from "../test_recording.ts";

const DAY_MS = 86_400_000;
const KEYS = generateKeyPairSync("ed25519", {
  privateKeyEncoding: { type: "pkcs8", format: "pem" },
  publicKeyEncoding: { type: "spki", format: "pem" },
});
const NOTE = { by: "alice", at: "2026-11-21T12:00:00.000Z", reason: "case 42" };

function facts(auditId: string): RecordingFacts {
  return { ...FACTS, auditId };
}

async function openArchive(store: RecordingStore, instance = "gateway-0"): Promise<RecordingArchive> {
  return await RecordingArchive.open(store, new Signer(KEYS.privateKey), {
    ...{ instance, stdin: "content", windowBytes: 1 << 20, windowMs: 1000 },
    ...{ appendTimeoutMs: 5000, sealEveryMs: 60_000, recipients: [] },
    onFailure: () => {},
  });
}

/** Begins a session's recording with so many bytes that do not compress. @returns how to end it */
async function begin(archive: RecordingArchive, auditId: string, bytes = 100) {
  const session = await archive.begin(facts(auditId), { isRequired: true, streams: "content" });
  await session.push({ type: "opened", id: 1, stream: "stdout" });
  const noise = randomBytes(bytes);
  await session.push({ type: "data", id: 1, stream: "stdout", direction: "out", bytes: noise });
  return {
    path: session.path,
    end: async () => {
      await session.settle(
        await session.end({
          reason: "command_ended",
          by: "upstream",
          message: "the command ended",
          exitCode: 0,
        }),
      );
      return session.path;
    },
  };
}

async function record(archive: RecordingArchive, auditId: string, bytes?: number): Promise<string> {
  return await (await begin(archive, auditId, bytes)).end();
}

function sweeperOf(archive: RecordingArchive, options: Partial<RetentionOptions>) {
  const announced: Deletion[] = [];
  const reports: string[] = [];
  const sweeper = new RetentionSweeper(
    () => Promise.resolve(archive),
    { maxAgeDays: 0, maxBytes: 0, sweepSeconds: 3600, ...options },
    {
      announce: (deletions) => Promise.resolve(void announced.push(...deletions)),
      report: (message, cause) => void reports.push(`${message}: ${cause}`),
    },
  );
  return { sweeper, announced, reports };
}

async function pathsOf(store: RecordingStore, suffix = ".rec"): Promise<string[]> {
  const paths = await Array.fromAsync(store.list(""), ({ path }) => path);
  return paths.filter((path) => path.endsWith(suffix)).sort();
}

async function bytesOf(store: RecordingStore): Promise<number> {
  const files = await Array.fromAsync(store.list(""));
  return files.filter(({ path }) => path.endsWith(".rec")).reduce((sum, { bytes }) => sum + bytes, 0);
}

async function tombstonesOf(store: RecordingStore): Promise<string[]> {
  const found: string[] = [];
  for (const path of await pathsOf(store, ".chain")) {
    if (chainInstance(path) === undefined) continue;
    for (const entry of (await readChain(store, path)).entries) {
      if (entry.event === "deleted") found.push(`${entry.recording}: ${entry.reason}`);
    }
  }
  return found.sort();
}

Deno.test("what is too old is announced, called deleted by the chain, and gone; the young stays", async () => {
  const store = new MemoryStore();
  const archive = await openArchive(store);
  const old = await record(archive, "old");
  const young = await record(archive, "young");
  store.modified.set(young, new Date(Date.now() + DAY_MS));
  const { sweeper, announced } = sweeperOf(archive, { maxAgeDays: 2 });
  const { deleted } = await sweeper.sweep(Date.now() + 2 * DAY_MS);
  assert.equal(deleted, 1);
  assert.deepEqual(await pathsOf(store), [young]);
  assert.deepEqual(announced.map(({ path, reason }) => [path, reason]), [[old, "age"]]);
  assert.deepEqual(await tombstonesOf(store), [`${old}: older than 2 days`]);
  await archive.close();
});

/** A store of three days, with a recording of 100 bytes on each, which ended on the day after. */
async function threeDays(untilMs: number): Promise<MemoryStore> {
  const store = new MemoryStore();
  let nowMs = 0;
  const chain = await ChainWriter.open({ store, signer: undefined, instance: "gateway-1", now: () => nowMs });
  for (const day of ["2026/11/01", "2026/11/02", "2026/11/03"]) {
    const about = { recording: `${day}/a.rec`, auditId: "a" };
    nowMs = Date.parse(`${day.replaceAll("/", "-")}T23:00:00Z`);
    await (await store.create(about.recording)).append(new Uint8Array(100));
    store.modified.set(about.recording, new Date(nowMs));
    await chain.add({ event: "began", ...about });
    nowMs += 2 * 3_600_000;
    if (nowMs > untilMs) break;
    await chain.add({ event: "ended", ...about, link: "00" });
  }
  await chain.close();
  // A store need not list in any order.
  const files = [...store.files].reverse();
  store.files.clear();
  for (const [path, parts] of files) store.files.set(path, parts);
  return store;
}

const days: { name: string; options: Partial<RetentionOptions>; at?: string; want: string[] }[] = [
  { name: "one byte too many takes the oldest day's alone", options: { maxBytes: 299 }, want: ["02", "03"] },
  { name: "more takes more days", options: { maxBytes: 199 }, want: ["03"] },
  { name: "age takes those before", options: { maxAgeDays: 9 }, want: ["03"] },
  { name: "age leaves what it does not reach", options: { maxAgeDays: 30 }, want: ["01", "02", "03"] },
  {
    name: "one that ended after midnight is known to have ended",
    options: { maxBytes: 1 },
    at: "2026-11-04T01:01:00Z",
    want: [],
  },
  {
    name: "one whose end is not written yet is left alone",
    options: { maxBytes: 1 },
    at: "2026-11-04T00:59:59Z",
    want: ["03"],
  },
];
for (const { name, options, at = "2026-11-12T12:00:00Z", want } of days) {
  Deno.test(`of recordings of several days, ${name}`, async () => {
    const store = await threeDays(Date.parse(at));
    const archive = await openArchive(store);
    await sweeperOf(archive, options).sweeper.sweep(Date.parse(at));
    assert.deepEqual(await pathsOf(store), want.map((day) => `2026/11/${day}/a.rec`));
    await archive.close();
  });
}

Deno.test("a recording is not deleted without its event, nor without its line in the chain", async () => {
  const store = new MemoryStore();
  const archive = await openArchive(store);
  const path = await record(archive, "a");
  const refuse = () => Promise.reject(new Error("the audit journal is full"));
  const options = { maxAgeDays: 1, maxBytes: 0, sweepSeconds: 3600 };
  const unheard = new RetentionSweeper(() => Promise.resolve(archive), options, {
    announce: refuse,
    report: () => {},
  });
  await assert.rejects(unheard.sweep(Date.now() + 2 * DAY_MS), /journal is full/);
  assert.deepEqual([await pathsOf(store), await tombstonesOf(store)], [[path], []]);
  store.failing = (file) => file.endsWith(".chain");
  const { sweeper, announced } = sweeperOf(archive, { maxAgeDays: 1 });
  await assert.rejects(sweeper.sweep(Date.now() + 2 * DAY_MS), /no space/);
  assert.deepEqual([await pathsOf(store), announced.length], [[path], 1]);
  await archive.close();
});

Deno.test("a sweep that was cut off before it deleted is made up for by the next", async () => {
  const store = new MemoryStore();
  const archive = await openArchive(store);
  const path = await record(archive, "a");
  await archive.tombstone(path, "older than 1 day");
  const { sweeper } = sweeperOf(archive, { maxAgeDays: 1 });
  assert.equal((await sweeper.sweep(Date.now() + 2 * DAY_MS)).deleted, 1);
  assert.deepEqual(await pathsOf(store), []);
  await archive.close();
});

const lives: { name: string; by: "this" | "other"; isClosed: boolean; afterMs: number; isKept: boolean }[] = [
  {
    name: "this process has open, however old it is",
    by: "this",
    isClosed: false,
    afterMs: 9 * DAY_MS,
    isKept: true,
  },
  {
    name: "another replica has open that was heard just now",
    by: "other",
    isClosed: false,
    afterMs: 60_000,
    isKept: true,
  },
  {
    name: "another replica left open that is silent, on the same day",
    by: "other",
    isClosed: false,
    afterMs: 3_600_000,
    isKept: true,
  },
  {
    name: "another replica left open that is silent, a day later",
    by: "other",
    isClosed: false,
    afterMs: 2 * DAY_MS,
    isKept: false,
  },
  { name: "another replica ended", by: "other", isClosed: true, afterMs: 60_000, isKept: false },
];
for (const { name, by, isClosed, afterMs, isKept } of lives) {
  Deno.test(`the recording that ${name} is ${isKept ? "kept" : "deleted"}`, async () => {
    const store = new MemoryStore();
    const archive = await openArchive(store);
    const other = await openArchive(store, "gateway-1");
    const session = await begin(by === "this" ? archive : other, "a");
    if (isClosed) await session.end();
    const { sweeper } = sweeperOf(archive, { maxBytes: 1 });
    await sweeper.sweep(Date.now() + afterMs);
    assert.deepEqual(await pathsOf(store), isKept ? [session.path] : []);
    if (!isClosed) await session.end();
    await archive.close();
    await other.close();
  });
}

Deno.test("a recording on legal hold stays until it is released, whatever it costs", async () => {
  const store = new MemoryStore();
  const archive = await openArchive(store);
  const held = await record(archive, "held");
  const free = await record(archive, "free");
  await placeHold(store, held, NOTE);
  const { sweeper, announced } = sweeperOf(archive, { maxAgeDays: 1, maxBytes: 1 });
  await sweeper.sweep(Date.now() + 9 * DAY_MS);
  assert.deepEqual(await pathsOf(store), [held]);
  assert.deepEqual(announced.map(({ path }) => path), [free]);
  await releaseHold(store, held, NOTE);
  await sweeper.sweep(Date.now() + 9 * DAY_MS);
  assert.deepEqual([...store.files.keys()].filter((path) => chainInstance(path) === undefined), []);
  await archive.close();
});

Deno.test("a hold that comes after the announcement still holds", async () => {
  const store = new MemoryStore();
  const archive = await openArchive(store);
  const path = await record(archive, "a");
  const reports: string[] = [];
  const options = { maxAgeDays: 1, maxBytes: 0, sweepSeconds: 3600 };
  const sweeper = new RetentionSweeper(() => Promise.resolve(archive), options, {
    announce: async () => void await placeHold(store, path, NOTE),
    report: (message, cause) => void reports.push(`${message}: ${cause}`),
  });
  assert.deepEqual(await sweeper.sweep(Date.now() + 2 * DAY_MS), { deleted: 0, bytes: 0 });
  assert.deepEqual(await pathsOf(store), [path]);
  assert.match(reports.join(), /a\.rec was announced to be deleted, and is not: .*legal hold/);
  await archive.close();
});

Deno.test("two replicas that sweep one store at once do each other no harm", async () => {
  const store = new MemoryStore();
  const archives = await Promise.all(["gateway-0", "gateway-1"].map((name) => openArchive(store, name)));
  const [one, other] = archives as [RecordingArchive, RecordingArchive];
  for (let index = 0; index < 20; index++) await record(index % 2 ? one : other, `session-${index}`);
  const results = await Promise.all(
    archives.map((archive) => sweeperOf(archive, { maxBytes: 1 }).sweeper.sweep(Date.now())),
  );
  assert.ok(results.every(({ deleted }) => deleted > 0));
  assert.deepEqual(await pathsOf(store), []);
  assert.equal(new Set(await tombstonesOf(store)).size, 20);
  await Promise.all(archives.map((archive) => archive.close()));
});

Deno.test("what another replica deletes while one looks on is not made up for by younger recordings", async () => {
  const at = Date.parse("2026-11-12T12:00:00Z");
  const store = await threeDays(at);
  const archives = await Promise.all(["gateway-0", "gateway-2"].map((name) => openArchive(store, name)));
  const [one, other] = archives as [RecordingArchive, RecordingArchive];
  const list = store.list.bind(store);
  let hasSwept = false;
  store.list = async function* (prefix) {
    if (prefix === "2026/11/01/" && !hasSwept) {
      hasSwept = true;
      await sweeperOf(other, { maxBytes: 299 }).sweeper.sweep(at);
    }
    yield* list(prefix);
  };
  const { deleted } = await sweeperOf(one, { maxBytes: 299 }).sweeper.sweep(at);
  assert.deepEqual([hasSwept, deleted], [true, 0]);
  assert.deepEqual(await pathsOf(store), ["2026/11/02/a.rec", "2026/11/03/a.rec"]);
  await Promise.all(archives.map((archive) => archive.close()));
});

Deno.test("a chain that was forged does not stop the sweep of others", async () => {
  const store = new MemoryStore();
  const forged = new DayChain(undefined);
  const entries = [{ event: "began", recording: 7 }, { event: "began" }, {
    event: "deleted",
    recording: null,
  }];
  const lines = [{ event: "chain", instance: "x" }, ...entries].map((entry) =>
    forged.add(entry as unknown as ChainEntry, 0)
  );
  const file = await store.create("2026/11/01/x_120000000-0a1b2c3d.chain");
  await file.append(new TextEncoder().encode(lines.join("")));
  const archive = await openArchive(store);
  const path = await record(archive, "a");
  await sweeperOf(archive, { maxAgeDays: 1 }).sweeper.sweep(Date.now() + 2 * DAY_MS);
  assert.ok(!store.files.has(path));
  await archive.close();
});

Deno.test("what the store refuses to delete is announced once, and others go in its place", async () => {
  class LockedStore extends MemoryStore {
    override remove(path: string): Promise<void> {
      if (path.includes("locked")) return Promise.reject(new StoreError("refused", "the object is locked"));
      return super.remove(path);
    }
  }
  const store = new LockedStore();
  const archive = await openArchive(store);
  const locked = await record(archive, "locked");
  await record(archive, "free");
  store.modified.set(locked, new Date(0));
  const { sweeper, announced, reports } = sweeperOf(archive, { maxBytes: 1 });
  await sweeper.sweep(Date.now());
  await sweeper.sweep(Date.now());
  assert.deepEqual(await pathsOf(store), [locked]);
  assert.deepEqual([announced.length, reports.length], [2, 1]);
  await archive.close();
});

Deno.test("the mark that another gateway wrote a session's end goes with its recording", async () => {
  const store = new MemoryStore();
  const archive = await openArchive(store);
  const path = await record(archive, "a");
  await (await store.create(lostMarkOf(path))).close();
  await sweeperOf(archive, { maxAgeDays: 1 }).sweeper.sweep(Date.now() + 2 * DAY_MS);
  assert.deepEqual([...store.files.keys()].filter((file) => chainInstance(file) === undefined), []);
  await archive.close();
});

/** A day's chain of a gateway that is gone. */
async function addChain(store: MemoryStore, day: string, instance: string, entries: ChainEntry[]) {
  const now = () => Date.parse(`${day.replaceAll("/", "-")}T12:00:00Z`);
  const chain = await ChainWriter.open({ store, signer: undefined, instance, now });
  for (const entry of entries) await chain.add(entry);
  await chain.close();
  const path = [...store.files.keys()].find((file) => file.startsWith(`${day}/${instance}_`)) ?? "";
  store.modified.set(path, new Date(now()));
  return path;
}

Deno.test("a chain goes when it is too old and all that it names is gone, and the next chain says so", async () => {
  const store = new MemoryStore();
  const recording = "2026/11/01/held.rec";
  const chain = await addChain(store, "2026/11/01", "gateway-0", [
    { event: "began", recording, auditId: "held" },
    { event: "ended", recording, auditId: "held", link: "00" },
  ]);
  await (await store.create(recording)).append(new Uint8Array(10));
  await placeHold(store, recording, NOTE);
  const archive = await openArchive(store);
  const { sweeper, announced } = sweeperOf(archive, { maxAgeDays: 5, maxBytes: 1 });
  await sweeper.sweep(Date.now() + 9 * DAY_MS);
  assert.deepEqual(announced, [], "what is held keeps its chain");
  await releaseHold(store, recording, NOTE);
  await sweeper.sweep(Date.parse("2026-11-05T12:00:00Z"));
  assert.deepEqual(
    [store.files.has(recording), store.files.has(chain)],
    [false, true],
    "the chain is not old",
  );
  await sweeper.sweep(Date.now() + 9 * DAY_MS);
  assert.deepEqual(announced.map(({ path, reason }) => [path, reason]), [[recording, "size"], [
    chain,
    "age",
  ]]);
  assert.ok((await tombstonesOf(store)).includes(`${chain}: older than 5 days`));
  assert.equal((await pathsOf(store, ".chain")).length, 1, "a process keeps its own");
  await archive.close();
});

Deno.test("what calls a recording deleted outlives what names it: a hold on one keeps both", async () => {
  const store = new MemoryStore();
  const began = (name: string): ChainEntry => ({
    event: "began",
    recording: `2026/11/01/${name}.rec`,
    auditId: name,
  });
  const named = await addChain(store, "2026/11/01", "gateway-1", [began("a"), began("held")]);
  const sameDay = await addChain(store, "2026/11/01", "gateway-0", []);
  const deleted = await addChain(store, "2026/11/02", "gateway-1", [
    { event: "deleted", recording: "2026/11/01/a.rec", reason: "older than 1 day" },
  ]);
  const held = "2026/11/01/held.rec";
  await (await store.create(held)).close();
  store.modified.set(held, new Date("2026-11-01T13:00:00Z"));
  await placeHold(store, held, NOTE);
  const archive = await openArchive(store, "gateway-2");
  const { sweeper } = sweeperOf(archive, { maxAgeDays: 5 });
  const nowMs = Date.parse("2026-11-12T12:00:00Z");
  await sweeper.sweep(nowMs);
  assert.deepEqual([named, sameDay, deleted].map((chain) => store.files.has(chain)), [true, true, true]);
  await releaseHold(store, held, NOTE);
  await sweeper.sweep(nowMs);
  assert.deepEqual([named, sameDay, deleted].map((chain) => store.files.has(chain)), [false, false, false]);
  await archive.close();
});

const torn: { name: string; tail: string; isKept: boolean }[] = [
  { name: "with a line that is wrong is kept: nobody knows what it named", tail: '{"n":2}\n', isKept: true },
  { name: "whose last line is cut goes: nobody was told that it is durable", tail: '{"n":2', isKept: false },
];
for (const { name, tail, isKept } of torn) {
  Deno.test(`a chain ${name}`, async () => {
    const store = new MemoryStore();
    const chain = await addChain(store, "2026/11/01", "gateway-1", []);
    store.files.get(chain)?.push(new TextEncoder().encode(tail));
    const next = await addChain(store, "2026/11/02", "gateway-2", []);
    const archive = await openArchive(store);
    await sweeperOf(archive, { maxAgeDays: 5 }).sweeper.sweep(Date.parse("2026-11-12T12:00:00Z"));
    assert.deepEqual([chain, next].map((path) => store.files.has(path)), [isKept, false]);
    await archive.close();
  });
}

Deno.test("whatever is recorded, held and open, what remains fits, or nothing more may go", async () => {
  const sessions = fc.array(
    fc.record({ bytes: fc.integer({ min: 1, max: 4000 }), state: fc.constantFrom("ended", "open", "held") }),
    { minLength: 1, maxLength: 8 },
  );
  await fc.assert(
    fc.asyncProperty(sessions, fc.integer({ min: 1, max: 20_000 }), async (given, maxBytes) => {
      const store = new MemoryStore();
      const archive = await openArchive(store);
      const kept = new Set<string>();
      const open: (() => Promise<unknown>)[] = [];
      for (const [index, { bytes, state }] of given.entries()) {
        const session = await begin(archive, `session-${index}`, bytes);
        if (state === "open") open.push(session.end);
        else await session.end();
        if (state === "held") await placeHold(store, session.path, NOTE);
        if (state !== "ended") kept.add(session.path);
      }
      await sweeperOf(archive, { maxBytes }).sweeper.sweep(Date.now());
      const remaining = await pathsOf(store);
      assert.ok([...kept].every((path) => remaining.includes(path)));
      assert.ok(await bytesOf(store) <= maxBytes || remaining.every((path) => kept.has(path)));
      for (const end of open) await end();
      await archive.close();
    }),
    { numRuns: 30 },
  );
});

Deno.test({
  name: "a folder's recordings are gone from the disk, and what is left verifies without a word of them",
  sanitizeOps: true,
  sanitizeResources: true,
  async fn() {
    const folder = await Deno.makeTempDir({ prefix: "postern-retention-" });
    const store = new FolderStore(folder);
    const archive = await openArchive(store);
    const paths: string[] = [];
    for (let index = 0; index < 6; index++) {
      const path = await record(archive, `session-${index}`, 100_000);
      const when = new Date(Date.now() - (10 - index) * 60_000);
      await Deno.utime(join(folder, path), when, when);
      paths.push(path);
    }
    const { sweeper } = sweeperOf(archive, { maxBytes: 350_000 });
    const { deleted, bytes } = await sweeper.sweep(Date.now());
    assert.equal(deleted, 3);
    assert.ok(bytes > 300_000);
    assert.deepEqual(await pathsOf(store), paths.slice(3));
    let onDisk = 0;
    for (const path of paths.slice(3)) onDisk += (await Deno.stat(join(folder, path))).size;
    assert.ok(onDisk <= 350_000);
    await assert.rejects(Deno.stat(join(folder, paths[0] ?? "")), Deno.errors.NotFound);
    await archive.close();

    const verifier = new Verifier([KEYS.publicKey]);
    const audit = new ChainAudit(verifier);
    for (const path of paths.slice(3)) {
      const recording = new RecordingVerifier(verifier);
      for await (const chunk of await store.open(path)) recording.push(chunk);
      audit.recording(path, recording.end());
    }
    for (const path of await pathsOf(store, ".chain")) {
      assert.equal((await audit.chain(path, await store.open(path))).fault, undefined);
    }
    assert.deepEqual(await audit.end("", () => Promise.resolve(false)), []);
    await Deno.remove(folder, { recursive: true });
  },
});

Deno.test("a sweeper sweeps by itself, and no more once it is closed", async () => {
  const store = new MemoryStore();
  const archive = await openArchive(store);
  const { sweeper } = sweeperOf(archive, { maxBytes: 1, sweepSeconds: 0.02 });
  await record(archive, "a");
  sweeper.start();
  while ((await pathsOf(store)).length > 0) await new Promise((resolve) => setTimeout(resolve, 5));
  await record(archive, "b");
  while ((await pathsOf(store)).length > 0) await new Promise((resolve) => setTimeout(resolve, 5));
  await sweeper.close();
  const path = await record(archive, "c");
  await new Promise((resolve) => setTimeout(resolve, 60));
  assert.deepEqual(await pathsOf(store), [path]);
  await archive.close();
});

Deno.test("a sweeper with nothing to delete by does not run", async () => {
  let asked = 0;
  const sweeper = new RetentionSweeper(
    () => Promise.resolve(void asked++),
    { maxAgeDays: 0, maxBytes: 0, sweepSeconds: 0.001 },
    { announce: () => Promise.resolve(), report: () => {} },
  );
  sweeper.start();
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert.equal(asked, 0);
  await sweeper.close();
});
