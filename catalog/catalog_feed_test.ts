import assert from "node:assert/strict";
import type { Catalog, Progress } from "./catalog.ts";
import { CatalogFeed, type FeedOptions, type FeedStatus } from "./catalog_feed.ts";
import { CatalogError } from "./catalog_error.ts";
import type { AuditEventLike } from "./read_event.ts";
import { openSession, wholeSession } from "./test_events.ts";

/** An index that can be taken down. */
class FakeCatalog implements Catalog {
  readonly name = "fake";
  isDown = false;
  calls = 0;
  applied: string[] = [];
  marks: Progress[] = [];
  until: string | undefined;

  apply(events: readonly AuditEventLike[], progress?: Progress): Promise<void> {
    this.calls++;
    if (this.isDown) return Promise.reject(new CatalogError("unavailable", "fake: down"));
    this.applied.push(...events.map(brief));
    if (progress) this.marks.push(progress);
    return Promise.resolve();
  }
  progress(): Promise<string | undefined> {
    return this.isDown
      ? Promise.reject(new CatalogError("unavailable", "down"))
      : Promise.resolve(this.until);
  }
  sessions = () => Promise.resolve([]);
  session = () => Promise.resolve(undefined);
  close = () => Promise.resolve();
}

function brief({ auditID, annotations }: AuditEventLike): string {
  return `${auditID} ${annotations["postern.dev/event"]}`;
}

interface Scene {
  catalog: FakeCatalog;
  feed: CatalogFeed;
  changes: FeedStatus[];
}

function feedTest(
  name: string,
  options: Partial<FeedOptions> & { isDown?: boolean; until?: string },
  body: (scene: Scene) => Promise<void>,
): void {
  Deno.test({
    name: `CatalogFeed ${name}`,
    sanitizeOps: true,
    sanitizeResources: true,
    fn: async () => {
      const { isDown = false, until, ...more } = options;
      const catalog = new FakeCatalog();
      catalog.isDown = isDown;
      catalog.until = until;
      const changes: FeedStatus[] = [];
      const onChange = (status: FeedStatus) => changes.push(status);
      const feed = new CatalogFeed(catalog, { name: "gateway-1", retryMs: 10, onChange, ...more });
      await body({ catalog, feed, changes });
      await feed.close();
    },
  });
}

async function until(condition: () => boolean): Promise<void> {
  const endsAt = performance.now() + 5_000;
  while (!condition()) {
    assert.ok(performance.now() < endsAt, "in time");
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

feedTest("brings events in their order, and says how far it has come", {}, async ({ catalog, feed }) => {
  feed.push(openSession({ auditId: "a", minute: 10 }));
  await feed.close();
  assert.deepEqual(catalog.applied, ["a decision", "a start"]);
  assert.deepEqual(catalog.marks, [{ feed: "gateway-1", until: "2026-11-21T12:08:00.020000Z" }]);
});

feedTest("holds what comes while the index is down, tells of it once, and loses nothing", {
  isDown: true,
}, async ({ catalog, feed, changes }) => {
  feed.push(openSession({ auditId: "a" }));
  await until(() => changes.length === 1);
  feed.push(openSession({ auditId: "b" }));
  await new Promise((resolve) => setTimeout(resolve, 50));
  const { healthy, pendingEvents, lastError } = feed.status();
  assert.deepEqual([healthy, pendingEvents, lastError], [false, 4, "down"]);
  catalog.isDown = false;
  await until(() => feed.status().healthy);
  await until(() => catalog.applied.length === 4);
  assert.deepEqual(changes.map((status) => status.healthy), [false, true]);
  assert.deepEqual(catalog.applied, ["a decision", "a start", "b decision", "b start"]);
});

const file: AuditEventLike[] = [];
const asked: (string | undefined)[] = [];
feedTest("fetches what did not fit into its queue once the index answers again", {
  isDown: true,
  until: "2026-11-21T11:00:00.000000Z",
  maxPendingBytes: 10_000,
  async *replay(since) {
    asked.push(since);
    await Promise.resolve();
    yield file;
  },
}, async ({ catalog, feed }) => {
  for (let minute = 0; minute < 20; minute++) {
    const events = wholeSession({ auditId: `session-${minute}`, minute });
    file.push(...events);
    feed.push(events);
  }
  assert.equal(feed.status().healthy, false);
  assert.ok(feed.status().missedEvents > 80);
  catalog.isDown = false;
  await until(() =>
    feed.status().healthy && !feed.status().isCatchingUp && feed.status().pendingEvents === 0
  );
  assert.deepEqual(new Set(catalog.applied), new Set(file.map(brief)));
  assert.deepEqual(asked, ["2026-11-21T11:00:00.000000Z"], "from where the feed had come");
  assert.deepEqual(catalog.marks, [], "no mark passed what was missing");
});

feedTest("says that events are missing where it cannot fetch them", { maxPendingBytes: 1 }, ({ feed }) => {
  feed.push(openSession());
  assert.deepEqual([feed.status().healthy, feed.status().missedEvents], [false, 2]);
  return Promise.resolve();
});

feedTest("catches up at its first start with all that there is", {
  async *replay(since) {
    assert.equal(since, undefined);
    await Promise.resolve();
    yield wholeSession({ auditId: "before" });
  },
}, async ({ catalog, feed }) => {
  feed.push(openSession({ auditId: "new" }));
  await until(() => catalog.applied.length === 8);
  await until(() => !feed.status().isCatchingUp);
  feed.push(openSession({ auditId: "later" }));
  await until(() => catalog.marks.length === 1);
});

feedTest("tries a failed catching up again", {
  replay: (() => {
    let attempt = 0;
    return async function* () {
      await Promise.resolve();
      if (++attempt === 1) throw new Error("the file cannot be read");
      yield openSession({ auditId: "found" });
    };
  })(),
}, async ({ catalog, feed }) => {
  await until(() => catalog.applied.length === 2);
  await until(() => feed.status().healthy);
});

feedTest("is not held up by an event that says nonsense", {}, async ({ catalog, feed }) => {
  const [decision] = openSession({ auditId: "nonsense" });
  feed.push([{ ...decision!, requestReceivedTimestamp: "yesterday" }, ...openSession({ auditId: "a" })]);
  await until(() => catalog.applied.length === 2);
  assert.equal(feed.status().healthy, true);
});

feedTest("ends in time, though the index is down", { isDown: true }, async ({ feed }) => {
  feed.push(openSession());
  const begun = performance.now();
  await feed.close(1_000);
  assert.ok(performance.now() - begun < 900);
  feed.push(openSession());
  assert.equal(feed.status().pendingEvents, 2, "nothing is taken any more");
});
