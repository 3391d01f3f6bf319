import assert from "node:assert/strict";
import { pipe } from "../tests/support/pipe.ts";
import { GuardedConnection, Lifetime, type SessionLimits } from "./lifetime.ts";
import { type SessionEnd, SessionFailure, UPSTREAM_CLOSED } from "./stream_event.ts";

const LIMITS: SessionLimits = { setupTimeoutMs: 60_000, idleTimeoutMs: 60_000, lingerMs: 1 };
const MUTE = { ask: () => Promise.resolve(), tell: () => Promise.resolve() };
const BY_OPERATOR: SessionEnd = {
  reason: "ended_by_operator",
  by: "gateway",
  message: 'the session was ended by "root"',
};

const aborts = [
  { name: "with an end, ends so", reason: new SessionFailure(BY_OPERATOR), want: "ended_by_operator" },
  { name: "for whatever else, is the gateway's", reason: new Error("over"), want: "gateway_draining" },
  { name: "without a reason, is the gateway's", reason: undefined, want: "gateway_draining" },
];
for (const { name, reason, want } of aborts) {
  for (const isBefore of [true, false]) {
    Deno.test({
      name: `a session that is aborted ${isBefore ? "before it begins" : "while it runs"} ${name}`,
      sanitizeOps: true,
      sanitizeResources: true,
      fn: async () => {
        const controller = new AbortController();
        if (isBefore) controller.abort(reason);
        using lifetime = new Lifetime(LIMITS, controller.signal, { client: MUTE, upstream: MUTE });
        controller.abort(reason);
        assert.equal((await lifetime.ended).reason, want);
      },
    });
  }
}

Deno.test("the first cause of an end counts: an operator comes too late for a command that has ended", async () => {
  const controller = new AbortController();
  using lifetime = new Lifetime(LIMITS, controller.signal, { client: MUTE, upstream: MUTE });
  lifetime.end({ reason: "command_ended", by: "upstream", message: "the command ended" });
  controller.abort(new SessionFailure(BY_OPERATOR));
  assert.equal((await lifetime.ended).reason, "command_ended");
});

for (const isRead of [true, false]) {
  const how = isRead ? "is read to an end without a word" : "is read no more";
  Deno.test(`an upstream that takes nothing more, and then ${how}, has vanished`, async () => {
    using lifetime = new Lifetime(LIMITS, new AbortController().signal, { client: MUTE, upstream: MUTE });
    const [connection, kubelet] = pipe();
    kubelet.close();
    const thrown: unknown = await new GuardedConnection(connection, "upstream").write(Uint8Array.of(1))
      .catch((thrown: unknown) => thrown);
    lifetime.fail("client", thrown);
    assert.equal(lifetime.isOver, false, "what it said before is still to be read");
    if (isRead) lifetime.end(UPSTREAM_CLOSED);
    assert.equal((await lifetime.ended).reason, "upstream_vanished");
  });
}
