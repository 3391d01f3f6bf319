/**
 * The chart's dashboard and alerts, asked of what a gateway's own `/metrics` says, by Prometheus's own engine. The gateway stands in
 * front of the real cluster; sessions, refusals and most of the faults are real ones.
 */

import assert from "node:assert/strict";
import { join } from "node:path";
import { parse, stringify } from "yaml";
import { z } from "zod";
import { CHART } from "../../deploy/helm/helm.ts";
import { upgrade } from "../support/websocket_client.ts";
import { type Cluster, runningCluster, tokensOf } from "./support/cluster.ts";
import { Gateway } from "./support/gateway.ts";
import { PromQL, type Scraped, type Series } from "./support/promql.ts";
import { SmallDisk } from "./support/small_disk.ts";
import { TcpProxy } from "./support/tcp_proxy.ts";
import { eventually } from "./support/wait.ts";

/** As many as the gateway takes here. */
const MAX_SESSIONS = 3;

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
      .replaceAll("NAMESPACE", LABELS.namespace).replaceAll("MAX_SESSIONS", String(MAX_SESSIONS)),
  )).groups.flatMap(({ rules }) => rules);

/** As Grafana asks: with what was chosen above the panels. */
const asked = (expression: string) =>
  expression.replaceAll("$namespace", LABELS.namespace).replaceAll("$pod", ".*").replaceAll(
    "$__rate_interval",
    "1m",
  );

type Scrapes = readonly [before: string, after: string];

/** What is made to happen, in this order: of each what `/metrics` said when it had begun, and when it had gone on for a while. */
interface Happened {
  /** Sessions, refusals, and what is no request. */
  nothing: Scrapes;
  /** Somebody tries a privileged container again and again. */
  privileged: Scrapes;
  /** As many sessions are open as the gateway takes. */
  full: Scrapes;
  /** The API server takes its time. */
  slow: Scrapes;
  apiServerAway: Scrapes;
  /** No recording can be begun. */
  recordingsFull: Scrapes;
  /** No event can be written down. */
  auditFull: Scrapes;
  /** The gateway was killed. */
  gone: Scrapes;
}

let promql: PromQL;
let happened: Happened;

Deno.test.beforeAll(async () => {
  promql = await PromQL.build();
  await using scene = await Scene.start();
  happened = await scene.happen();
});
Deno.test.afterAll(async () => {
  await promql?.[Symbol.asyncDispose]();
});

Deno.test("monitoring: every panel of the dashboard has an answer, that of errors where there were some", async () => {
  const queries = dashboard.panels.flatMap(({ title, targets }) =>
    targets.map(({ expr }) => ({ title, expr }))
  );
  const emptyOf = async (scrapes: Scrapes) => {
    const answers = await promql.ask({ scrapes, labels: LABELS }, queries.map(({ expr }) => asked(expr)));
    return queries.filter((_, i) => answers[i]!.length === 0).map(({ title }) => title);
  };
  assert.deepEqual(await emptyOf(happened.nothing), ["Upstream errors"]);
  assert.deepEqual(await emptyOf(happened.apiServerAway), []);
});

