import assert from "node:assert/strict";
import { openSession, wholeSession } from "../catalog/test_events.ts";
import { apiTest, brief, FACTS, ID, type Scene, SESSION } from "./test_scene.ts";

const URL = `${SESSION}/recording`;
const BYTES = Uint8Array.from({ length: 1000 }, (_, index) => index % 251);
const ETAG = `"${BYTES.slice(-32).toHex()}"`;
const END = { reason: "client_closed", by: "client", message: "the client closed the session" } as const;

/** A session whose recording is there; it has ended unless it is said that it lives. */
function recorded(scene: Scene, { lives = false } = {}): void {
  scene.files.set(FACTS.recording!, BYTES);
  const entry = scene.sessions.enter(FACTS);
  if (!lives) entry.over(END);
}

async function bytesOf(response: Response): Promise<Uint8Array> {
  return new Uint8Array(await response.arrayBuffer());
}

const shown = ({ status, headers }: Response) => ({
  status,
  length: headers.get("Content-Length"),
  range: headers.get("Content-Range"),
  etag: headers.get("ETag"),
});

apiTest("a recording is given byte for byte, as nothing that a browser would run or keep", async (scene) => {
  recorded(scene);
  const response = await scene.ask(URL);
  assert.deepEqual(shown(response), { status: 200, length: "1000", range: null, etag: ETAG });
  assert.equal(response.headers.get("Content-Type"), "application/octet-stream");
  assert.equal(response.headers.get("Content-Disposition"), `attachment; filename="${ID}.rec"`);
  assert.equal(response.headers.get("X-Content-Type-Options"), "nosniff");
  assert.equal(response.headers.get("Cache-Control"), "no-store");
  assert.equal(response.headers.get("Accept-Ranges"), "bytes");
  assert.deepEqual(await bytesOf(response), BYTES);
});

const ranges = [
  { headers: { Range: "bytes=0-9" }, span: [0, 10] },
  { headers: { Range: "bytes=990-" }, span: [990, 1000] },
  { headers: { Range: "bytes=-1" }, span: [999, 1000] },
  { headers: { Range: "bytes=10-19", "If-Range": ETAG }, span: [10, 20] },
] as const;
for (const { headers, span: [start, end] } of ranges) {
  apiTest(`${JSON.stringify(headers)} is answered with that range alone`, async (scene) => {
    recorded(scene);
    const response = await scene.ask(URL, { headers });
    const range = `bytes ${start}-${end - 1}/1000`;
    assert.deepEqual(shown(response), { status: 206, length: String(end - start), range, etag: ETAG });
    assert.deepEqual(await bytesOf(response), BYTES.slice(start, end));
  });
}

const wholes: Record<string, string>[] = [
  { Range: "bytes=10-19", "If-Range": '"another"' },
  { Range: "bytes=10-19", "If-Range": `W/${ETAG}` },
  { Range: "bytes=0-1,5-6" },
  { "If-None-Match": '"another"' },
  { "If-Match": ETAG },
];
for (const headers of wholes) {
  apiTest(`${JSON.stringify(headers).slice(0, 60)} is answered with the whole`, async (scene) => {
    recorded(scene);
    const response = await scene.ask(URL, { headers });
    assert.equal(response.status, 200);
    assert.deepEqual(await bytesOf(response), BYTES);
  });
}

apiTest("a range behind the end is 416, and says how much there is", async (scene) => {
  recorded(scene);
  const response = await scene.ask(URL, { headers: { Range: "bytes=1000-" } });
  assert.deepEqual([response.status, response.headers.get("Content-Range")], [416, "bytes */1000"]);
  assert.equal((await response.json()).kind, "Status");
  assert.deepEqual(brief(scene.events), [
    `decision root get recordings default/${ID}`,
    `response root get recordings default/${ID} 416`,
  ]);
});

apiTest("what the client has already is 304, and what it has not is 412", async (scene) => {
  recorded(scene);
  const has = await scene.ask(URL, { headers: { "If-None-Match": ETAG } });
  assert.deepEqual([has.status, await has.text(), has.headers.get("ETag")], [304, "", ETAG]);
  assert.equal((await scene.refused(URL, { headers: { "If-Match": '"another"' } })).code, 412);
});

apiTest(
  "a recording that is being written is given as far as it is durable, and may be gone on with",
  async (scene) => {
    recorded(scene, { lives: true });
    const first = await scene.ask(URL);
    assert.deepEqual(shown(first), { status: 200, length: "1000", range: null, etag: null });
    await first.body?.cancel();
    scene.files.set(FACTS.recording!, Uint8Array.of(...BYTES, 7, 8, 9));
    const rest = await scene.ask(URL, { headers: { Range: "bytes=1000-" } });
    assert.deepEqual([rest.status, await bytesOf(rest)], [206, Uint8Array.of(7, 8, 9)]);
    // What would be another recording tomorrow has no name by which a range could be asked for of it alone.
    const conditional = await scene.ask(URL, { headers: { Range: "bytes=1000-", "If-Range": ETAG } });
    assert.equal(conditional.status, 200);
    await conditional.body?.cancel();
  },
);

