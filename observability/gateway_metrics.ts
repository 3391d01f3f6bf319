import process from "node:process";
import { LabelValues } from "./label_values.ts";
import { MetricRegistry } from "./registry.ts";
import { StreamBytes } from "./stream_bytes.ts";

/** How often it is looked how late a timer is, in milliseconds. */
const LAG_EVERY_MS = 500;

/** What clients of today speak: of these there is a series from the start, so that their sum is 0 and not nothing. */
const USUAL_SESSIONS: readonly (readonly [kind: string, protocol: string])[] = [
  ...["exec", "attach"].flatMap((kind) => [
    [kind, "WebSocket v5.channel.k8s.io"] as const,
    [kind, "SPDY/3.1 v4.channel.k8s.io"] as const,
  ]),
  ["portforward", "WebSocket SPDY/3.1+portforward.k8s.io"],
  ["portforward", "SPDY/3.1 portforward.k8s.io"],
];

/** How one audit sink does. */
export interface SinkLoad {
  /** Begins with the sink's type. */
  name: string;
  healthy: boolean;
  pendingEvents: number;
  writtenEvents: number;
  failedEvents: number;
  oldestPendingMs: number;
}

/** What is counted elsewhere, and asked for with each scrape. */
export interface Readings {
  /** By the cache's name. */
  caches: Readonly<Record<string, { hits: number; misses: number }>>;
  sinks: readonly SinkLoad[];
  recording: { open: number; lagMs: number; waitedMs: number };
  connections: { live: number; failedHandshakes: number };
  /** Time that writes waited, in milliseconds. */
  writeWaitsMs: { client: number; upstream: number };
  isDraining: boolean;
}

/** Which program it is. */
export interface Build {
  version: string;
  /** The commit; empty where that is not known. */
  revision: string;
}

/** Counts what the gateway does. Labels are bounded here, whoever calls. */
export class GatewayMetrics implements Disposable {
  /** Sees every stream of every session. */
  readonly streams: StreamBytes = new StreamBytes();
  readonly #registry = new MetricRegistry();
  readonly #build: Build;
  readonly #protocols = new LabelValues();
  readonly #reasons = new LabelValues();
  readonly #rules = new LabelValues();
  readonly #lagTimer: ReturnType<typeof setInterval>;

  constructor(build: Build) {
    this.#build = build;
    for (const [kind, protocol] of USUAL_SESSIONS) {
      const labels = [kind, this.#protocols.of(protocol)];
      this.#registry.add("sessionsOpened", labels, 0);
      this.#registry.move("sessionsLive", labels, 0);
    }
    let dueMs = performance.now() + LAG_EVERY_MS;
    this.#lagTimer = setInterval(() => {
      const nowMs = performance.now();
      this.#registry.observe("eventLoopLag", [], Math.max(0, nowMs - dueMs) / 1000);
      dueMs = nowMs + LAG_EVERY_MS;
    }, LAG_EVERY_MS);
    Deno.unrefTimer(this.#lagTimer);
  }

  /** @param kind absent where it was no session that was asked for */
  refused(kind: string | undefined, refusal: { reason: string; rule?: string }): void {
    const labels = [this.#reasons.of(refusal.reason), this.#rules.of(refusal.rule)];
    if (kind === undefined) this.#registry.add("requestsRefused", labels);
    else this.#registry.add("sessionsRefused", [kind, ...labels]);
  }

  phase(phase: string, ms: number): void {
    this.#registry.observe("sessionOpen", [phase], ms / 1000);
  }

  opened(kind: string, protocol: string, setupMs: number): void {
    const labels = [kind, this.#protocols.of(protocol)];
    this.#registry.add("sessionsOpened", labels);
    this.#registry.move("sessionsLive", labels, 1);
    this.#registry.observe("sessionSetup", [kind], setupMs / 1000);
  }

  ended(kind: string, protocol: string, reason: string, durationMs: number): void {
    this.#registry.move("sessionsLive", [kind, this.#protocols.of(protocol)], -1);
    this.#registry.add("sessionsEnded", [kind, reason]);
    this.#registry.observe("sessionDuration", [kind], durationMs / 1000);
  }

  upstreamFailed(upstream: "apiserver" | "session", kind: string): void {
    this.#registry.add("upstreamErrors", [upstream, kind]);
  }

  badRequest(code: number): void {
    this.#registry.add("badRequests", [String(code)]);
  }

  /** All metrics, in the text format of Prometheus. */
  async text(readings: Readings): Promise<string> {
    this.#read(readings);
    this.#readProcess();
    return await this.#registry.text();
  }

  [Symbol.dispose](): void {
    clearInterval(this.#lagTimer);
  }

  #read({ caches, sinks, recording, connections, writeWaitsMs, isDraining }: Readings): void {
    const { version, revision } = this.#build;
    const registry = this.#registry;
    registry.show("buildInfo", [[[version, revision], 1]]);
    const memories = Object.entries(caches);
    registry.total("cacheHits", memories.map(([name, { hits }]) => [[name], hits]));
    registry.total("cacheMisses", memories.map(([name, { misses }]) => [[name], misses]));
    const named = sinks.map((sink, index) => [[sinkName(sink, index)], sink] as const);
    registry.total("auditEvents", named.map(([label, { writtenEvents }]) => [label, writtenEvents]));
    registry.total("auditFailed", named.map(([label, { failedEvents }]) => [label, failedEvents]));
    registry.show("auditPending", named.map(([label, { pendingEvents }]) => [label, pendingEvents]));
    registry.show("auditLag", named.map(([label, { oldestPendingMs }]) => [label, oldestPendingMs / 1000]));
    registry.show("auditHealthy", named.map(([label, { healthy }]) => [label, Number(healthy)]));
    registry.show("recordingsOpen", [[[], recording.open]]);
    registry.show("recordingLag", [[[], recording.lagMs / 1000]]);
    registry.total("backpressure", [
      [["client"], writeWaitsMs.client / 1000],
      [["upstream"], writeWaitsMs.upstream / 1000],
      [["recording"], recording.waitedMs / 1000],
    ]);
    registry.total(
      "streamBytes",
      Object.entries(this.streams.counts).flatMap(([name, counts]) => [
        [[name, "in"], counts.in] as const,
        [[name, "out"], counts.out] as const,
      ]),
    );
    registry.show("connectionsLive", [[[], connections.live]]);
    registry.total("handshakesFailed", [[[], connections.failedHandshakes]]);
    registry.show("draining", [[[], Number(isDraining)]]);
  }

  /** By hand: what prom-client reads of a process under `/proc` is not allowed to this one. */
  #readProcess(): void {
    const { user, system } = process.cpuUsage();
    const { rss, heapUsed } = Deno.memoryUsage();
    this.#registry.total("processCpu", [[[], (user + system) / 1e6]]);
    this.#registry.show("processMemory", [[[], rss]]);
    this.#registry.show("processHeap", [[[], heapUsed]]);
    this.#registry.show("processStart", [[[], performance.timeOrigin / 1000]]);
  }
}

/** `file-0`: neither a path nor an address. */
function sinkName({ name }: SinkLoad, index: number): string {
  return `${name.split(" ", 1)[0]}-${index}`;
}
