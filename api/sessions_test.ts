import assert from "node:assert/strict";
import { CatalogError } from "../catalog/catalog_error.ts";
import { deniedSession, openSession, portForward, wholeSession } from "../catalog/test_events.ts";
import { SessionFailure } from "../session/stream_event.ts";
import { apiTest, brief, FACTS, ID, PREFIX, SESSION, UNKNOWN } from "./test_scene.ts";

const LIST = `${PREFIX}/sessions`;
const INDEXED = { index: "real" } as const;
const END = { reason: "ended_by_operator", by: "gateway", message: "ended" } as const;

function idOf(number: number): string {
  return ID.replace(/^\d{8}/, String(number).padStart(8, "0"));
}

apiTest("sessions are listed, page by page, the newest first", async (scene) => {
  await scene.catalog!.apply(
    [0, 1, 2, 3, 4].flatMap((minute) => wholeSession({ auditId: idOf(minute), minute })),
  );
  const got: string[] = [];
  let url: string | undefined = `${LIST}?limit=2`;
  while (url !== undefined) {
    const page = await (await scene.ask(url)).json();
    assert.deepEqual([page.apiVersion, page.kind], ["postern.dev/v1", "SessionList"]);
    assert.ok(page.items.length <= 2);
    got.push(...page.items.map((item: { auditId: string }) => item.auditId));
    const { continue: more } = page.metadata;
    url = more && `${LIST}?limit=2&continue=${more}`;
  }
  assert.deepEqual(got, [4, 3, 2, 1, 0].map(idOf));
}, INDEXED);

const filters = [
  { query: "user=bob", want: [1] },
  { query: "namespace=prod", want: [2] },
  { query: "pod=db-0", want: [3] },
  { query: "kind=portforward", want: [4] },
  { query: "denied=true", want: [5, 4] },
  { query: "privileged=true", want: [5] },
  { query: "live=true", want: [3] },
  { query: "text=RM+-RF", want: [6] },
  { query: "text=rm%20-rf&user=alice", want: [6] },
  { query: "from=2026-11-21T12:05:00Z&to=2026-11-21T12:06:00Z", want: [5] },
];
apiTest("sessions are filtered by what is asked for, all of it", async (scene) => {
  await scene.catalog!.apply([
    ...wholeSession({ auditId: idOf(1), minute: 1, user: "bob" }),
    ...wholeSession({ auditId: idOf(2), minute: 2, namespace: "prod" }),
    ...openSession({ auditId: idOf(3), minute: 3, pod: "db-0" }),
    ...portForward({ auditId: idOf(4), minute: 4 }),
    ...deniedSession({ auditId: idOf(5), minute: 5 }),
    ...wholeSession({ auditId: idOf(6), minute: 6, argv: ["rm", "-rf", "/"] }),
  ]);
  for (const { query, want } of filters) {
    const { items } = await (await scene.ask(`${LIST}?${query}`)).json();
    assert.deepEqual(items.map((item: { auditId: string }) => item.auditId), want.map(idOf), query);
  }
}, INDEXED);

const wrong = [
  { query: "namespaces=prod", message: /^unknown parameter "namespaces"$/ },
  { query: "live=maybe", message: /parameter "live"/ },
  { query: "limit=1e3", message: /parameter "limit"/ },
  { query: "limit=0", message: /1 to 1000/ },
  { query: "limit=9999", message: /1 to 1000/ },
  { query: "continue=x", message: /cursor/ },
  { query: "from=yesterday", message: /RFC 3339/ },
  { query: "namespace=default&namespace=prod", message: /parameter "namespace"/ },
  { query: "namespace=", message: /parameter "namespace"/ },
];
apiTest("a wrong parameter is refused: what was not asked for would be shown", async (scene) => {
  for (const { query, message } of wrong) {
    const status = await scene.refused(`${LIST}?${query}`);
    assert.equal(status.code, 400, query);
    assert.match(status.message ?? "", message, query);
  }
}, INDEXED);

apiTest(
  "attack: a list without a namespace is of all of them, and so is the grant that it needs",
  async (scene) => {
    scene.grants.push("alice list sessions default");
    assert.equal((await scene.refused(LIST, { user: "alice" })).code, 403);
    assert.equal((await scene.refused(`${LIST}?namespace=prod`, { user: "alice" })).code, 403);
    const response = await scene.ask(`${LIST}?namespace=default`, { user: "alice" });
    assert.equal(response.status, 200);
    await response.body?.cancel();
  },
  INDEXED,
);

