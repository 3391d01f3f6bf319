/** A session's trace by OpenTelemetry, as a real collector has it. */

import assert from "node:assert/strict";
import { ObservedGateway } from "../support/observed_gateway.ts";
import { Collector } from "./support/collector.ts";
import { eventually } from "./support/wait.ts";
import { freePort } from "../support/free_port.ts";

live("a real collector has a session's trace, whole", async () => {
  const folder = await Deno.makeTempDir({ prefix: "postern-e2e-traces-" });
  try {
    await using collector = await Collector.start(freePort(), folder);
    const env = {
      OTEL_DENO: "true",
      OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
      OTEL_BSP_SCHEDULE_DELAY: "100",
    };
    await using observed = await ObservedGateway.start({ env });
    assert.ok(typeof await observed.exec("alice", ["true"]) === "object");
    const { root, spans } = await eventually("the session's span arrives", async () => {
      const spans = await collector.spans();
      const root = spans.find(({ name }) => name === "exec");
      return root && { root, spans };
    });
    const phases = spans.filter(({ parentSpanId }) => parentSpanId === root.spanId).map(({ name }) => name);
    assert.deepEqual(phases.sort(), ["authenticate", "authorize", "decide", "dial", "record", "resolve"]);
    assert.ok(spans.some(({ traceId, name }) => traceId === root.traceId && name === "POST"));
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

function live(name: string, fn: () => Promise<void>): void {
  Deno.test({ name, fn, sanitizeOps: true, sanitizeResources: true });
}
