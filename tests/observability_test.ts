/** The admin port of the gateway as it ships: sessions, refusals and faults are seen on it, and nobody's name is. */
import assert from "node:assert/strict";
import { lint, parseText } from "../observability/test_exposition.ts";
import { ObservedGateway } from "./support/observed_gateway.ts";

/** A header by which a client says that its request is a part of a trace. */
const TRACE = ["traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"] as const;

Deno.test({
  name: "the admin port tells of sessions, of refusals, of an API server that is gone, and of the end",
  sanitizeOps: true,
  sanitizeResources: true,
  fn: async (t) => {
    await using observed = await ObservedGateway.start({ shutdownDelaySeconds: 25 });
    const samples = async () => parseText((await observed.ask("/metrics")).body).samples;
    const comesTo = async (name: string, value: number) => {
      await observed.until("/metrics", ({ body }) => parseText(body).samples.get(name) === value);
    };

    await t.step("it is alive and ready", async () => {
      assert.deepEqual(await observed.ask("/healthz"), { status: 200, body: "ok\n" });
      const { status, body } = await observed.ask("/readyz?verbose");
      assert.equal(status, 200);
      const checks = ["gateway", "apiServer", "audit", "recording"].map((name) => ({ name, ok: true }));
      assert.deepEqual(JSON.parse(body), { ready: true, checks });
    });

    await t.step("a session and a refusal are counted, each phase of them and every byte", async () => {
      const session = await observed.exec("alice", ["echo", "hello"], [TRACE]);
      assert.ok(typeof session === "object", `answered ${session}`);
      assert.equal(await observed.exec("bob", ["echo", "hello"]), 403);
      // Whoever is refused does not wait for the pod to be found, nor a client for its session to be counted.
      await comesTo('postern_session_open_seconds_count{phase="resolve"}', 2);
      await comesTo('postern_sessions_ended_total{kind="exec",reason="command_ended"}', 1);
      const now = await samples();
      const labels = '{kind="exec",protocol="WebSocket v5.channel.k8s.io"}';
      assert.equal(now.get(`postern_sessions_live${labels}`), 0);
      assert.equal(now.get(`postern_sessions_opened_total${labels}`), 1);
      const refused = '{kind="exec",reason="Forbidden",rule="authorization"}';
      assert.equal(now.get(`postern_sessions_refused_total${refused}`), 1);
      const times = (phase: string) => now.get(`postern_session_open_seconds_count{phase="${phase}"}`);
      // Both were known and asked about; what may not be opened is not decided on, recorded or dialled.
      assert.deepEqual(["authenticate", "authorize"].map(times), [2, 2]);
      assert.deepEqual(["decide", "record", "dial"].map(times), [1, 1, 1]);
      assert.equal(now.get('postern_stream_bytes_total{stream="stdout",direction="out"}'), 6);
      assert.equal(now.get('postern_cache_misses_total{cache="token_reviews"}'), 2);
      assert.ok((now.get('postern_audit_events_written_total{sink="file-0"}') ?? 0) >= 4);
      assert.equal(now.get('postern_audit_sink_healthy{sink="file-0"}'), 1);
    });

    await t.step("without OTEL_DENO nothing is traced, and the client's trace not passed on", () => {
      assert.ok(observed.requests.some(({ at }) => at === "kubelet"));
      assert.deepEqual(observed.requests.filter(({ traceparent }) => traceparent !== null), []);
    });

    await t.step("it keeps to the conventions, and names nobody", async () => {
      const { body } = await observed.ask("/metrics");
      assert.deepEqual(lint(body), []);
      assert.doesNotMatch(body, /alice|bob|default|"shell"|127\.0\.0\.1|audit\.log/);
    });

    await t.step(
      "it is not ready while the API server cannot be reached, says so, and recovers",
      async () => {
        observed.apiServer.isOpen = false;
        observed.apiServer.cut();
        const { body } = await observed.until("/readyz", ({ status }) => status === 503);
        assert.equal(body, "apiServer: the API server cannot be reached\n");
        assert.equal((await observed.ask("/healthz")).status, 200);
        observed.apiServer.isOpen = true;
        await observed.until("/readyz", ({ status }) => status === 200);
        const errors = 'postern_upstream_errors_total{upstream="apiserver",kind="unreachable"}';
        assert.ok(((await samples()).get(errors) ?? 0) > 0);
      },
    );

    await t.step(
      "it is not ready from the first moment of its end on, and takes who comes all the same",
      async () => {
        Deno.kill(observed.gateway.pid, "SIGTERM");
        const { body } = await observed.until("/readyz", ({ status }) => status === 503);
        assert.equal(body, "gateway: the gateway is shutting down: new sessions go to another one\n");
        assert.equal((await samples()).get("postern_draining"), 1);
        assert.equal(typeof await observed.exec("alice", ["echo", "late"]), "object");
        Deno.kill(observed.gateway.pid, "SIGTERM"); // nobody else comes: the second one ends the waiting
        assert.equal((await observed.gateway.ended).code, 0);
      },
    );
  },
});