apiTest(
  "a session is shown with its decisions, streams and connections, and whether it runs here",
  async (scene) => {
    await scene.catalog!.apply(wholeSession({ auditId: ID }));
    const { session, ...about } = await (await scene.ask(SESSION)).json();
    assert.deepEqual(about, { apiVersion: "postern.dev/v1", kind: "Session", here: false });
    assert.deepEqual(
      [session.auditId, session.exitCode, session.streams.length, session.decisions.length],
      [ID, 7, 3, 1],
    );
    const entry = scene.sessions.enter(FACTS);
    assert.equal((await (await scene.ask(SESSION)).json()).here, true);
    entry.over(END);
  },
  INDEXED,
);

apiTest("a session's events are told in their order", async (scene) => {
  await scene.catalog!.apply(portForward({ auditId: ID }));
  const { kind, items } = await (await scene.ask(`${SESSION}/events`)).json();
  assert.equal(kind, "SessionEventList");
  const told = items.map((item: { type: string; port?: number }) => `${item.type} ${item.port ?? ""}`.trim());
  assert.deepEqual(told.toSorted(), [
    ...["connection 22", "connection 8080", "decision", "decision", "end", "start"],
  ]);
  assert.deepEqual([told[0], told.at(-1)], ["decision", "end"]);
  const times = items.map(({ at }: { at: string }) => at);
  assert.deepEqual(times, times.toSorted());
}, INDEXED);

for (const path of [LIST, SESSION, `${SESSION}/events`]) {
  apiTest(`${path} without an index says how to have one`, async (scene) => {
    const { code, reason, message } = await scene.refused(path);
    assert.deepEqual([code, reason], [501, "NotImplemented"]);
    assert.match(message ?? "", /set index\.type to sqlite or postgresql/);
    assert.deepEqual(scene.reported, []);
  });
}

apiTest("an index that does not answer is 503, and says nothing of itself", async (scene) => {
  const down = () =>
    Promise.reject(new CatalogError("unavailable", "PostgreSQL db.internal: no route to host"));
  const nothing = () => Promise.resolve();
  scene.catalog = {
    ...{ name: "down", apply: nothing, progress: () => Promise.resolve(undefined) },
    ...{ sessions: down, session: down, close: nothing },
  };
  for (const path of [LIST, SESSION, `${SESSION}/events`, `${SESSION}/recording`, `${SESSION}/tail`]) {
    const { code, message } = await scene.refused(path);
    assert.deepEqual([code, message], [503, "the index of sessions does not answer"], path);
  }
  assert.equal(scene.reported.length, 5);
});

apiTest(
  "a session is ended by whom its end names, and the answer comes when that is written down",
  async (scene) => {
    const entry = scene.sessions.enter(FACTS);
    entry.signal.addEventListener("abort", () => entry.over(END));
    const response = await scene.ask(SESSION, { method: "DELETE" });
    const { status, message, details } = await response.json();
    assert.deepEqual([response.status, status, message], [200, "Success", "the session has ended"]);
    assert.deepEqual(details, { name: ID, group: "postern.dev", kind: "sessions" });
    const { reason } = entry.signal;
    assert.ok(reason instanceof SessionFailure);
    assert.equal(reason.end.message, 'the session was ended by "root"');
    assert.deepEqual(brief(scene.events), [
      `decision root delete sessions default/${ID}`,
      `response root delete sessions default/${ID} 200`,
    ]);
  },
);

apiTest("a session that takes its time to end is waited for no longer than that", async (scene) => {
  const entry = scene.sessions.enter(FACTS);
  const response = await scene.ask(SESSION, { method: "DELETE" });
  assert.equal(response.status, 202);
  await response.body?.cancel();
  assert.equal(entry.signal.aborted, true);
  entry.over(END);
});

apiTest("no audit, no end", async (scene) => {
  const entry = scene.sessions.enter(FACTS);
  scene.isAuditDown = true;
  assert.equal((await scene.refused(SESSION, { method: "DELETE" })).code, 503);
  assert.equal(entry.signal.aborted, false);
});

apiTest("a session that has ended cannot be ended again", async (scene) => {
  scene.sessions.enter(FACTS).over(END);
  const { code, reason } = await scene.refused(SESSION, { method: "DELETE" });
  assert.deepEqual([code, reason], [410, "Gone"]);
});

apiTest("one that runs in another replica is a conflict, and the answer says whom to ask", async (scene) => {
  await scene.catalog!.apply(openSession({ auditId: ID }));
  const { code, message } = await scene.refused(SESSION, { method: "DELETE" });
  assert.equal(code, 409);
  assert.match(message ?? "", /ask the one that holds it/);
}, INDEXED);

apiTest("without an index, a session that is not known here is not found", async (scene) => {
  assert.equal((await scene.refused(`${LIST}/${UNKNOWN}`, { method: "DELETE" })).code, 404);
});
