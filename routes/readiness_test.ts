import assert from "node:assert/strict";
import { Scene } from "../api/test_scene.ts";
import { Refusal } from "../kube/status.ts";
import { Readiness } from "./readiness.ts";

Deno.test("Readiness lets sessions in and says ok until it drains", async () => {
  const readiness = new Readiness();
  readiness.require();
  const answer = readiness.response();
  assert.deepEqual([answer.status, await answer.text()], [200, "ok\n"]);
});

Deno.test("Readiness that drains says so at once, and when to come again", async () => {
  const readiness = new Readiness();
  readiness.drain();
  const answer = readiness.response();
  assert.deepEqual([answer.status, await answer.text()], [503, "draining\n"]);
  assert.equal(answer.headers.get("Retry-After"), "5");
  assert.throws(() => readiness.require(), (thrown) => {
    assert.ok(thrown instanceof Refusal);
    assert.deepEqual([thrown.reason, thrown.rule], ["ServiceUnavailable", "draining"]);
    assert.deepEqual([thrown.headers, thrown.details], [{ "Retry-After": "5" }, { retryAfterSeconds: 5 }]);
    return true;
  });
});

Deno.test("Readiness that leaves says so at once, and takes who was still led to it", async () => {
  const readiness = new Readiness();
  readiness.leave();
  readiness.require();
  const answer = readiness.response();
  assert.deepEqual([answer.status, await answer.text()], [503, "draining\n"]);
});

Deno.test("Readiness that drains does not go back to leaving", () => {
  const readiness = new Readiness();
  readiness.drain();
  readiness.leave();
  assert.throws(() => readiness.require(), Refusal);
});

const EXEC = "/api/v1/namespaces/default/pods/web/exec?command=true&stdout=true";
const UPGRADE = { Upgrade: "SPDY/3.1", Connection: "Upgrade" };

Deno.test("a gateway that drains refuses what would open a session, writes that down, and asks nobody", async () => {
  const scene = new Scene();
  scene.readiness.drain();
  const answer = await scene.ask(EXEC, { method: "POST", headers: UPGRADE });
  assert.deepEqual([answer.status, answer.headers.get("Retry-After")], [503, "5"]);
  const status = await answer.json();
  assert.deepEqual([status.kind, status.reason, status.code], ["Status", "ServiceUnavailable", 503]);
  assert.deepEqual(scene.events.map(({ annotations }) => annotations["postern.dev/rule"]), ["draining"]);
  assert.deepEqual([scene.asked, scene.forwarded], [[], []]);
});

Deno.test("a gateway that drains still answers what opens nothing", async () => {
  const scene = new Scene();
  scene.readiness.drain();
  assert.equal((await scene.ask("/api/v1/namespaces/default/pods/web")).status, 200);
});

Deno.test("/readyz is for everybody, asks nobody and is no event", async () => {
  const scene = new Scene();
  assert.equal((await scene.ask("/readyz", { user: null })).status, 200);
  scene.readiness.drain();
  assert.equal((await scene.ask("/readyz", { user: null })).status, 503);
  assert.deepEqual([scene.events, scene.asked, scene.forwarded], [[], [], []]);
});
