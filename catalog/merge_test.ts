import assert from "node:assert/strict";
import fc from "fast-check";
import { mergeSessions } from "./merge.ts";
import { type Cells, SESSIONS, toCells } from "./tables.ts";

const moment = fc.integer({ min: 0, max: 9 }).map((second) => `2026-11-21T12:00:0${second}.000000Z`);
const word = fc.constantFrom("a", "b", "c");
const maybe = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: undefined });

/** What an event may say of a session, those that contradict others among them. */
const contribution: fc.Arbitrary<Cells> = fc.tuple(
  fc.record({
    startedAt: moment,
    username: maybe(word),
    argv: maybe(fc.array(word)),
    tty: maybe(fc.boolean()),
  }),
  maybe(fc.record({
    decidedBy: fc.constantFrom("decision", "refusal"),
    decidedAt: moment,
    allowed: fc.boolean(),
    reason: word,
  })),
  maybe(fc.record({ openedAt: moment, upstream: word })),
  maybe(fc.record({
    outcome: fc.constantFrom("end", "response", "refusal"),
    endReason: fc.constantFrom("command_ended", "gateway_lost"),
    endedAt: moment,
    exitCode: maybe(fc.nat(255)),
  })),
).map(([facts, decided, opened, ended]) =>
  toCells(SESSIONS, { auditId: "a", ...facts, ...decided, ...opened, ...ended })
);

Deno.test("mergeSessions: the order does not matter", () => {
  fc.assert(fc.property(contribution, contribution, (a, b) => {
    assert.deepEqual(mergeSessions(a, b), mergeSessions(b, a));
  }));
});

Deno.test("mergeSessions: it does not matter what is merged first", () => {
  fc.assert(fc.property(contribution, contribution, contribution, (a, b, c) => {
    assert.deepEqual(mergeSessions(mergeSessions(a, b), c), mergeSessions(a, mergeSessions(b, c)));
  }));
});

Deno.test("mergeSessions: once more changes nothing", () => {
  fc.assert(fc.property(contribution, contribution, (a, b) => {
    const merged = mergeSessions(a, b);
    assert.deepEqual(mergeSessions(merged, a), merged);
    assert.deepEqual(mergeSessions(a, a), a);
  }));
});

const SECOND = (second: number) => `2026-11-21T12:00:0${second}.000000Z`;
const contradictions: { name: string; worse: Record<string, unknown>; better: Record<string, unknown> }[] = [
  {
    name: "an end that a gateway saw stands before one that another concluded, though it was written later",
    worse: { outcome: "end", endReason: "gateway_lost", endedAt: SECOND(1) },
    better: { outcome: "end", endReason: "command_ended", endedAt: SECOND(2), exitCode: 0 },
  },
  {
    name: "a denial stands before an allowance",
    worse: { decidedBy: "decision", allowed: true, decidedAt: SECOND(1), reason: "not privileged" },
    better: { decidedBy: "decision", allowed: false, decidedAt: SECOND(2), reason: "privileged" },
  },
  {
    name: "the policy's word stands before an upstream's refusal",
    worse: { decidedBy: "refusal", allowed: false, decidedAt: SECOND(1), reason: "the kubelet says no" },
    better: { decidedBy: "decision", allowed: true, decidedAt: SECOND(2), reason: "not privileged" },
  },
];
for (const { name, worse, better } of contradictions) {
  Deno.test(`mergeSessions: ${name}`, () => {
    const cells = (more: Record<string, unknown>) =>
      toCells(SESSIONS, { auditId: "a", startedAt: SECOND(0), ...more });
    assert.deepEqual(mergeSessions(cells(worse), cells(better)), cells(better));
  });
}
