import assert from "node:assert/strict";
import { decisionEvent } from "../audit/event.ts";
import { readEvent } from "./read_event.ts";

Deno.test("that a recording was read through the gateway's own API is no session", () => {
  const facts = {
    ...{ auditId: "a", receivedAt: new Date(0), sourceIps: [], requestUri: "", verb: "get" },
    objectRef: { resource: "recordings", apiGroup: "postern.dev", namespace: "default", name: "b" },
  };
  const decision = { allowed: true, rule: "authorization", reason: "" };
  assert.equal(readEvent(decisionEvent(facts, undefined, decision)), undefined);
  const { apiGroup: _, ...objectRef } = facts.objectRef;
  assert.notEqual(readEvent(decisionEvent({ ...facts, objectRef }, undefined, decision)), undefined);
});
