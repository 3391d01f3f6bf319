import assert from "node:assert/strict";
import { join } from "node:path";
import { ROOT } from "../e2e/support/cluster.ts";
import { allCases } from "./cases/all_cases.ts";
import { rowOf } from "./cases/case.ts";
import { EXPLANATIONS } from "./explanations.ts";
import { LEFT_OUT } from "./left_out.ts";
import { idOf } from "./matrix.ts";

/** The last number of the protocols' reference. */
const LAST = 118;

const cases = allCases({ heads: new Map() });
const played = new Set(
  cases.flatMap(({ number }) => number === undefined ? [] : [number.replace(/[a-z]$/, "")]),
);
const leftOut = LEFT_OUT.flatMap(({ numbers }) => numbers);

Deno.test("every edge case of the reference is a row, or left out with a reason", () => {
  const all = Array.from({ length: LAST }, (_, index) => `E-${index + 1}`);
  assert.deepEqual(all.filter((number) => !played.has(number) && !leftOut.includes(number)), []);
  assert.deepEqual(leftOut.filter((number) => played.has(number)), [], "what is left out is no row");
});

Deno.test("each row has a name of its own, by which explanations and filters know it", () => {
  const ids = cases.map((each) => idOf(rowOf(each)));
  assert.deepEqual(ids.filter((id, index) => ids.indexOf(id) !== index), []);
});

Deno.test("what is left out is tried where it says", async () => {
  for (const { numbers, instead } of LEFT_OUT) {
    for (const path of instead) {
      const text = await Deno.readTextFile(join(ROOT, path));
      if (!path.endsWith("_test.ts")) continue;
      assert.ok(numbers.some((number) => text.includes(number)), `${path} names one of ${numbers}`);
    }
  }
});

Deno.test("an explanation says what is shown instead", () => {
  for (const { why, shows } of EXPLANATIONS) assert.ok(Object.keys(shows).length > 0, why);
});
