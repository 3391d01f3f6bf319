import assert from "node:assert/strict";
import { StreamBytes } from "./stream_bytes.ts";

Deno.test("StreamBytes counts by stream and direction; a port is no name of its own", () => {
  const counter = new StreamBytes();
  const push = (stream: string, direction: "in" | "out", length: number) =>
    counter.push({ type: "data", stream, direction, bytes: new Uint8Array(length) });
  push("stdin", "in", 3);
  push("stdout", "out", 5);
  push("stdout", "out", 7);
  push("data:8080", "in", 11);
  push("data:9090", "in", 13);
  push("whatever", "out", 17);
  counter.push({ type: "opened" });
  const nothing = { in: 0, out: 0 };
  assert.deepEqual(counter.counts, {
    stdin: { in: 3, out: 0 },
    stdout: { in: 0, out: 12 },
    stderr: nothing,
    error: nothing,
    resize: nothing,
    data: { in: 24, out: 0 },
    other: { in: 0, out: 17 },
  });
});
