import assert from "node:assert/strict";
import { generateKeyPairSync } from "node:crypto";
import { SinkJournal } from "../audit/journal.ts";
import { FileSink } from "../audit/sinks/file.ts";
import { RecordingArchive, type RecordingFacts } from "../recording/archive.ts";
import { Signer } from "../recording/format/signer.ts";
import { FolderStore } from "../recording/sinks/folder.ts";
import { CatalogFeed } from "./catalog_feed.ts";
import { rebuildSqlite } from "./rebuild.ts";
import { SqlCatalog } from "./sql_catalog.ts";
import { SqliteStore } from "./stores/sqlite.ts";
import { everything } from "./test_catalog.ts";
import { deniedSession, openSession, portForward, unauthorizedSession, wholeSession } from "./test_events.ts";

/** A test with a folder of its own. */
function folderTest(name: string, body: (folder: string) => Promise<void>): void {
  Deno.test({
    name: `rebuildSqlite ${name}`,
    sanitizeOps: true,
    sanitizeResources: true,
    fn: async () => {
      const folder = await Deno.makeTempDir();
      try {
        await body(folder);
      } finally {
        await Deno.remove(folder, { recursive: true });
      }
    },
  });
}

/** A gateway's day: sessions of every kind go to files that rotate, and by the feed to the index. */
async function live(folder: string): Promise<unknown[]> {
  const sink = new FileSink({ path: `${folder}/audit.log`, maxBytes: 65536, maxFiles: 50, fsync: false });
  const journal = new SinkJournal([sink]);
  const catalog = await SqlCatalog.open(await SqliteStore.open(`${folder}/index.sqlite`));
  const feed = new CatalogFeed(catalog, { name: "gateway-1" });
  const kinds = [wholeSession, deniedSession, unauthorizedSession, portForward, openSession];
  for (let minute = 0; minute < 60; minute++) {
    const events = kinds[minute % kinds.length]?.({ auditId: `session-${minute}`, minute }) ?? [];
    for (const event of events) {
      await journal.append([event]);
      feed.push([event]);
    }
  }
  await feed.close();
  await journal.close();
  const rows = await everything(catalog);
  await catalog.close();
  return rows;
}

async function contents(path: string): Promise<unknown[]> {
  const catalog = await SqlCatalog.open(await SqliteStore.open(path));
  try {
    return await everything(catalog);
  } finally {
    await catalog.close();
  }
}

folderTest("makes from rotated files what the live index had, row by row", async (folder) => {
  const want = await live(folder);
  assert.ok((await Deno.stat(`${folder}/audit.log.3`)).isFile, "the files have rotated");
  const path = `${folder}/index.sqlite`;
  const before = (await Deno.stat(path)).ino;
  const result = await rebuildSqlite(path, { events: [`${folder}/audit.log`] });
  assert.equal(want.length, 60);
  assert.deepEqual(await contents(path), want);
  assert.equal(result.recordings, 0);
  const { ino, mode } = await Deno.stat(path);
  assert.notEqual(ino, before, "a new file is in the place of the old one");
  assert.equal((mode ?? 0) & 0o777, 0o600);
});

folderTest("makes what was lost, and what was destroyed", async (folder) => {
  const want = await live(folder);
  const path = `${folder}/index.sqlite`;
  await Deno.remove(path);
  await rebuildSqlite(path, { events: [`${folder}/audit.log`] });
  assert.deepEqual(await contents(path), want);
  await Deno.writeTextFile(path, "this was a database once");
  await Deno.writeTextFile(`${path}-wal`, "and this its journal");
  await rebuildSqlite(path, { events: [`${folder}/audit.log`] });
  assert.deepEqual(await contents(path), want);
});

folderTest("changes nothing while a gateway has the file open", async (folder) => {
  const want = await live(folder);
  const path = `${folder}/index.sqlite`;
  const gateway = await SqlCatalog.open(await SqliteStore.open(path));
  await assert.rejects(rebuildSqlite(path, { events: [`${folder}/audit.log`] }), { code: "in_use" });
  assert.deepEqual(await everything(gateway), want);
  await gateway.apply(wholeSession({ auditId: "later" }));
  await gateway.close();
});

folderTest("leaves the old file where the new one cannot be made", async (folder) => {
  const want = await live(folder);
  const path = `${folder}/index.sqlite`;
  await assert.rejects(rebuildSqlite(path, { events: [`${folder}/nothing.log`] }), { code: "invalid" });
  assert.deepEqual(await contents(path), want);
  const names = (await Array.fromAsync(Deno.readDir(folder))).map(({ name }) => name);
  assert.ok(!names.some((name) => name.includes("rebuild")), "nothing is left beside it");
});

