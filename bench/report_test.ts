import assert from "node:assert/strict";
import type { Row } from "./figures/figure.ts";
import { asMarkdown, asText, verdict } from "./report.ts";

const row: Row = { section: "Latency", figure: "echo", route: "gateway", unit: "ms", values: [4, 9, 2] };
const verdicts = [
  { name: "no target", row, want: undefined },
  { name: "the median at the most", row: { ...row, target: { atMost: 4 } }, want: true },
  { name: "the median above the most", row: { ...row, target: { atMost: 3.9 } }, want: false },
  { name: "the median at the least", row: { ...row, target: { atLeast: 4 } }, want: true },
  { name: "the median under the least", row: { ...row, target: { atLeast: 5 } }, want: false },
] as const;

for (const { name, row, want } of verdicts) {
  Deno.test(`verdict of ${name}`, () => assert.equal(verdict(row), want));
}

const missed: Row = { ...row, target: { atMost: 3 } };

Deno.test("asText tells median, least, most and verdict in one line", () => {
  const line = asText([missed], []).split("\n").at(-2)!.split(/ {2,}/);
  assert.deepEqual(line, ["echo", "gateway", "4.00", "2.00", "9.00", "ms", "≤ 3: MISSED"]);
});

Deno.test("asText draws a series and says how it grows", () => {
  const series = {
    section: "Growth",
    work: "sessions",
    cost: "memory in MB",
    points: [{ work: 1, cost: 2 }, { work: 10, cost: 20 }],
  };
  const [title, first, last] = asText([], [series]).split("\n").slice(-4, -1);
  assert.equal(title, "memory in MB, by sessions: grows as its power of 1.00 (1 is linear, 0 constant)");
  assert.equal(first, ` 1  ${"█".repeat(4)} 2.00`);
  assert.equal(last, `10  ${"█".repeat(40)} 20.0`);
});

Deno.test("asMarkdown begins with what has a target, and counts what is kept", () => {
  const text = asMarkdown([row, missed, { ...row, target: { atLeast: 1 } }], [], {}, []);
  assert.match(text, /^## Targets: 1 of 2 kept$/m);
});
