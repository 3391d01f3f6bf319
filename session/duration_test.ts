import assert from "node:assert/strict";
import { spokenDuration } from "./duration.ts";

const SPOKEN: readonly [number, string][] = [
  [20, "20ms"],
  [1_500, "1.5s"],
  [45_000, "45s"],
  [120_000, "2m"],
  [90_000, "1m30s"],
  [5_400_000, "1h30m"],
  [28_800_000, "8h"],
];
for (const [ms, words] of SPOKEN) {
  Deno.test(`spokenDuration says ${words} for ${ms} ms`, () => assert.equal(spokenDuration(ms), words));
}