apiTest(
  "a recording is written down as read before its first byte, and how much of it when that is over",
  async (scene) => {
    recorded(scene);
    const response = await scene.ask(URL, { user: "root", headers: { Range: "bytes=0-99" } });
    assert.deepEqual(brief(scene.events), [`decision root get recordings default/${ID}`]);
    const [decision] = scene.events;
    assert.deepEqual(decision?.objectRef, {
      ...{ resource: "recordings", namespace: "default", name: ID },
      ...{ apiGroup: "postern.dev", apiVersion: "v1" },
    });
    assert.equal(decision.annotations["authorization.k8s.io/decision"], "allow");
    await response.arrayBuffer();
    const last = scene.events.at(-1);
    assert.deepEqual([last?.auditID, last?.responseStatus?.code], [response.headers.get("Audit-Id"), 206]);
    assert.equal(last?.annotations["postern.dev/bytes-out"], "100");
  },
);

apiTest("what a reader left is written down too", async (scene) => {
  recorded(scene);
  const response = await scene.ask(URL);
  await response.body?.cancel();
  const last = scene.events.at(-1);
  assert.equal(last?.annotations["postern.dev/error"], "the client went away");
});

apiTest("a store that breaks off breaks the answer off, and that is written down", async (scene) => {
  recorded(scene, { lives: true });
  scene.breaksAfter = 10;
  const response = await scene.ask(URL);
  await assert.rejects(response.arrayBuffer());
  const { "postern.dev/error": error, "postern.dev/bytes-out": bytes } = scene.events.at(-1)!.annotations;
  assert.deepEqual([error, bytes], ["the answer broke off", "10"]);
});

apiTest("no audit, no bytes", async (scene) => {
  recorded(scene, { lives: true });
  scene.isAuditDown = true;
  const { code, message } = await scene.refused(URL);
  assert.deepEqual([code, scene.reads], [503, 0]);
  assert.match(message ?? "", /the audit log cannot be written/);
});

apiTest("HEAD says what GET would say, gives nothing and opens nothing", async (scene) => {
  recorded(scene);
  const before = await scene.ask(URL, { method: "HEAD", headers: { Range: "bytes=0-1" } });
  assert.deepEqual(shown(before), { status: 200, length: "1000", range: null, etag: ETAG });
  assert.equal(before.body, null);
  assert.equal(scene.reads, 1); // the ETag
});

apiTest("a session of another replica is found by the index", async (scene) => {
  scene.files.set(FACTS.recording!, BYTES);
  const events = wholeSession({ auditId: ID });
  events.at(-1)!.annotations["postern.dev/recording"] = FACTS.recording!;
  await scene.catalog!.apply(events);
  const response = await scene.ask(URL);
  assert.deepEqual([response.status, response.headers.get("ETag")], [200, ETAG]);
  assert.deepEqual(await bytesOf(response), BYTES);
}, { index: "real" });

apiTest("one that the index calls live has no ETag yet", async (scene) => {
  scene.files.set(FACTS.recording!, BYTES);
  const events = openSession({ auditId: ID });
  events.at(-1)!.annotations["postern.dev/recording"] = FACTS.recording!;
  await scene.catalog!.apply(events);
  const response = await scene.ask(URL);
  assert.deepEqual([response.status, response.headers.get("ETag")], [200, null]);
  await response.body?.cancel();
}, { index: "real" });

const none: { name: string; arrange(scene: Scene): void }[] = [
  { name: "that was not recorded", arrange: (scene) => unrecorded(scene) },
  { name: "whose recording is gone", arrange: (scene) => scene.files.clear() },
  { name: "of a gateway that records nothing", arrange: (scene) => scene.hasStore = false },
];
for (const { name, arrange } of none) {
  apiTest(`a session ${name} has none, and that is 404`, async (scene) => {
    recorded(scene);
    arrange(scene);
    assert.equal((await scene.refused(URL)).code, 404);
  });
}

function unrecorded(scene: Scene): void {
  const { recording: _, ...facts } = FACTS;
  scene.sessions.enter(facts).over(END);
}

apiTest("attack: a path from the index that leads elsewhere is no recording", async (scene) => {
  const events = wholeSession({ auditId: ID });
  events.at(-1)!.annotations["postern.dev/recording"] = "../../etc/passwd";
  await scene.catalog!.apply(events);
  assert.equal((await scene.refused(URL)).code, 404);
}, { index: "real" });
