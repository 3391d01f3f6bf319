import assert from "node:assert/strict";
import { LabelValues } from "./label_values.ts";

for (
  const [value, want] of [
    ["Forbidden", "Forbidden"],
    ["SPDY/3.1 v4.channel.k8s.io", "SPDY/3.1 v4.channel.k8s.io"],
    ["WebSocket (none)", "WebSocket (none)"],
    ["WebSocket SPDY/3.1+portforward.k8s.io", "WebSocket SPDY/3.1+portforward.k8s.io"],
    [undefined, "none"],
    ["", "none"],
    ['a"} 1\nup{b="', "other"],
    ["a".repeat(65), "other"],
  ] as const
) {
  Deno.test(`LabelValues: ${JSON.stringify(value)} is ${want}`, () => {
    assert.equal(new LabelValues().of(value), want);
  });
}

Deno.test("LabelValues: an upstream that makes up a reason for each request makes no more than 64 series", () => {
  const values = new LabelValues();
  const seen = new Set(Array.from({ length: 1000 }, (_, index) => values.of(`Reason${index}`)));
  assert.equal(seen.size, 65);
  assert.equal(values.of("Reason0"), "Reason0");
  assert.equal(values.of("Reason999"), "other");
});
