/** The index in a real PostgreSQL: the same as in SQLite, and no event lost when the server is. */

import assert from "node:assert/strict";
import { join } from "node:path";
import type { AuditEvent } from "../../audit/event.ts";
import { SinkJournal } from "../../audit/journal.ts";
import { FileSink } from "../../audit/sinks/file.ts";
import { CatalogFeed } from "../../catalog/catalog_feed.ts";
import { openPostgresql } from "../../catalog/open_catalog.ts";
import { rebuildPostgresql } from "../../catalog/rebuild.ts";
import { SqlCatalog } from "../../catalog/sql_catalog.ts";
import { PostgresqlStore } from "../../catalog/stores/postgresql.ts";
import { SqliteStore } from "../../catalog/stores/sqlite.ts";
import { catalogSuite, everything } from "../../catalog/test_catalog.ts";
import { openSession, wholeSession } from "../../catalog/test_events.ts";
import { makeAuthority } from "../cluster/certificates.ts";
import { Gateway } from "./support/gateway.ts";
import { kubectl } from "./support/kubectl.ts";
import { PostgresqlServer } from "./support/postgresql.ts";
import { eventually } from "./support/wait.ts";

let server: PostgresqlServer;
let schemas = 0;

Deno.test.beforeAll(async () => {
  server = await PostgresqlServer.start();
});
Deno.test.afterAll(() => server[Symbol.asyncDispose]());

/** The index in a schema of its own. */
async function openSchema(schema = `test_${++schemas}`, { at = server, timeoutMs = 15_000 } = {}) {
  const store = await PostgresqlStore.open({ url: at.url(), schema, timeoutMs });
  return { catalog: await SqlCatalog.open(store), schema };
}

catalogSuite("PostgresqlStore", async () => {
  const { catalog } = await openSchema();
  return { catalog, remove: () => catalog.close() };
});

/** A test on the server. */
function serverTest(name: string, body: () => Promise<void>): void {
  Deno.test({ name, sanitizeOps: true, sanitizeResources: true, fn: body });
}

serverTest("the same events make the same rows in SQLite and in PostgreSQL", async () => {
  const folder = await Deno.makeTempDir();
  const sqlite = await SqlCatalog.open(await SqliteStore.open(join(folder, "index.sqlite")));
  const { catalog: postgresql } = await openSchema();
  // Names that a locale sorts otherwise than their bytes do.
  const ids = ["a", "B", "ä", "Z", "_", "10", "9"];
  for (const catalog of [sqlite, postgresql]) {
    await catalog.apply(ids.flatMap((auditId) => wholeSession({ auditId, argv: ["ÄÖÜ", auditId] })));
  }
  assert.deepEqual(await everything(postgresql), await everything(sqlite));
  assert.equal((await postgresql.sessions({ argv: "äöü" })).length, ids.length);
  await sqlite.close();
  await postgresql.close();
  await Deno.remove(folder, { recursive: true });
});

serverTest("replicas open one new schema at once, and write to it at once, and lose nothing", async () => {
  const schema = `test_${++schemas}`;
  const catalogs = await Promise.all([1, 2, 3].map(() => openSchema(schema)));
  const events = Array.from({ length: 30 }, (_, index) => wholeSession({ auditId: `s-${index}` })).flat();
  // Each replica sees other events of the same sessions.
  await Promise.all(
    catalogs.map(({ catalog }, replica) =>
      Promise.all(events.filter((_, index) => index % 3 === replica).map((event) => catalog.apply([event])))
    ),
  );
  const [first] = catalogs;
  const { catalog: once } = await openSchema();
  await once.apply(events);
  assert.deepEqual(await everything(first!.catalog), await everything(once));
  for (const { catalog } of [...catalogs, { catalog: once }]) await catalog.close();
});

