/** Traces of the gateway as it ships, by the platform's own OpenTelemetry, as whoever collects them sees them. */
import assert from "node:assert/strict";
import { ObservedGateway } from "./support/observed_gateway.ts";

/** Of OTLP as JSON, as far as it is read. */
interface ReceivedSpan {
  traceId: string;
  spanId: string;
  parentSpanId?: string;
  name: string;
  attributes: { key: string; value: Record<string, unknown> }[];
}

/** Takes traces by OTLP over HTTP, as JSON. */
class TraceReceiver implements AsyncDisposable {
  readonly spans: ReceivedSpan[] = [];
  readonly #server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, async (request) => {
    const { resourceSpans = [] } = await request.json();
    for (const { scopeSpans } of resourceSpans) for (const { spans } of scopeSpans) this.spans.push(...spans);
    return Response.json({});
  });

  get env(): Record<string, string> {
    return {
      OTEL_DENO: "true",
      OTEL_EXPORTER_OTLP_PROTOCOL: "http/json",
      OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${this.#server.addr.port}`,
      OTEL_BSP_SCHEDULE_DELAY: "100",
    };
  }

  async until(isThere: (spans: readonly ReceivedSpan[]) => boolean): Promise<void> {
    const endsAt = performance.now() + 60_000;
    while (!isThere(this.spans)) {
      assert.ok(performance.now() < endsAt, `came: ${this.spans.map(({ name }) => name)}`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.shutdown();
  }
}

const TRACE_ID = "0af7651916cd43dd8448eb211c80319c";
const PARENT_ID = "b7ad6b7169203331";

/** Header of a request that is a part of the client's trace. */
const HEADER = ["traceparent", `00-${TRACE_ID}-${PARENT_ID}-01`] as const;

Deno.test({
  name:
    "a session is one trace with a span for each phase, which the client began and the cluster goes on with",
  sanitizeOps: true,
  sanitizeResources: true,
  fn: async () => {
    await using receiver = new TraceReceiver();
    await using observed = await ObservedGateway.start({ env: receiver.env });
    assert.ok(typeof await observed.exec("alice", ["echo", "secret-word"], [HEADER]) === "object");
    await receiver.until((spans) => spans.some(({ name }) => name === "exec"));

    const ours = receiver.spans.filter(({ traceId }) => traceId === TRACE_ID);
    const root = ours.find(({ name }) => name === "exec");
    assert.equal(root?.parentSpanId, PARENT_ID);
    const said = new Map(root.attributes.map(({ key, value }) => [key, value]));
    assert.deepEqual(said.get("postern.session.end"), { stringValue: "command_ended" });
    assert.match(String(said.get("postern.audit_id")?.["stringValue"]), /^[0-9a-f-]{36}$/);
    const phases = ours.filter(({ parentSpanId }) => parentSpanId === root.spanId);
    assert.deepEqual(
      phases.map(({ name }) => name).sort(),
      ["authenticate", "authorize", "decide", "dial", "record", "resolve"],
    );

    const parentOf = (spanId: string) => ours.find((span) => span.spanId === spanId)?.parentSpanId;
    const phaseOf = (spanId: string) => phases.find((phase) => phase.spanId === spanId)?.name;
    const told = observed.requests.map(({ at, path, traceparent }) => {
      const [, traceId = "", spanId = ""] = traceparent?.split("-") ?? [];
      assert.equal(traceId, TRACE_ID, path);
      // What is asked of the API server has a span of its own, below the phase's.
      return [at, phaseOf(at === "kubelet" ? spanId : parentOf(spanId) ?? "")];
    });
    assert.deepEqual(new Set(told.map(String)), new Set(WANTED.map(String)));
    assert.doesNotMatch(JSON.stringify(receiver.spans), /secret-word|alice|Bearer/);
  },
});

/** In which phases what is asked. */
const WANTED = [
  ["apiserver", "authenticate"],
  ["apiserver", "authorize"],
  ["apiserver", "resolve"],
  ["apiserver", "dial"], // whether what was opened is the pod that was checked
  ["kubelet", "dial"],
];
