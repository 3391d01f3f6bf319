import assert from "node:assert/strict";
import fc from "fast-check";
import { type KeptRecording, RetentionRule } from "./retention.ts";

const DAY_MS = 86_400_000;
const NOW_MS = Date.parse("2026-11-21T12:00:00Z");

function recording(path: string, ageDays: number, bytes: number, isKept = false): KeptRecording {
  return { path, bytes, modifiedAt: new Date(NOW_MS - ageDays * DAY_MS), isKept };
}

const FOUR = [
  recording("young", 1, 10),
  recording("oldest", 9, 30),
  recording("old", 5, 20),
  recording("held", 99, 40, true),
];

const tables: { name: string; maxAgeDays: number; maxBytes: number; want: string[] }[] = [
  { name: "nothing without bounds", maxAgeDays: 0, maxBytes: 0, want: [] },
  { name: "what is too old, oldest first", maxAgeDays: 4, maxBytes: 0, want: ["oldest age", "old age"] },
  {
    name: "what reached its age to the millisecond",
    maxAgeDays: 5,
    maxBytes: 0,
    want: ["oldest age", "old age"],
  },
  { name: "nothing where there is room to the byte", maxAgeDays: 0, maxBytes: 100, want: [] },
  { name: "the oldest for one byte too many", maxAgeDays: 0, maxBytes: 99, want: ["oldest size"] },
  { name: "as many as it takes", maxAgeDays: 0, maxBytes: 69, want: ["oldest size", "old size"] },
  {
    name: "everything that may be where what is held alone is too much",
    ...{ maxAgeDays: 0, maxBytes: 1 },
    want: ["oldest size", "old size", "young size"],
  },
  { name: "by age before it is by size", maxAgeDays: 6, maxBytes: 50, want: ["oldest age", "old size"] },
];
for (const { name, maxAgeDays, maxBytes, want } of tables) {
  Deno.test(`RetentionRule deletes ${name}`, () => {
    const rule = new RetentionRule({ maxAgeDays, maxBytes }, NOW_MS);
    const due = rule.due(FOUR, rule.excessOf(100));
    assert.deepEqual(due.map(({ path, reason }) => `${path} ${reason}`), want);
  });
}

Deno.test("RetentionRule says why", () => {
  const rule = new RetentionRule({ maxAgeDays: 6, maxBytes: 50 }, NOW_MS);
  assert.deepEqual(rule.due(FOUR, rule.excessOf(100)).map(({ message }) => message), [
    "older than 6 days",
    "recordings take more than 50 bytes",
  ]);
});

const files = fc.uniqueArray(
  fc.record({
    path: fc.uuid(),
    bytes: fc.nat(1000),
    modifiedAt: fc.integer({ min: 0, max: 30 }).map((days) => new Date(NOW_MS - days * DAY_MS)),
    isKept: fc.boolean(),
  }),
  { selector: ({ path }) => path },
);
const bounds = fc.record({ maxAgeDays: fc.nat(30), maxBytes: fc.nat(20_000) });

function sum(recordings: readonly { bytes: number }[]): number {
  return recordings.reduce((total, { bytes }) => total + bytes, 0);
}

Deno.test("whatever there is, what remains is within both bounds, or kept; and no more goes than must", () => {
  fc.assert(fc.property(files, bounds, (recordings, options) => {
    const rule = new RetentionRule(options, NOW_MS);
    const due = rule.due(recordings, rule.excessOf(sum(recordings)));
    const gone = new Set(due.map(({ path }) => path));
    const remaining = recordings.filter(({ path }) => !gone.has(path));
    const free = remaining.filter(({ isKept }) => !isKept);
    assert.equal(recordings.filter(({ isKept, path }) => isKept && gone.has(path)).length, 0);
    assert.ok(free.every(({ modifiedAt }) => !rule.isExpired(modifiedAt.getTime())));
    if (options.maxBytes > 0) assert.ok(sum(remaining) <= options.maxBytes || free.length === 0);
    const last = due.at(-1);
    if (last?.reason === "size") {
      assert.ok(sum(remaining) + last.bytes > options.maxBytes, "the last one had to go");
      assert.ok(free.every(({ modifiedAt }) => modifiedAt >= last.modifiedAt), "none older remains");
    }
    if (options.maxBytes === 0) assert.ok(due.every(({ reason }) => reason === "age"));
  }));
});
