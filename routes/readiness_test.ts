import assert from "node:assert/strict";
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
