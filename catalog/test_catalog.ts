/** What every database must make of the same events: the suite that is run over SQLite and over PostgreSQL. */

import assert from "node:assert/strict";
import fc from "fast-check";
import type { Catalog } from "./catalog.ts";
import { cursorOf, type Filter } from "./filter.ts";
import {
  deniedSession,
  openSession,
  portForward,
  type Scene,
  unauthorizedSession,
  wholeSession,
} from "./test_events.ts";

/** Opens an empty index for one test, and what removes it afterwards. */
export type OpenCatalog = () => Promise<{ catalog: Catalog; remove(): Promise<void> }>;

/** All that an index tells: every session with its details. */
export async function everything(catalog: Catalog): Promise<unknown[]> {
  const rows = await catalog.sessions({}, { limit: 1000 });
  const sessions: unknown[] = [];
  for (const { auditId } of rows) sessions.push(await catalog.session(auditId));
  return sessions;
}

/** One session of each kind that filters tell apart; its name is its audit ID. */
const SCENES: Record<string, (scene: Partial<Scene>) => ReturnType<typeof wholeSession>> = {
  "plain": (scene) => wholeSession({ ...scene, minute: 1 }),
  "other-user": (scene) => wholeSession({ ...scene, minute: 2, user: "bob", container: "sidecar" }),
  "impersonating": (scene) =>
    wholeSession({ ...scene, minute: 3, user: "robot", impersonatedUser: "bob", namespace: "prod" }),
  "live": (scene) => openSession({ ...scene, minute: 4, kind: "attach", pod: "db-0" }),
  "denied": (scene) => deniedSession({ ...scene, minute: 5, pod: "node-agent" }),
  "unauthorized": (scene) => unauthorizedSession({ ...scene, minute: 6, user: "mallory" }),
  "privileged": (scene) => wholeSession({ ...scene, minute: 7, user: "root", privileged: true }),
  "forward": (scene) => portForward({ ...scene, minute: 8 }),
  "like": (scene) => wholeSession({ ...scene, minute: 9, argv: ["grep", "100%_Über!\\", "a b"] }),
};

const filters: { name: string; filter: Filter; want: string[] }[] = [
  { name: "user", filter: { user: "bob" }, want: ["impersonating", "other-user"] },
  { name: "namespace", filter: { namespace: "prod" }, want: ["impersonating"] },
  { name: "pod", filter: { pod: "db-0" }, want: ["live"] },
  { name: "container", filter: { container: "sidecar" }, want: ["other-user"] },
  { name: "kind", filter: { kind: "portforward" }, want: ["forward"] },
  { name: "from, inclusive", filter: { from: "2026-11-21T12:08:00Z" }, want: ["like", "forward"] },
  { name: "to, exclusive", filter: { to: "2026-11-21T12:02:00.000Z" }, want: ["plain"] },
  { name: "privileged", filter: { privileged: true }, want: ["privileged", "denied"] },
  {
    name: "denied, single connections too",
    filter: { denied: true },
    want: ["forward", "unauthorized", "denied"],
  },
  { name: "live", filter: { live: true }, want: ["live"] },
  {
    name: "argv over word bounds",
    filter: { argv: "-c id" },
    want: ["privileged", "unauthorized", "denied", "impersonating", "other-user", "plain"],
  },
  { name: "argv in any case", filter: { argv: "GREP 100%_üBER!\\" }, want: ["like"] },
  { name: "argv with a wildcard that is none", filter: { argv: "g%p" }, want: [] },
  { name: "argv with an underscore that is none", filter: { argv: "g_ep" }, want: [] },
  { name: "argv with a quote that would end the SQL", filter: { argv: "' or 1=1 --" }, want: [] },
  {
    name: "several at once",
    filter: { user: "bob", namespace: "default", live: false },
    want: ["other-user"],
  },
  {
    name: "what is not so",
    filter: { denied: false, privileged: false, live: false },
    want: ["like", "impersonating", "other-user", "plain"],
  },
];

