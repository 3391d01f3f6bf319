import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import { SCHEMA_VERSION } from "../migrations.ts";
import { SqlCatalog } from "../sql_catalog.ts";
import { catalogSuite, everything } from "../test_catalog.ts";
import { openSession, wholeSession } from "../test_events.ts";
import { SqliteStore } from "./sqlite.ts";

catalogSuite("SqliteStore", async () => {
  const folder = await Deno.makeTempDir();
  const catalog = await SqlCatalog.open(await SqliteStore.open(`${folder}/index.sqlite`));
  return {
    catalog,
    remove: async () => {
      await catalog.close();
      await Deno.remove(folder, { recursive: true });
    },
  };
});

/** A test with the path of a file that is not there yet. */
function fileTest(name: string, body: (path: string) => Promise<void>): void {
  Deno.test({
    name,
    sanitizeOps: true,
    sanitizeResources: true,
    fn: async () => {
      const folder = await Deno.makeTempDir();
      try {
        await body(`${folder}/index.sqlite`);
      } finally {
        await Deno.remove(folder, { recursive: true });
      }
    },
  });
}

fileTest("SqliteStore makes its files for their owner alone", async (path) => {
  const catalog = await SqlCatalog.open(await SqliteStore.open(path));
  await catalog.apply(openSession());
  for (const file of [path, `${path}-wal`, `${path}-shm`]) {
    assert.equal(((await Deno.stat(file)).mode ?? 0) & 0o777, 0o600, file);
  }
  await catalog.close();
});

fileTest("SqliteStore has what was applied when it is opened again", async (path) => {
  const first = await SqlCatalog.open(await SqliteStore.open(path));
  await first.apply(wholeSession());
  const want = await everything(first);
  await first.close();
  const second = await SqlCatalog.open(await SqliteStore.open(path));
  assert.deepEqual(await everything(second), want);
  await second.close();
});

fileTest("SqliteStore: two gateways write to one file, and neither loses anything", async (path) => {
  const catalogs = [
    await SqlCatalog.open(await SqliteStore.open(path)),
    await SqlCatalog.open(await SqliteStore.open(path)),
  ];
  const ids = Array.from({ length: 20 }, (_, index) => `session-${index}`);
  for (const [index, auditId] of ids.entries()) {
    await catalogs[index % 2]?.apply(openSession({ auditId, minute: index }));
  }
  assert.equal((await catalogs[0]!.sessions({})).length, 20);
  for (const catalog of catalogs) await catalog.close();
});

fileTest("SqliteStore: applies at the same time do not mix their transactions", async (path) => {
  const catalog = await SqlCatalog.open(await SqliteStore.open(path));
  const [decision, start] = openSession({ auditId: "broken" });
  const applied = await Promise.allSettled([
    catalog.apply(wholeSession({ auditId: "a" })),
    catalog.apply([decision!, { ...start!, stageTimestamp: "never" }]),
    catalog.apply(wholeSession({ auditId: "b" })),
  ]);
  assert.deepEqual(applied.map(({ status }) => status), ["fulfilled", "rejected", "fulfilled"]);
  assert.deepEqual((await catalog.sessions({})).map(({ auditId }) => auditId), ["b", "a"]);
  await catalog.close();
});

fileTest("an index that a newer gateway made is left alone", async (path) => {
  const catalog = await SqlCatalog.open(await SqliteStore.open(path));
  await catalog.close();
  const database = new DatabaseSync(path);
  database.exec(`update schema_version set version = ${SCHEMA_VERSION + 1}`);
  database.close();
  await assert.rejects(SqlCatalog.open(await SqliteStore.open(path)), { code: "version" });
});

fileTest("a file that is no database is not touched", async (path) => {
  await Deno.writeTextFile(path, "dear diary, ".repeat(100));
  await assert.rejects(SqliteStore.open(path), { code: "unavailable" });
  assert.match(await Deno.readTextFile(path), /^dear diary/);
});

fileTest("SqliteStore: a file that cannot be made is told of, and no thread is left", async (path) => {
  await assert.rejects(SqliteStore.open(`${path}/in/no/folder`), { code: "unavailable" });
});

fileTest("SqliteStore answers nothing after it is closed", async (path) => {
  const catalog = await SqlCatalog.open(await SqliteStore.open(path));
  await catalog.close();
  await assert.rejects(catalog.sessions({}), { code: "unavailable" });
  await assert.rejects(catalog.apply(openSession()), { code: "unavailable" });
});

fileTest("SqliteStore: a disk that is full is told of, and used again when there is room", async (path) => {
  const store = await SqliteStore.open(path);
  const catalog = await SqlCatalog.open(store);
  await catalog.apply(openSession({ auditId: "a" }));
  // As a full disk does, in the midst of a transaction.
  await store.transaction(({ query }) => query("pragma max_page_count=1")).catch(() => {});
  const long = wholeSession({ auditId: "b", argv: ["x".repeat(100_000)] });
  await assert.rejects(catalog.apply(long), { code: "unavailable", message: /full/ });
  assert.deepEqual((await catalog.sessions({})).map(({ auditId }) => auditId), ["a"]);
  await store.transaction(({ query }) => query("pragma max_page_count=1000000"));
  await catalog.apply(long);
  assert.deepEqual((await catalog.sessions({})).length, 2);
  await catalog.close();
});
