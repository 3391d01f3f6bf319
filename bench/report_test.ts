import assert from "node:assert/strict";
import type { Row } from "./figures/figure.ts";
import { asText, verdict } from "./report.ts";

const row: Row = { section: "Latency", figure: "echo", route: "gateway", unit: "ms", values: [4, 9, 2] };
const verdicts = [
  { name: "no target", row, want: undefined },
  { name: "the median below the bound", row: { ...row, target: { below: 5 } }, want: true },
  { name: "the median at the bound", row: { ...row, target: { below: 4 } }, want: false },
  { name: "the median at the least", row: { ...row, target: { atLeast: 4 } }, want: true },
  { name: "the median under the least", row: { ...row, target: { atLeast: 5 } }, want: false },
] as const;

for (const { name, row, want } of verdicts) {
  Deno.test(`verdict of ${name}`, () => assert.equal(verdict(row), want));
}

Deno.test("asText tells median, least, most, ratio and verdict in one line", () => {
  const told: Row = { ...row, ratio: { to: "direct", values: [1, 3, 2] }, target: { below: 3 } };
  const line = asText([told]).split("\n").at(-2)!.split(/ {2,}/);
  const want = ["echo", "gateway", "4.00", "2.00", "9.00", "ms", "2.00 × direct (1.00 to 3.00)", "< 3: FAIL"];
  assert.deepEqual(line, want);
});
