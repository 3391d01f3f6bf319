import assert from "node:assert/strict";
import { growthExponent, median, pairRatios, percentile } from "./statistics.ts";

const tenths = [9, 1, 8, 2, 7, 3, 6, 4, 10, 5];
const cases = [
  { name: "the least", share: 0, want: 1 },
  { name: "the middle", share: 0.5, want: 5 },
  { name: "a share between two ranks: the higher", share: 0.91, want: 10 },
  { name: "the most", share: 1, want: 10 },
] as const;

for (const { name, share, want } of cases) {
  Deno.test(`percentile finds ${name}`, () => assert.equal(percentile(tenths, share), want));
}

Deno.test("percentile has no answer for nothing", () => {
  assert.throws(() => percentile([], 0.5), RangeError);
});

Deno.test("median leaves its input in order", () => {
  const values = [3, 1, 2];
  assert.equal(median(values), 2);
  assert.deepEqual(values, [3, 1, 2]);
});

Deno.test("pairRatios compares run by run", () => {
  assert.deepEqual(pairRatios([2, 9], [4, 3]), [0.5, 3]);
});

const growths = [
  { name: "a constant", cost: () => 7, want: 0 },
  { name: "a line through the origin", cost: (work: number) => 3 * work, want: 1 },
  { name: "a square", cost: (work: number) => work * work, want: 2 },
];

for (const { name, cost, want } of growths) {
  Deno.test(`growthExponent of ${name} is ${want}`, () => {
    const points = [1, 10, 100].map((work) => ({ work, cost: cost(work) }));
    assert.ok(Math.abs(growthExponent(points) - want) < 1e-9);
  });
}
