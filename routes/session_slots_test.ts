import assert from "node:assert/strict";
import { Refusal } from "../kube/status.ts";
import { SessionSlots } from "./session_slots.ts";

Deno.test("one session too many is refused with 429, until another leaves; leaving twice counts once", () => {
  const slots = new SessionSlots(2);
  const leave = slots.take();
  slots.take();
  assert.throws(
    () => slots.take(),
    (thrown) => thrown instanceof Refusal && thrown.reason === "TooManyRequests",
  );
  leave();
  leave();
  slots.take();
  assert.equal(slots.open, 2);
  assert.throws(() => slots.take(), Refusal);
});