/** Registers the suite. @param name of the database */
export function catalogSuite(name: string, open: OpenCatalog): void {
  function test(promise: string, body: (catalog: Catalog) => Promise<void>): void {
    Deno.test({
      name: `${name} ${promise}`,
      sanitizeOps: true,
      sanitizeResources: true,
      fn: async () => {
        const { catalog, remove } = await open();
        try {
          await body(catalog);
        } finally {
          await remove();
        }
      },
    });
  }

  async function fill(catalog: Catalog): Promise<void> {
    await catalog.apply(Object.entries(SCENES).flatMap(([auditId, scene]) => scene({ auditId })));
  }

  test("keeps of a session who, where, what, how it was decided and how it ended", async (catalog) => {
    const events = wholeSession({ auditId: "a", privileged: true });
    events.at(-1)!.annotations["postern.dev/recording"] = "2026/11/21/a.rec";
    await catalog.apply(events);
    const { decisions, streams, connections, more, ...row } = (await catalog.session("a"))!;
    assert.deepEqual([row], await catalog.sessions({}));
    assert.deepEqual(row, {
      auditId: "a",
      startedAt: "2026-11-21T12:00:00.000000Z",
      username: "alice",
      sourceIp: "192.0.2.7",
      userAgent: "kubectl/v1.36.0",
      verb: "create",
      kind: "exec",
      namespace: "default",
      pod: "web",
      podUid: "uid-1",
      node: "node1",
      container: "main",
      containerKind: "regular",
      argv: ["sh", "-c", "id"],
      tty: false,
      stdin: true,
      protocol: "WebSocket v5.channel.k8s.io",
      recording: "2026/11/21/a.rec",
      decidedBy: "decision",
      decidedAt: "2026-11-21T12:00:00.005000Z",
      allowed: true,
      rule: "privileged-container",
      reason: "is a cluster-admin",
      obligations: ["record"],
      privileged: true,
      openedAt: "2026-11-21T12:00:00.020000Z",
      upstream: "192.0.2.1:10250",
      upstreamProtocol: "SPDY/3.1 v4.channel.k8s.io",
      outcome: "end",
      endedAt: "2026-11-21T12:00:01.000000Z",
      endReason: "command_ended",
      endedBy: "upstream",
      message: "the command ended with exit code 7",
      code: 101,
      exitCode: 7,
      bytesIn: 3,
      bytesOut: 83,
      durationMs: 1000,
    });
    assert.deepEqual(decisions.map(({ allowed, obligations }) => [allowed, obligations]), [[true, [
      "record",
    ]]]);
    assert.deepEqual(
      new Set(streams.map((stream) => `${stream.name} ${stream.streamId} ${stream.bytesOut}`)),
      new Set(["stdin 1 0", "stdout 3 41", "stderr 5 42"]),
    );
    assert.deepEqual([connections, more], [[], false]);
  });

  test("keeps a port-forward's connections, and the refusal of one as a decision", async (catalog) => {
    await catalog.apply(portForward({ auditId: "a" }));
    const { allowed, decisions, connections } = (await catalog.session("a"))!;
    assert.equal(allowed, true);
    assert.deepEqual(decisions.map((each) => each.allowed), [true, false]);
    assert.deepEqual(connections.map(({ port, denied }) => [port, denied]).sort(), [[22, true], [
      8080,
      false,
    ]]);
  });

  for (const { name: what, filter, want } of filters) {
    test(`filters by ${what}`, async (catalog) => {
      await fill(catalog);
      const rows = await catalog.sessions(filter);
      assert.deepEqual(rows.map(({ auditId }) => auditId), want);
    });
  }

  test("pages without gap or repetition, sessions of one moment among them", async (catalog) => {
    const ids = Array.from({ length: 11 }, (_, index) => `session-${String(index).padStart(2, "0")}`);
    await catalog.apply(
      ids.flatMap((auditId, index) => openSession({ auditId, minute: Math.floor(index / 4) })),
    );
    const got: string[] = [];
    for (let rows = await catalog.sessions({}, { limit: 3 }); rows.length > 0;) {
      got.push(...rows.map(({ auditId }) => auditId));
      rows = await catalog.sessions({}, { limit: 3, after: cursorOf(rows.at(-1)!) });
    }
    assert.deepEqual(got, ids.toReversed());
  });

  test("is the same whatever the order of events, and however often they come", async (catalog) => {
    const events = Object.entries(SCENES).flatMap(([auditId, scene]) => scene({ auditId }));
    await catalog.apply(events);
    const want = await everything(catalog);
    const orders = fc.sample(fc.shuffledSubarray(events, { minLength: events.length }), {
      numRuns: 3,
      seed: 5,
    });
    for (const order of orders) {
      const { catalog: other, remove } = await open();
      for (const event of [...order, ...events]) await other.apply([event]);
      assert.deepEqual(await everything(other), want);
      await remove();
    }
  });

  test("takes all events or none", async (catalog) => {
    const [decision, start] = openSession({ auditId: "a" });
    const broken = { ...start!, stageTimestamp: "yesterday" };
    await assert.rejects(catalog.apply([decision!, broken]), { code: "invalid" });
    assert.deepEqual(await catalog.sessions({}), []);
  });

  test("holds hostile text as it is, but for what no database holds", async (catalog) => {
    const argv = ["\x1b[2J\u202e", "a\0b", "\ud800", "'; drop table sessions; --"];
    await catalog.apply(wholeSession({ auditId: "a", user: "eve\0\u001b]0;x\x07", argv }));
    const row = (await catalog.session("a"))!;
    assert.deepEqual(row.argv, argv);
    assert.equal(row.username, "eve\ufffd\u001b]0;x\x07");
  });

  const wrong: { name: string; ask(catalog: Catalog): Promise<unknown> }[] = [
    { name: "a cursor that is none", ask: (catalog) => catalog.sessions({}, { after: "x" }) },
    { name: "a page of everything", ask: (catalog) => catalog.sessions({}, { limit: 100_000 }) },
    { name: "a time that is none", ask: (catalog) => catalog.sessions({ from: "now" }) },
    { name: "a text without end", ask: (catalog) => catalog.sessions({ argv: "x".repeat(2000) }) },
  ];
  for (const { name: what, ask } of wrong) {
    test(`refuses ${what}`, (catalog) => assert.rejects(ask(catalog), { code: "invalid" }));
  }
}
