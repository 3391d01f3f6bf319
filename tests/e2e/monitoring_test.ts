/**
 * The chart's dashboard and alerts, asked of what a gateway's own `/metrics` says, by Prometheus's own engine. The gateway is
 * the one that ships, in front of the embedded cluster.
 */

import assert from "node:assert/strict";
import { join } from "node:path";
import { parse } from "yaml";
import { z } from "zod";
import { CHART } from "../../deploy/helm/helm.ts";
import { ObservedGateway } from "../support/observed_gateway.ts";
import { PromQL, type Scraped, type Series } from "./support/promql.ts";

const LABELS = { namespace: "postern-system", pod: "postern-0" };

const dashboard = z.object({
  panels: z.array(
    z.object({ title: z.string(), targets: z.array(z.object({ expr: z.string() })).default([]) }),
  ),
}).parse(JSON.parse(await Deno.readTextFile(join(CHART, "files", "dashboard.json"))));

const rules = z.object({
  groups: z.array(z.object({ rules: z.array(z.object({ alert: z.string(), expr: z.string() })) })),
})
  .parse(parse(
    (await Deno.readTextFile(join(CHART, "files", "rules.yaml")))
      .replaceAll("NAMESPACE", LABELS.namespace).replaceAll("MAX_SESSIONS", "1000"),
  )).groups.flatMap(({ rules }) => rules);

/** As Grafana asks: with what was chosen above the panels. */
const asked = (expression: string) =>
  expression.replaceAll("$namespace", LABELS.namespace).replaceAll("$pod", ".*").replaceAll(
    "$__rate_interval",
    "1m",
  );

let promql: PromQL;
/** Before anything happened, and after a session, a refusal and something that is no request. */
let scrapes: readonly [string, string];

Deno.test.beforeAll(async () => {
  promql = await PromQL.build();
  await using observed = await ObservedGateway.start();
  // Counters are there when something was counted: what Prometheus shows is how they grow from then on.
  const happen = async () => {
    assert.equal(typeof await observed.exec("alice", ["echo", "hello"]), "object");
    assert.equal(await observed.exec("bob", ["echo", "hello"]), 403);
    await speak(observed, "nonsense\r\n\r\n");
    // A request that is none for a session, of somebody who is nobody.
    await speak(
      observed,
      "GET /api/v1/nodes/n/proxy/metrics HTTP/1.1\r\nHost: postern\r\nConnection: close\r\n\r\n",
    );
  };
  const settled = async (count: number) => {
    const ended = `postern_sessions_ended_total{kind="exec",reason="command_ended"} ${count}`;
    return (await observed.until("/metrics", ({ body }) => body.includes(ended))).body;
  };
  await happen();
  const before = await settled(1);
  await happen();
  scrapes = [before, await settled(2)];
});
Deno.test.afterAll(async () => {
  await promql[Symbol.asyncDispose]();
});

/** Says something to the gateway, and waits until it has answered and gone. */
async function speak({ gateway: { port }, cluster: { ca } }: ObservedGateway, words: string): Promise<void> {
  const connection = await Deno.connectTls({ hostname: "127.0.0.1", port, caCerts: [ca] });
  await connection.write(new TextEncoder().encode(words));
  await new Response(connection.readable).text();
}

Deno.test("monitoring: every panel of the dashboard has an answer, but that of errors where there were none", async () => {
  const queries = dashboard.panels.flatMap(({ title, targets }) =>
    targets.map(({ expr }) => ({ title, expr }))
  );
  const answers = await promql.ask({ scrapes, labels: LABELS }, queries.map(({ expr }) => asked(expr)));
  const empty = queries.filter((_, i) => answers[i]!.length === 0).map(({ title }) => title);
  assert.deepEqual(empty, ["Upstream errors"]);
});