serverTest(
  "a server that is killed and started again while events flow has all of them in the end",
  async () => {
    await using mortal = await PostgresqlServer.start();
    const { catalog } = await openSchema("postern", { at: mortal });
    const feed = new CatalogFeed(catalog, { name: "gateway-1", retryMs: 50 });
    const all: AuditEvent[] = [];
    const flow = async (count: number) => {
      for (let index = 0; index < count; index++) {
        const events = wholeSession({ auditId: `session-${all.length}`, minute: index });
        all.push(...events);
        feed.push(events);
        await new Promise((resolve) => setTimeout(resolve, 2));
      }
    };
    await flow(50);
    const killed = mortal.kill();
    await flow(50);
    await killed;
    await eventually("the feed says that the index is down", () => feed.status().healthy ? undefined : true);
    await flow(50);
    await mortal.resume();
    await eventually("nothing waits any more", () => {
      const { healthy, pendingEvents } = feed.status();
      return healthy && pendingEvents === 0 ? true : undefined;
    }, { deadlineMs: 30_000 });
    await feed.close();

    const { catalog: want } = await openSchema();
    await want.apply(all);
    assert.equal((await catalog.sessions({}, { limit: 1000 })).length, 150);
    assert.deepEqual(await everything(catalog), await everything(want));
    await catalog.close();
    await want.close();
  },
);

serverTest("who asks while the server ends every connection is answered", async () => {
  const { catalog } = await openSchema();
  await catalog.apply(wholeSession({ auditId: "kept" }));
  const ask = () => Promise.all(Array.from({ length: 20 }, () => catalog.session("kept")));
  await ask(); // now all connections are open
  const store = await PostgresqlStore.open({ url: server.url() });
  const [, answers] = await Promise.all([
    store.query(
      "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'postern' and pid <> pg_backend_pid()",
    ),
    ask(),
  ]);
  assert.deepEqual(answers.map((session) => session?.auditId), Array.from({ length: 20 }, () => "kept"));
  await store.close();
  await catalog.close();
});

/** Minutes by which these events are made after the rebuild began, whenever this runs within ten years: a rebuild reads those again. */
const LATER = 10 * 365 * 24 * 60;

serverTest("the index is made anew while a gateway writes to it, and has everything", async () => {
  const folder = await Deno.makeTempDir();
  await Deno.writeTextFile(join(folder, "url"), server.url());
  const options = { urlFile: join(folder, "url"), maxConnections: 4 };
  const catalog = await SqlCatalog.open(await openPostgresql(options));
  const path = join(folder, "audit.log");
  const sink = new FileSink({ path, maxBytes: 262144, maxFiles: 100, fsync: false });
  const journal = new SinkJournal([sink]);
  const feed = new CatalogFeed(catalog, { name: "gateway-1" });
  const all: AuditEvent[] = [];
  const write = async (count: number) => {
    for (let index = 0; index < count; index++) {
      const events = wholeSession({ auditId: `session-${all.length}`, minute: LATER + index });
      all.push(...events);
      await journal.append(events);
      feed.push(events);
    }
  };
  await write(100);
  // Nobody's event tells of it: what is made anew must not have it.
  await catalog.apply(openSession({ auditId: "forged" }));

  let isDone = false;
  const writing = (async () => {
    while (!isDone && all.length < 5_000) await write(1);
  })();
  await rebuildPostgresql(options, { events: [path] });
  isDone = true;
  await writing;
  await write(10);
  await feed.close();
  assert.deepEqual(feed.status().lastError, undefined);
  await journal.close();

  const { catalog: want } = await openSchema();
  await want.apply(all);
  assert.ok(all.length > 700, `${all.length} events: some were written meanwhile`);
  assert.deepEqual(await everything(catalog), await everything(want));
  await catalog.close();
  await want.close();
  await Deno.remove(folder, { recursive: true });
});

