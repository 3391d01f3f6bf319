import assert from "node:assert/strict";
import { traceOf } from "./tracing.ts";

const PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

const CASES: readonly { name: string; headers: [string, string][]; taken: Record<string, string> }[] = [
  {
    name: "what a client says of its trace",
    headers: [["Traceparent", PARENT], ["TraceState", "a=1,b=2"], ["X", "y"]],
    taken: { traceparent: PARENT, tracestate: "a=1,b=2" },
  },
  { name: "attack: no state of a megabyte", headers: [["tracestate", "a".repeat(1 << 20)]], taken: {} },
  {
    name: "attack: no parent of a megabyte",
    headers: [["traceparent", `${PARENT}-${"a".repeat(1 << 20)}`]],
    taken: {},
  },
  {
    name: "attack: no bytes that are no text",
    headers: [["tracestate", "a=\xff"], ["traceparent", `${PARENT}\t`]],
    taken: {},
  },
  { name: "attack: no two parents", headers: [["traceparent", PARENT], ["Traceparent", PARENT]], taken: {} },
];
for (const { name, headers, taken } of CASES) {
  Deno.test(`traceOf takes up ${name}`, () => assert.deepEqual(traceOf(headers), taken));
}
