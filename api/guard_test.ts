import assert from "node:assert/strict";
import { apiTest, brief, FACTS, ID, PREFIX, type Scene, SESSION, UNKNOWN } from "./test_scene.ts";

const CALLS = [
  { method: "GET", path: "", verb: "get", resource: "sessions", needsIndex: true },
  { method: "GET", path: "/events", verb: "get", resource: "sessions", needsIndex: true },
  { method: "GET", path: "/recording", verb: "get", resource: "recordings", needsIndex: false },
  { method: "GET", path: "/tail", verb: "watch", resource: "sessions", needsIndex: false },
  { method: "DELETE", path: "", verb: "delete", resource: "sessions", needsIndex: false },
] as const;

/** A session that runs here, and that the index knows. */
function running(scene: Scene) {
  const entry = scene.sessions.enter(FACTS);
  scene.files.set(FACTS.recording!, new Uint8Array(100));
  return entry;
}

for (const { method, path, verb, resource } of CALLS) {
  const what = `${method} …${path}`;

  apiTest(`attack: ${what} tells nobody whether a session is there that they may not see`, async (scene) => {
    running(scene);
    scene.grants.push(`eve ${verb} ${resource} elsewhere`);
    const asked = { method, user: "eve" };
    const there = await scene.refused(`${SESSION}${path}`, asked);
    const not = await scene.refused(`${PREFIX}/sessions/${UNKNOWN}${path}`, asked);
    assert.equal(there.code, 403);
    assert.deepEqual(JSON.parse(JSON.stringify(not).replaceAll(UNKNOWN, ID)), there);
    assert.doesNotMatch(JSON.stringify(there), /default/);
    assert.equal(scene.reads, 0);
    assert.equal(scene.sessions.find(ID)?.isLive, true);
  }, { index: "small" });

  apiTest(
    `${what} is for those who may ${verb} ${resource} in the session's namespace, and no other verb will do`,
    async (scene) => {
      const entry = running(scene);
      const others = ["get", "list", "watch", "delete", "create", "*"].flatMap((other) =>
        ["sessions", "recordings"].map((each) => `${other} ${each}`)
      ).filter((each) => each !== `${verb} ${resource}`);
      scene.grants.push(...others.map((each) => `eve ${each} *`));
      assert.equal((await scene.refused(`${SESSION}${path}`, { method, user: "eve" })).code, 403);
      scene.grants.push(`alice ${verb} ${resource} default`);
      const asking = scene.ask(`${SESSION}${path}`, { method, user: "alice" });
      const response = await asking;
      assert.ok(response.ok, String(response.status));
      await response.body?.cancel();
      entry.over({ reason: "client_closed", by: "client", message: "" });
      assert.ok(scene.asked.includes(`alice ${verb} ${resource}.postern.dev default ${ID}`));
    },
    { index: "small" },
  );

  apiTest(`${what} of a session that nobody knows is 404, to those who may see all`, async (scene) => {
    const { code, message } = await scene.refused(`${PREFIX}/sessions/${UNKNOWN}${path}`, { method });
    assert.deepEqual([code, message], [404, `${resource}.postern.dev "${UNKNOWN}" not found`]);
  }, { index: "small" });

  apiTest(`${what} is for nobody without a token, or with nobody's`, async (scene) => {
    running(scene);
    for (const user of [null, "nobody"]) {
      assert.equal((await scene.refused(`${SESSION}${path}`, { method, user })).code, 401);
    }
    assert.deepEqual(scene.asked, []);
  }, { index: "small" });

  apiTest(`a refusal of ${what} is written down, with who asked for what`, async (scene) => {
    running(scene);
    await scene.refused(`${SESSION}${path}`, { method, user: "eve" });
    assert.deepEqual(brief(scene.events), [`refusal eve ${verb} ${resource} /${ID} 403`]);
  }, { index: "small" });

  apiTest(`${what} in another's name is asked for as them, where that may be done`, async (scene) => {
    running(scene);
    const headers = { "Impersonate-User": "eve" };
    assert.equal((await scene.refused(`${SESSION}${path}`, { method, headers })).code, 403);
    assert.ok(scene.asked.every((each) => each.startsWith("eve ")));
    const own = await scene.refused(`${SESSION}${path}`, {
      method,
      user: "mallory",
      headers: { "Impersonate-User": "root" },
    });
    assert.equal(own.code, 403);
  }, { index: "small" });
}

apiTest("attack: an upgrade does not get by: its token in a subprotocol is no bearer's", async (scene) => {
  const headers = { "Upgrade": "websocket", "Connection": "Upgrade" };
  assert.equal((await scene.refused(`${SESSION}/tail`, { headers })).code, 400);
});

const tricks = [
  { target: "/postern", code: 404 },
  { target: "/postern/", code: 404 },
  { target: "/postern/v1", code: 404 },
  { target: "/postern/v1/", code: 404 },
  { target: "/postern/v2/sessions", code: 404 },
  { target: "/postern/v1/Sessions", code: 404 },
  { target: "/postern/v1/api/v1/namespaces/default/pods/web/exec", code: 404 },
  { target: `${SESSION}/recording/more`, code: 404 },
  { target: `${SESSION}/nothing`, code: 404 },
  { target: "/postern/v1/../../api/v1/pods", code: 400 },
  { target: "/postern/v1/%2e%2e/api", code: 400 },
  { target: "/postern/v1/sessions/..%2f..%2fetc", code: 400 },
  { target: "/postern//v1/sessions", code: 400 },
  { target: "/postern/v1/sessions/%00", code: 400 },
  { target: "/postern;x=1/v1/sessions", code: 400 },
  { target: "/postern/v1/sessions/web", code: 400 },
  { target: `/postern/v1/sessions/${ID.toUpperCase().replace("1", "A")}/recording`, code: 400 },
  { target: "/%70ostern/v1/nothing", code: 404 },
];
for (const { target, code } of tricks) {
  apiTest(`attack: ${target} is ${code}, and never goes on to the API server`, async (scene) => {
    assert.equal((await scene.refused(target)).code, code);
    assert.deepEqual([scene.forwarded, scene.reads], [[], 0]);
  }, { index: "small" });
}

apiTest("an escaped path is the path that it stands for", async (scene) => {
  running(scene);
  const response = await scene.ask(SESSION.replace("postern", "%70ostern"));
  assert.equal(response.status, 200);
  await response.body?.cancel();
}, { index: "small" });

for (const method of ["POST", "PUT", "PATCH", "OPTIONS"]) {
  apiTest(`${method} is allowed nowhere`, async (scene) => {
    for (const target of [SESSION, `${PREFIX}/sessions`, `${SESSION}/recording`, `${SESSION}/tail`]) {
      assert.equal((await scene.refused(target, { method })).code, 405, target);
    }
  });
}
