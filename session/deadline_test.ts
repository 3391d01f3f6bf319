import assert from "node:assert/strict";
import { Deadline } from "./deadline.ts";

const LONG_MS = 3_600_000;

/** With `sanitizeOps` a timer that is left behind fails the test. */
function test(name: string, fn: () => Promise<void> | void): void {
  Deno.test({ name, sanitizeOps: true, sanitizeResources: true, fn });
}

test("a deadline rejects when its time is over", async () => {
  using deadline = new Deadline(1, new AbortController().signal);
  await assert.rejects(deadline.passed);
  assert.deepEqual([deadline.isLate, deadline.hasPassed], [true, true]);
});

test("a deadline rejects with the signal's reason, and is not late", async () => {
  const controller = new AbortController();
  using deadline = new Deadline(LONG_MS, controller.signal);
  const gone = new Error("the client has gone");
  controller.abort(gone);
  await assert.rejects(deadline.passed, gone);
  assert.deepEqual([deadline.isLate, deadline.hasPassed], [false, true]);
});

test("a deadline of a signal that is aborted already rejects", async () => {
  using deadline = new Deadline(LONG_MS, AbortSignal.abort(new Error("gone")));
  await assert.rejects(deadline.passed, /gone/);
});

test("a deadline that is disposed of leaves no timer, and nothing at the signal", () => {
  const { signal } = new AbortController();
  let listeners = 0;
  const add = signal.addEventListener.bind(signal);
  signal.addEventListener = (...given: Parameters<typeof add>) => (listeners++, add(...given));
  const remove = signal.removeEventListener.bind(signal);
  signal.removeEventListener = (...given: Parameters<typeof remove>) => (listeners--, remove(...given));
  const deadline = new Deadline(LONG_MS, signal);
  assert.equal(listeners, 1);
  deadline[Symbol.dispose]();
  assert.equal(listeners, 0);
  assert.equal(deadline.hasPassed, false);
});