Deno.test("monitoring: the dashboard's figures are those of what happened", async () => {
  const valueOf = async (title: string, labels: Record<string, string>) => {
    const { targets } = dashboard.panels.find((panel) => panel.title === title)!;
    const scraped = { scrapes: happened.nothing, labels: LABELS };
    const [series = []] = await promql.ask(scraped, [asked(targets[0]!.expr)]);
    return find(series, labels)?.value;
  };
  // Once more in fifteen seconds.
  const perSecond = 1 / 15;
  const opened = await valueOf("Opened", { kind: "exec", protocol: "WebSocket v4.channel.k8s.io" });
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

/** How quick a gateway is says as much of the machine that it runs on as of itself: these are looked at where they are caused alone. */
const OF_SPEED = ["PosternSlowToOpen", "PosternBusy"];

/** By what happened, the alerts that are found, and no other. */
const CAUSED: Readonly<Record<keyof Happened, readonly string[]>> = {
  nothing: [],
  privileged: ["PosternPrivilegedRefusals"],
  full: ["PosternNearlyFull"],
  slow: ["PosternSlowToOpen"],
  apiServerAway: ["PosternSessionsRefusedByFaults", "PosternUpstreamErrors"],
  recordingsFull: ["PosternSessionsRefusedByFaults"],
  auditFull: ["PosternAuditEventsLost", "PosternAuditSinkUnhealthy", "PosternSessionsRefusedByFaults"],
  gone: ["PosternDown"],
};

for (const [what, alerts] of Object.entries(CAUSED)) {
  Deno.test(`monitoring: ${what}: ${alerts.join(", ") || "no alert"}`, async () => {
    const scrapes = new Map(Object.entries(happened)).get(what) ?? [];
    const answers = await promql.ask({ scrapes, labels: LABELS }, rules.map(({ expr }) => expr));
    const found = rules.filter((_, i) => answers[i]!.length > 0).map(({ alert }) => alert);
    const isLookedAt = (alert: string) => alerts.includes(alert) || !OF_SPEED.includes(alert);
    assert.deepEqual(found.filter(isLookedAt).sort(), alerts);
  });
}

/** What has to be changed in what a gateway says for alerts that would take long to cause. */
const FAULTS: Record<string, (text: string, last: boolean) => string> = {
  PosternAuditLag: (text) => set(text, 'postern_audit_lag_seconds{sink="file-0"}', 301),
  PosternRecordingLag: (text) => set(text, "postern_recording_lag_seconds", 6),
  PosternBusy: (text, last) => last ? slower(text, "postern_event_loop_lag_seconds") : text,
};

Deno.test("monitoring: every alert is tried", () => {
  const tried = new Set([...Object.values(CAUSED).flat(), ...Object.keys(FAULTS)]);
  assert.deepEqual([...tried].sort(), rules.map(({ alert }) => alert).sort());
});

for (const [alert, fault] of Object.entries(FAULTS)) {
  Deno.test(`monitoring: ${alert} is found`, async () => {
    const { expr } = rules.find((rule) => rule.alert === alert)!;
    const scrapes = happened.nothing.map((text, i) => fault(text, i === 1));
    const scraped: Scraped = { scrapes, labels: LABELS };
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
function slower(text: string, histogram: string): string {
  const series = `${histogram}_bucket{le="+Inf"}`;
  assert.ok(text.includes(`\n${series} `), series);
  return set(text, series, 1_000_000);
}

function find(series: readonly Series[], labels: Record<string, string>): Series | undefined {
  return series.find((each) => Object.entries(labels).every(([name, value]) => each.labels[name] === value));
}

const EXEC = "exec?stdout=1&command=";

/** Refusals that are enough for every rate that alerts. */
const MANY = 60;

/** A gateway on the real cluster whose API server can be taken away, and whose disks can be filled. */
class Scene implements AsyncDisposable {
  private constructor(
    readonly gateway: Gateway,
    readonly apiServer: TcpProxy,
    readonly disks: { audit: SmallDisk; recordings: SmallDisk },
    readonly tokens: ReadonlyMap<string, string>,
    readonly ca: string,
    readonly parts: AsyncDisposableStack,
  ) {}

  static async start(): Promise<Scene> {
    await using parts = new AsyncDisposableStack();
    const cluster = await runningCluster();
    const apiServer = new TcpProxy(Number(new URL(cluster.apiServerUrl).port));
    parts.defer(() => apiServer.close());
    const disks = {
      audit: parts.use(await SmallDisk.mount(1 << 20)),
      recordings: parts.use(await SmallDisk.mount(1 << 20)),
    };
    const gateway = parts.use(
      await Gateway.start({
        kubernetes: { kubeconfig: await throughProxy(cluster, apiServer.port, disks.audit.folder) },
        audit: { sinks: [{ type: "file", path: join(disks.audit.folder, "audit.log") }] },
        recording: { sink: { type: "folder", path: disks.recordings.folder } },
        sessions: { maxSessions: MAX_SESSIONS },
        admin: { listener: "on", port: 0 },
      }),
    );
    const ca = await Deno.readTextFile(cluster.paths.caCertificate);
    return new Scene(gateway, apiServer, disks, await tokensOf(cluster), ca, parts.move());
  }

  async happen(): Promise<Happened> {
    // Counters are there when something was counted: what Prometheus shows is how they grow from then on.
    const ordinary = async (count: number) => {
      assert.equal(await this.#exec("alice", "shell", "echo&command=hello"), 101);
      assert.equal(await this.#exec("bob", "shell"), 403);
      await this.#speak("nonsense\r\n\r\n");
      // A request that is none for a session, of somebody who is nobody.
      await this.#speak(
        "GET /api/v1/nodes/n/proxy/metrics HTTP/1.1\r\nHost: postern\r\nConnection: close\r\n\r\n",
      );
      return await eventually(`of ${count} sessions the end is counted`, async () => {
        const text = await this.#scrape();
        const ended = text.matchAll(/^postern_sessions_ended_total\{kind="exec",.*\} (\d+)$/gm);
        return [...ended].reduce((sum, [, each]) => sum + Number(each), 0) === count ? text : undefined;
      }, { deadlineMs: 60_000 });
    };
    const nothing: Scrapes = [await ordinary(1), await ordinary(2)];
    const privileged = await this.#refused(403, "privileged-container", "privileged");
    const full = await this.#full();
    // Until they are over there is no place for others, which would be refused for that.
    await eventually("the sessions are over", async () => {
      return !/^postern_sessions_live\{.*\} [1-9]/m.test(await this.#scrape()) || undefined;
    }, { deadlineMs: 60_000 });

    const slow = await this.#slow();

    this.apiServer.isOpen = false;
    this.apiServer.cut();
    const apiServerAway = await this.#refused(503, "none");
    this.apiServer.isOpen = true;

    await this.disks.recordings.fill(join(this.disks.recordings.folder, "filler"));
    const recordingsFull = await this.#refused(503, "recording");

    await this.disks.audit.fill(join(this.disks.audit.folder, "filler"));
    const auditFull = await this.#refused(503, "audit");

    const port = await this.#adminPort();
    await this.gateway[Symbol.asyncDispose]();
    await assert.rejects(fetch(`http://127.0.0.1:${port}/metrics`), { name: "TypeError" });
    return { nothing, privileged, full, slow, apiServerAway, recordingsFull, auditFull, gone: ["", ""] };
  }

  /** Sessions that are refused by a rule, the first of them and then many. */
  async #refused(code: number, rule: string, pod = "shell"): Promise<Scrapes> {
    // On a disk that is full, a page that somebody has begun to fill takes some more.
    const before = await eventually(`a session is refused: ${rule}`, async () => {
      assert.equal(await this.#exec("alice", pod), code);
      const text = await this.#scrape();
      return text.includes(`rule="${rule}"`) ? text : undefined;
    }, { deadlineMs: 60_000 });
    for (let i = 0; i < MANY; i++) assert.equal(await this.#exec("alice", pod), code);
    return [before, await this.#scrape()];
  }

  /** Sessions that stay open, until it was seen that they are. */
  async #full(): Promise<Scrapes> {
    const before = await this.#scrape();
    const open: Deno.TlsConn[] = [];
    try {
      for (let i = 0; i < MAX_SESSIONS; i++) {
        const connection = await this.#connect();
        open.push(connection);
        assert.equal((await this.#ask(connection, "alice", "shell", "sleep&command=60")).answer.status, 101);
      }
      return [before, await this.#scrape()];
    } finally {
      for (const connection of open) connection.close();
    }
  }

  /** A session that waits for the API server. */
  async #slow(): Promise<Scrapes> {
    const before = await this.#scrape();
    const within = (text: string, le: string) => {
      const series = `\npostern_session_setup_seconds_bucket{le="${le}",kind="exec"} `;
      return Number(text.split(series)[1]?.split("\n")[0]);
    };
    const opened = (text: string) => ({ all: within(text, "+Inf"), quickly: within(text, "2.5") });
    this.apiServer.delayMs = 3000;
    const after = await eventually("a session is opened slowly", async () => {
      this.apiServer.cut();
      await this.#exec("alice", "shell");
      const text = await this.#scrape();
      const [was, is] = [opened(before), opened(text)];
      return is.all - is.quickly > was.all - was.quickly ? text : undefined;
    }, { deadlineMs: 120_000 });
    this.apiServer.delayMs = 0;
    return [before, after];
  }

  /** Runs a command to its end. @returns the answer's code */
  async #exec(user: string, pod: string, command = "true"): Promise<number> {
    using connection = await this.#connect();
    const { answer, client } = await this.#ask(connection, user, pod, command);
    await client?.receiveAll();
    return answer.status;
  }

  async #ask(connection: Deno.TlsConn, user: string, pod: string, command: string) {
    return await upgrade(connection, {
      path: `/api/v1/namespaces/default/pods/${pod}/${EXEC}${command}`,
      host: `127.0.0.1:${this.gateway.port}`,
      headers: [["Authorization", `Bearer ${this.tokens.get(user)}`]],
      // Of v4 a client is let in when the session is open, and not before.
      protocols: ["v4.channel.k8s.io"],
      timeoutMs: 60_000,
    });
  }

  /** Says something to the gateway, and waits until it has answered and gone. */
  async #speak(words: string): Promise<void> {
    const connection = await this.#connect();
    await connection.write(new TextEncoder().encode(words));
    await new Response(connection.readable).text();
  }

  async #connect(): Promise<Deno.TlsConn> {
    return await Deno.connectTls({ hostname: "127.0.0.1", port: this.gateway.port, caCerts: [this.ca] });
  }

  async #scrape(): Promise<string> {
    using client = Deno.createHttpClient({ poolMaxIdlePerHost: 0 });
    const answer = await fetch(`http://127.0.0.1:${await this.#adminPort()}/metrics`, { client });
    assert.equal(answer.status, 200);
    return await answer.text();
  }

  /** The log says it as soon as it listens. */
  async #adminPort(): Promise<number> {
    return await eventually("the admin port listens", async () => {
      const said = /"message":"the admin port listens".*"port":(\d+)/.exec(await this.gateway.log());
      return said === null ? undefined : Number(said[1]);
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.parts.disposeAsync();
  }
}

/** The gateway's own kubeconfig, by another port. @returns its path */
async function throughProxy({ paths }: Cluster, port: number, folder: string): Promise<string> {
  const kubeconfig = Kubeconfig.parse(parse(await Deno.readTextFile(paths.gatewayKubeconfig)));
  for (const { cluster } of kubeconfig.clusters) cluster.server = `https://127.0.0.1:${port}`;
  const path = join(folder, "kubeconfig");
  await Deno.writeTextFile(path, stringify(kubeconfig), { mode: 0o600 });
  return path;
}

const Kubeconfig = z.looseObject({
  clusters: z.array(z.looseObject({ cluster: z.looseObject({ server: z.string() }) })),
});
