import assert from "node:assert/strict";
import type { Decision } from "./decision.ts";
import { decide } from "./decide.ts";

const yes = (rule: string): Decision => ({
  allowed: true,
  rule,
  reason: "fine",
  obligations: [{ type: "record" }],
});
const no: Decision = { allowed: false, rule: "no", reason: "not you" };

Deno.test("the first denial is the answer, and no rule behind it is asked", () => {
  const last = () => assert.fail("asked");
  assert.deepEqual(decide([() => yes("a"), () => no, last]), no);
});

Deno.test("where all allow, all obligations hold", () => {
  const decision = decide([() => yes("a"), () => yes("b")]);
  assert.ok(decision.allowed);
  assert.equal(decision.obligations.length, 2);
});

Deno.test("a rule that fails denies, without its words", () => {
  const decision = decide([() => yes("a"), () => {
    throw new Error("secret");
  }]);
  assert.deepEqual(decision, {
    allowed: false,
    rule: "policy-error",
    reason: "the policy could not be evaluated",
  });
});

Deno.test("no rules allow nothing", () => assert.equal(decide([]).allowed, false));