Deno.test("monitoring: the dashboard's figures are those of what happened", async () => {
  const valueOf = async (title: string, labels: Record<string, string>) => {
    const { targets } = dashboard.panels.find((panel) => panel.title === title)!;
    const [series = []] = await promql.ask({ scrapes, labels: LABELS }, [asked(targets[0]!.expr)]);
    return find(series, labels)?.value;
  };
  // Once more in fifteen seconds.
  const perSecond = 1 / 15;
  const opened = await valueOf("Opened", { kind: "exec", protocol: "WebSocket v5.channel.k8s.io" });
  assert.ok(opened! > 0 && opened! < 2 * perSecond, `opened ${opened}`);
  const refused = await valueOf("Refused, by reason and rule", {
    reason: "Forbidden",
    rule: "authorization",
  });
  assert.ok(refused! > 0, `refused ${refused}`);
  const bytes = await valueOf("Bytes", { stream: "stdout", direction: "out" });
  assert.ok(Math.abs(bytes! / opened! - 6) < 0.01, `${bytes} bytes a second, by ${opened} sessions of six`);
  assert.equal(await valueOf("Live", { kind: "exec" }), 0);
  assert.equal(await valueOf("Sinks that are well", { sink: "file-0" }), 1);
});

Deno.test("monitoring: no alert of a gateway that is well", async () => {
  const answers = await promql.ask({ scrapes, labels: LABELS }, rules.map(({ expr }) => expr));
  assert.deepEqual(rules.filter((_, i) => answers[i]!.length > 0).map(({ alert }) => alert), []);
});

/** What has to be changed in what a gateway says so that it is an alert. */
const FAULTS: Record<string, (text: string, last: boolean) => string> = {
  PosternDown: () => "",
  PosternAuditSinkUnhealthy: (text) => set(text, 'postern_audit_sink_healthy{sink="file-0"}', 0),
  PosternAuditLag: (text) => set(text, 'postern_audit_lag_seconds{sink="file-0"}', 301),
  PosternAuditEventsLost: (text, last) =>
    set(text, 'postern_audit_events_failed_total{sink="file-0"}', last ? 3 : 1),
  PosternRecordingLag: (text) => set(text, "postern_recording_lag_seconds", 6),
  PosternUpstreamErrors: (text, last) =>
    set(text, 'postern_upstream_errors_total{upstream="session",kind="refused"}', last ? 60 : 0),
  PosternSessionsRefusedByFaults: (text, last) =>
    set(
      text,
      'postern_sessions_refused_total{kind="exec",reason="ServiceUnavailable",rule="none"}',
      last ? 60 : 0,
    ),
  PosternSlowToOpen: (text, last) =>
    last ? slower(text, "postern_session_setup_seconds", { kind: "exec" }) : text,
  PosternNearlyFull: (text) =>
    set(text, 'postern_sessions_live{kind="exec",protocol="WebSocket v5.channel.k8s.io"}', 901),
  PosternBusy: (text, last) => last ? slower(text, "postern_event_loop_lag_seconds", {}) : text,
  PosternPrivilegedRefusals: (text, last) =>
    set(
      text,
      'postern_sessions_refused_total{kind="exec",reason="Forbidden",rule="privileged-container"}',
      last ? 20 : 0,
    ),
};

Deno.test("monitoring: every alert is tried", () => {
  assert.deepEqual(Object.keys(FAULTS).sort(), rules.map(({ alert }) => alert).sort());
});

for (const { alert, expr } of rules) {
  Deno.test(`monitoring: ${alert} is found`, async () => {
    const fault = FAULTS[alert]!;
    const scraped: Scraped = {
      scrapes: scrapes.map((text, i) => fault(text, i === scrapes.length - 1)),
      labels: LABELS,
    };
    const [series = []] = await promql.ask(scraped, [expr]);
    assert.equal(series.length, 1, JSON.stringify(series));
  });
}

/** The text with another value of a series, which is added where it is not there. */
function set(text: string, series: string, value: number): string {
  const lines = text.split("\n").filter((line) => line !== "" && !line.startsWith(`${series} `));
  return [...lines, `${series} ${value}`, ""].join("\n");
}

/** The text, had a thousand more things taken longer than the largest bound. */
function slower(text: string, histogram: string, labels: Record<string, string>): string {
  const words = Object.entries(labels).map(([name, value]) => `${name}="${value}"`);
  const series = `${histogram}_bucket{${['le="+Inf"', ...words].join(",")}}`;
  assert.ok(text.includes(`\n${series} `), series);
  return set(text, series, 1_000_000);
}

function find(series: readonly Series[], labels: Record<string, string>): Series | undefined {
  return series.find((each) => Object.entries(labels).every(([name, value]) => each.labels[name] === value));
}