serverTest("a server that hangs is told of within the deadline, and used again when it goes on", async () => {
  const { catalog } = await openSchema(undefined, { timeoutMs: 5_000 });
  await catalog.apply(openSession({ auditId: "before" }));
  await server.signal("SIGSTOP");
  const begun = performance.now();
  await assert.rejects(catalog.apply(openSession({ auditId: "meanwhile" })), { code: "unavailable" });
  const tookMs = performance.now() - begun;
  await server.signal("SIGCONT");
  assert.ok(tookMs < 7_000, `${tookMs} ms`);
  await eventually(
    "it answers again",
    () => catalog.apply(openSession({ auditId: "after" })).then(() => true, () => undefined),
  );
  const ids = (await catalog.sessions({})).map(({ auditId }) => auditId);
  assert.ok(ids.includes("before") && ids.includes("after"));
  await catalog.close();
});

serverTest("the connection is TLS where an authority is given, to a name as to an address", async () => {
  for (const host of ["127.0.0.1", "localhost"]) {
    const store = await PostgresqlStore.open({ url: server.url(host), ca: server.ca, schema: "test_tls" });
    const [row] = await store.query("select ssl from pg_stat_ssl where pid = pg_backend_pid()");
    assert.equal(row?.ssl, true, host);
    await store.close();
  }
});

const refused: { name: string; options(): Promise<{ url: string; ca?: string }>; message: RegExp }[] = [
  {
    name: "a server that another authority vouches for",
    options: async () => {
      const rogue = (await makeAuthority("rogue")).certificate.toString("pem");
      return { url: server.url(), ca: rogue };
    },
    message: /certificate/i,
  },
  {
    name: "a wrong password",
    options: () => Promise.resolve({ url: server.url().replace(server.password, "s3cret") }),
    message: /password authentication failed/,
  },
  {
    name: "a port where nobody listens",
    options: () => Promise.resolve({ url: server.url().replace(`:${server.port}/`, ":1/") }),
    message: /ECONNREFUSED|refused/i,
  },
  {
    name: "a URL that is none",
    options: () => Promise.resolve({ url: `${server.password}@host` }),
    message: /expected a URL/,
  },
];
for (const { name, options, message } of refused) {
  serverTest(`PostgresqlStore.open refuses ${name}, and says no password`, async () => {
    const thrown = await PostgresqlStore.open({ ...await options(), timeoutMs: 5_000 }).catch((error) =>
      error
    );
    assert.ok(thrown instanceof Error);
    assert.match(thrown.message, message);
    assert.ok(!thrown.message.includes(server.password) && !thrown.message.includes("s3cret"));
  });
}

serverTest("a gateway's sessions are in the index, also those of a time when it was down", async () => {
  await using mortal = await PostgresqlServer.start();
  const folder = await Deno.makeTempDir({ prefix: "postern-e2e-index-" });
  const [urlFile, caFile] = [join(folder, "url"), join(folder, "ca.crt")];
  await Deno.writeTextFile(urlFile, mortal.url());
  await Deno.writeTextFile(caFile, mortal.ca);
  const index = { type: "postgresql" as const, postgresql: { urlFile, caFile } };
  const { catalog } = await openSchema("postern", { at: mortal });
  try {
    await using gateway = await Gateway.start({ index });
    const run = async (marker: string) => {
      const args = ["exec", "shell", "--", "true", marker];
      const { code } = await kubectl({ cluster: gateway.cluster, endpoint: gateway, args });
      assert.equal(code, 0);
    };
    const isListed = (marker: string) =>
      eventually(`${marker} is in the index`, async () => {
        const [session] = await catalog.sessions({ argv: marker }).catch(() => []);
        return session?.endedAt === undefined ? undefined : session;
      }, { deadlineMs: 60_000 });
    await run("first-of-the-index");
    assert.equal((await isListed("first-of-the-index")).username, "root");
    await mortal.kill();
    await run("while-the-index-was-down");
    await mortal.resume();
    await isListed("while-the-index-was-down");
  } finally {
    await catalog.close();
    await Deno.remove(folder, { recursive: true });
  }
});
