import assert from "node:assert/strict";
import { MemoryStore } from "../../tests/support/memory_store.ts";
import { RecordingArchive } from "../archive.ts";
import { ChainWriter } from "./chain_writer.ts";
import { ChainSummaries } from "./chain_summaries.ts";
import {
  claim,
  findLostRecordings,
  type LostSearch,
  readLostSession,
  SILENCE_MS,
} from "./lost_recordings.ts";
import { FACTS } from "../test_recording.ts";

const END = { reason: "command_ended", by: "upstream", message: "the command ended", exitCode: 0 };

async function open(store: MemoryStore, instance: string) {
  return await RecordingArchive.open(store, undefined, {
    ...{ instance, stdin: "content", windowBytes: 65536, windowMs: 1000, appendTimeoutMs: 5000 },
    ...{ sealEveryMs: 60_000, recipients: [] },
    onFailure: () => {},
  });
}

/** A gateway with a session that ended, one that is half told, and one that was never begun to be told of. */
async function gone(store: MemoryStore, instance: string): Promise<void> {
  const archive = await open(store, instance);
  const done = await archive.begin({ ...FACTS, auditId: `${instance}-done` }, TERMS);
  await done.settle(await done.end(END));
  const told = await archive.begin({ ...FACTS, auditId: `${instance}-told` }, TERMS);
  await told.end(END);
  const half = await archive.begin({ ...FACTS, auditId: `${instance}-half` }, TERMS);
  await half.push({ type: "opened", id: 5, stream: "stdout" });
  const bytes = new TextEncoder().encode("half a word");
  await half.push({ type: "data", id: 5, stream: "stdout", direction: "out", bytes });
  await new Promise((resolve) => setTimeout(resolve, 5));
  await archive.close();
}

const TERMS = { isRequired: true, streams: "content" } as const;

function search(store: MemoryStore, options: Partial<LostSearch> = {}): LostSearch {
  return {
    ...{ store, summaries: new ChainSummaries(store), instance: "gateway-0", nowMs: Date.now(), days: 2 },
    ...{ isOwn: () => false, isGivenUp: () => false },
    ...options,
  };
}

async function find(store: MemoryStore, instance: string, nowMs = Date.now(), isOwn = (_: string) => false) {
  const found = await findLostRecordings(search(store, { instance, nowMs, isOwn }));
  return found.map(({ auditId }) => auditId).sort();
}

Deno.test("a chain is read again only when it has grown", async () => {
  const store = new MemoryStore();
  await gone(store, "gateway-0");
  let opens = 0;
  const open = store.open.bind(store);
  store.open = (path) => {
    opens++;
    return open(path);
  };
  const summaries = new ChainSummaries(store);
  await findLostRecordings(search(store, { summaries }));
  const first = opens;
  assert.equal((await findLostRecordings(search(store, { summaries }))).length, 2);
  assert.deepEqual([first, opens], [1, 1]);
  const [chain = ""] = [...store.files.keys()].filter((path) => path.endsWith(".chain"));
  store.files.get(chain)!.push(new TextEncoder().encode("more"));
  await findLostRecordings(search(store, { summaries }));
  assert.equal(opens, 2);
});

Deno.test("what an earlier process of this instance left open is lost, at once", async () => {
  const store = new MemoryStore();
  await gone(store, "gateway-0");
  assert.deepEqual(await find(store, "gateway-0"), ["gateway-0-half", "gateway-0-told"]);
});

Deno.test("what another instance has open is lost when its chain has been silent", async () => {
  const store = new MemoryStore();
  await gone(store, "gateway-0");
  assert.deepEqual(await find(store, "gateway-1"), []);
  assert.deepEqual(await find(store, "gateway-1", Date.now() + SILENCE_MS + 1000), [
    "gateway-0-half",
    "gateway-0-told",
  ]);
});

Deno.test("what another instance began before midnight is not lost while today's chain is heard", async () => {
  const store = new MemoryStore();
  let nowMs = Date.parse("2026-11-20T23:58:00Z");
  const chain = await ChainWriter.open({ store, signer: undefined, instance: "gateway-0", now: () => nowMs });
  await chain.add({ event: "began", recording: "2026/11/20/a.rec", auditId: "a" });
  nowMs = Date.parse("2026-11-21T00:30:00Z");
  await chain.add({ event: "alive" });
  await chain.close();
  assert.deepEqual(await find(store, "gateway-1", nowMs + 60_000), []);
  assert.deepEqual(await find(store, "gateway-1", nowMs + SILENCE_MS + 1000), ["a"]);
});

Deno.test("what this process has open is not lost", async () => {
  const store = new MemoryStore();
  const archive = await open(store, "gateway-0");
  await archive.begin(FACTS, TERMS);
  assert.deepEqual(await find(store, "gateway-0", Date.now(), (chain) => archive.isOwn(chain)), []);
  await archive.close();
});

Deno.test("what was given up once is not lost again", async () => {
  const store = new MemoryStore();
  await gone(store, "gateway-0");
  const archive = await open(store, "gateway-1");
  for (const name of ["half", "told"]) {
    const [path = ""] = [...store.files.keys()].filter((each) => each.endsWith(`-${name}.rec`));
    await archive.giveUp(path, `gateway-0-${name}`, "the gateway was lost");
  }
  assert.deepEqual(await find(store, "gateway-0"), []);
  await archive.close();
});

Deno.test("one replica alone claims a lost recording, and another when the first has died over it", async () => {
  const store = new MemoryStore();
  await gone(store, "gateway-0");
  const [lost] = await findLostRecordings(search(store));
  const [one, other] = await Promise.all([claim(store, lost!, Date.now()), claim(store, lost!, Date.now())]);
  assert.equal([one, other].filter((each) => each !== undefined).length, 1);
  const later = Date.now() + SILENCE_MS + 1000;
  const again = await claim(store, lost!, later);
  assert.notEqual(again, undefined, "the first never said that it was done");
  await again!();
  assert.equal(await claim(store, lost!, later + 2 * SILENCE_MS), undefined);
});

Deno.test("a lost session is read as far as its recording goes", async () => {
  const store = new MemoryStore();
  await gone(store, "gateway-0");
  const path = (name: string) => [...store.files.keys()].find((each) => each.endsWith(`-${name}.rec`))!;
  const half = await readLostSession(store, { path: path("half"), auditId: "gateway-0-half" });
  assert.equal(half?.header.pod, "web");
  assert.deepEqual(half?.streams, [{ name: "stdout", count: 1, bytesIn: 0, bytesOut: 11 }]);
  assert.equal(half?.trailer, undefined);
  const told = await readLostSession(store, { path: path("told"), auditId: "gateway-0-told" });
  assert.equal(told?.trailer?.exitCode, 0);
  store.files.set(path("half"), [store.bytes(path("half")).subarray(0, 30)]);
  assert.equal(await readLostSession(store, { path: path("half"), auditId: "" }), undefined);
});