const FACTS: Omit<RecordingFacts, "auditId"> = {
  user: { username: "robot" },
  impersonatedUser: { username: "alice" },
  sourceIps: ["192.0.2.7"],
  requestUri: "/api/v1/namespaces/default/pods/web/exec?command=sh",
  kind: "exec",
  namespace: "default",
  pod: "web",
  podUid: "u-1",
  node: "n1",
  container: "main",
  argv: ["sh", "-c", "id"],
  tty: true,
  protocol: "SPDY/3.1 v4.channel.k8s.io",
};

/** Recordings below a folder: one of each audit ID, the last one cut off in the middle. */
async function record(folder: string, auditIds: readonly string[]): Promise<string[]> {
  const { privateKey } = generateKeyPairSync("ed25519", {
    privateKeyEncoding: { type: "pkcs8", format: "pem" },
    publicKeyEncoding: { type: "spki", format: "pem" },
  });
  const archive = await RecordingArchive.open(new FolderStore(folder), new Signer(privateKey), {
    ...{ instance: "gateway-0", stdin: "content", windowBytes: 65536, windowMs: 1000 },
    ...{ appendTimeoutMs: 5000, sealEveryMs: 60_000, recipients: [], onFailure: () => {} },
  });
  const paths: string[] = [];
  for (const auditId of auditIds) {
    const session = await archive.begin({ auditId, ...FACTS }, { isRequired: true, streams: "content" });
    await session.push({ type: "opened", id: 5, stream: "stdout" });
    const bytes = new TextEncoder().encode("hello");
    await session.push({ type: "data", id: 5, stream: "stdout", direction: "out", bytes });
    const end = { reason: "command_ended", by: "upstream", message: "the command ended", exitCode: 3 };
    const totals = { streams: 1, bytesIn: 0, bytesOut: 5 };
    const result = await session.end({ ...end, ...{ totals } });
    await session.settle(result);
    paths.push(result.path);
  }
  await archive.close();
  const last = `${folder}/${paths.at(-1)}`;
  await Deno.truncate(last, (await Deno.stat(last)).size - 450);
  return paths;
}

folderTest("takes sessions whose events are missing from their recordings", async (folder) => {
  const store = new FolderStore(`${folder}/recordings`);
  const paths = await record(`${folder}/recordings`, ["known", "unknown", "cut"]);
  await Deno.writeTextFile(`${folder}/recordings/2026.rec`, "no recording");
  const events = wholeSession({ auditId: "known" }).map((event) => `${JSON.stringify(event)}\n`);
  await Deno.writeTextFile(`${folder}/audit.log`, events.join(""));
  const path = `${folder}/index.sqlite`;
  const skipped: string[] = [];
  const result = await rebuildSqlite(path, {
    events: [`${folder}/audit.log`],
    recordings: store,
    onSkipped: (message) => skipped.push(message),
  });
  assert.deepEqual(result, { events: events.length, recordings: 2 });
  assert.deepEqual(skipped, ["2026.rec: this is no recording"]);

  const catalog = await SqlCatalog.open(await SqliteStore.open(path));
  const known = await catalog.session("known");
  assert.deepEqual([known?.decisions.length, known?.exitCode, known?.recording], [1, 7, undefined]);

  const { startedAt, openedAt, endedAt, durationMs, recordingLink, ...unknown } =
    (await catalog.session("unknown"))!;
  assert.equal(openedAt, startedAt);
  assert.ok(endedAt !== undefined && endedAt >= startedAt && durationMs !== undefined && durationMs >= 0);
  assert.match(recordingLink ?? "", /^[0-9a-f]{64}$/);
  assert.deepEqual(unknown, {
    auditId: "unknown",
    username: "robot",
    impersonatedUser: "alice",
    sourceIp: "192.0.2.7",
    kind: "exec",
    namespace: "default",
    pod: "web",
    podUid: "u-1",
    node: "n1",
    container: "main",
    argv: ["sh", "-c", "id"],
    tty: true,
    protocol: "SPDY/3.1 v4.channel.k8s.io",
    recording: paths[1],
    outcome: "end",
    endReason: "command_ended",
    endedBy: "upstream",
    message: "the command ended",
    code: 101,
    exitCode: 3,
    bytesIn: 0,
    bytesOut: 5,
    decisions: [],
    streams: [],
    connections: [],
    more: false,
  });

  const cut = await catalog.session("cut");
  assert.deepEqual([cut?.recordingError, cut?.endedAt], ["it has no end", undefined]);
  await catalog.close();
});
