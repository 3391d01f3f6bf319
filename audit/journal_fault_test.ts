import assert from "node:assert/strict";
import { FAULT_COUNTS_MS, journalFault } from "./journal_fault.ts";
import type { LaneStatus } from "./lane.ts";

const NOW = Date.parse("2026-11-21T12:00:00Z");
const WELL: LaneStatus = {
  name: "file a",
  isBestEffort: false,
  healthy: true,
  pendingEvents: 0,
  pendingBytes: 0,
  writtenEvents: 1,
  failedEvents: 0,
  oldestPendingMs: 0,
};
const FULL: LaneStatus = { ...WELL, healthy: false, lastError: "disk full", lastErrorAt: new Date(NOW - 1) };
const LONG_AGO: LaneStatus = { ...FULL, lastErrorAt: new Date(NOW - FAULT_COUNTS_MS) };

for (
  const [name, healthy, sinks, want] of [
    ["is well", true, [WELL], undefined],
    ["has one of two sinks, and needs one", true, [WELL, FULL], undefined],
    ["failed just now", false, [WELL, FULL], "file a: disk full"],
    ["failed long ago: whoever comes next tries", false, [LONG_AGO], undefined],
    ["failed long ago, and is writing", false, [{ ...LONG_AGO, pendingEvents: 1 }], "file a: disk full"],
    [
      "hangs",
      false,
      [{ ...WELL, healthy: false, pendingEvents: 1 }],
      "file a: a write takes too long",
    ],
    ["is closed", false, [WELL], "the audit journal is closed"],
    ["lacks what nobody needs", true, [WELL, { ...FULL, isBestEffort: true }], undefined],
  ] satisfies [string, boolean, LaneStatus[], string | undefined][]
) {
  Deno.test(`journalFault: a journal that ${name}`, () => {
    assert.equal(journalFault({ healthy, sinks }, NOW), want);
  });
}
