import assert from "node:assert/strict";
import { type Definition, DEFINITIONS } from "./definitions.ts";
import { GatewayMetrics, type Readings } from "./gateway_metrics.ts";
import { JourneyMeter } from "./journey_meter.ts";
import { lint, parseText } from "./test_exposition.ts";

const READINGS: Readings = {
  caches: { token_reviews: { hits: 3, misses: 2 } },
  sinks: [{
    name: "file /var/log/postern/audit.log",
    healthy: false,
    pendingEvents: 4,
    writtenEvents: 5,
    failedEvents: 6,
    oldestPendingMs: 1500,
  }],
  recording: { open: 1, lagMs: 250, waitedMs: 2000 },
  connections: { live: 7, failedHandshakes: 8 },
  writeWaitsMs: { client: 3000, upstream: 500 },
  isDraining: true,
};

function metrics(): GatewayMetrics {
  return new GatewayMetrics({ version: "1.2.3", revision: "abc" });
}

async function samples(of: GatewayMetrics): Promise<ReadonlyMap<string, number>> {
  return parseText(await of.text(READINGS)).samples;
}

Deno.test("every metric is there as it is defined, and keeps to the conventions", async () => {
  using of = metrics();
  const text = await of.text(READINGS);
  const { families } = parseText(text);
  const told = Object.fromEntries([...families].map(([name, { type, help }]) => [name, { type, help }]));
  const defined: Definition[] = Object.values(DEFINITIONS);
  assert.deepEqual(told, Object.fromEntries(defined.map(({ name, type, help }) => [name, { type, help }])));
  assert.deepEqual(lint(text), []);
});

Deno.test("what is counted elsewhere is told as it is now, however often it is asked", async () => {
  using of = metrics();
  of.streams.push({ type: "data", stream: "stdout", direction: "out", bytes: new Uint8Array(9) });
  await of.text(READINGS);
  const now = await samples(of);
  for (
    const [name, value] of [
      ['postern_build_info{version="1.2.3",revision="abc"}', 1],
      ['postern_cache_hits_total{cache="token_reviews"}', 3],
      ['postern_cache_misses_total{cache="token_reviews"}', 2],
      ['postern_audit_events_pending{sink="file-0"}', 4],
      ['postern_audit_events_written_total{sink="file-0"}', 5],
      ['postern_audit_events_failed_total{sink="file-0"}', 6],
      ['postern_audit_lag_seconds{sink="file-0"}', 1.5],
      ['postern_audit_sink_healthy{sink="file-0"}', 0],
      ["postern_recordings_open", 1],
      ["postern_recording_lag_seconds", 0.25],
      ['postern_backpressure_seconds_total{party="client"}', 3],
      ['postern_backpressure_seconds_total{party="upstream"}', 0.5],
      ['postern_backpressure_seconds_total{party="recording"}', 2],
      ['postern_stream_bytes_total{stream="stdout",direction="out"}', 9],
      ["postern_connections_live", 7],
      ["postern_handshakes_failed_total", 8],
      ["postern_draining", 1],
    ] as const
  ) assert.equal(now.get(name), value, name);
  for (const name of ["process_cpu_seconds_total", "process_resident_memory_bytes", "process_heap_bytes"]) {
    assert.ok((now.get(name) ?? 0) > 0, name);
  }
  assert.ok(Math.abs((now.get("process_start_time_seconds") ?? 0) - Date.now() / 1000) < 3600);
});

Deno.test("before the first session there are none, which is not the same as nothing", async () => {
  using of = metrics();
  const live = [...await samples(of)].filter(([name]) => name.startsWith("postern_sessions_live{"));
  assert.deepEqual(
    new Set(live.map(([name]) => /kind="(\w+)"/.exec(name)?.[1])),
    new Set(["exec", "attach", "portforward"]),
  );
  assert.ok(live.every(([name, value]) => value === 0 && !name.includes("other")));
});

Deno.test("a session is counted as it opens and as it ends, once, and each phase by itself", async () => {
  using of = metrics();
  const meter = new JourneyMeter(of, { auditId: "a", kind: "exec", rawHeaders: [] });
  assert.equal(await meter.run(() => meter.phase("authenticate", () => Promise.resolve("alice"))), "alice");
  await assert.rejects(meter.phase("dial", () => Promise.reject(new Error("no route"))), /no route/);
  meter.opened("WebSocket v5.channel.k8s.io");
  meter.answered(101);
  const labels = '{kind="exec",protocol="WebSocket v5.channel.k8s.io"}';
  let now = await samples(of);
  assert.equal(now.get(`postern_sessions_live${labels}`), 1);
  for (const phase of ["authenticate", "dial"]) {
    assert.equal(now.get(`postern_session_open_seconds_count{phase="${phase}"}`), 1);
  }
  meter.ended("command_ended");
  meter.ended("gateway_error");
  now = await samples(of);
  assert.equal(now.get(`postern_sessions_live${labels}`), 0);
  assert.equal(now.get(`postern_sessions_opened_total${labels}`), 1);
  assert.equal(now.get('postern_sessions_ended_total{kind="exec",reason="command_ended"}'), 1);
  assert.equal(now.get('postern_sessions_ended_total{kind="exec",reason="gateway_error"}'), undefined);
  assert.equal(now.get('postern_session_duration_seconds_count{kind="exec"}'), 1);
});

Deno.test("a refusal is counted by reason and rule; that of another request is none of a session", async () => {
  using of = metrics();
  const begin = (kind: string | undefined) => new JourneyMeter(of, { auditId: "a", kind, rawHeaders: [] });
  const refusal = { code: 403, reason: "Forbidden", rule: "authorization" };
  begin("attach").refused(refusal);
  begin("attach").refused({ code: 500, reason: "" });
  const other = begin(undefined);
  await other.phase("authenticate", () => Promise.resolve());
  other.refused(refusal);
  const now = await samples(of);
  const refused = "postern_sessions_refused_total";
  assert.equal(now.get(`${refused}{kind="attach",reason="Forbidden",rule="authorization"}`), 1);
  assert.equal(now.get(`${refused}{kind="attach",reason="none",rule="none"}`), 1);
  assert.equal(now.get('postern_requests_refused_total{reason="Forbidden",rule="authorization"}'), 1);
  assert.equal(now.get('postern_session_open_seconds_count{phase="authenticate"}'), undefined);
});
