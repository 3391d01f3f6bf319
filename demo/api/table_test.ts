import assert from "node:assert/strict";
import { humanDuration } from "./table.ts";

// As HumanDuration of k8s.io/apimachinery pkg/util/duration has them.
const DURATIONS = [
  { seconds: -5, text: "0s" },
  { seconds: 0, text: "0s" },
  { seconds: 119, text: "119s" },
  { seconds: 120, text: "2m" },
  { seconds: 125, text: "2m5s" },
  { seconds: 600, text: "10m" },
  { seconds: 3 * 3600 - 1, text: "179m" },
  { seconds: 3 * 3600, text: "3h" },
  { seconds: 3 * 3600 + 60, text: "3h1m" },
  { seconds: 8 * 3600 + 60, text: "8h" },
  { seconds: 48 * 3600, text: "2d" },
];
for (const { seconds, text } of DURATIONS) {
  Deno.test(`humanDuration tells ${seconds} seconds as ${text}`, () => {
    assert.equal(humanDuration(seconds * 1000), text);
  });
}
