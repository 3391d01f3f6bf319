import type { GatewayMetrics } from "./gateway_metrics.ts";
import { JourneySpan } from "./tracing.ts";

/** A request as it came in. */
export interface MeteredRequest {
  auditId: string;
  /** Of the session that is asked for; absent where none is. */
  kind: string | undefined;
  rawHeaders: readonly (readonly [name: string, value: string])[];
}

/** Counts, times and traces one request on its way, and the session that may come of it. */
export class JourneyMeter {
  readonly #metrics: GatewayMetrics;
  readonly #kind: string | undefined;
  readonly #span: JourneySpan | undefined;
  readonly #startMs = performance.now();
  #open: { protocol: string; sinceMs: number } | undefined;

  constructor(metrics: GatewayMetrics, { auditId, kind, rawHeaders }: MeteredRequest) {
    this.#metrics = metrics;
    this.#kind = kind;
    const attributes = { "postern.audit_id": auditId, ...(kind && { "postern.session.kind": kind }) };
    this.#span = JourneySpan.begin(kind ?? "request", rawHeaders, attributes);
  }

  async run<T>(journey: () => Promise<T>): Promise<T> {
    return await (this.#span?.run(journey) ?? journey());
  }

  async phase<T>(phase: string, work: () => Promise<T>): Promise<T> {
    const startMs = performance.now();
    try {
      return await (this.#span?.phase(phase, work) ?? work());
    } finally {
      if (this.#kind !== undefined) this.#metrics.phase(phase, performance.now() - startMs);
    }
  }

  refused({ code, ...refusal }: { code: number; reason: string; rule?: string }): void {
    this.#metrics.refused(this.#kind, refusal);
    const { reason, rule } = refusal;
    this.#span?.say({
      "postern.refusal.reason": reason,
      ...(rule !== undefined && { "postern.refusal.rule": rule }),
    });
    this.answered(code);
  }

  upstreamFailed(fault: string): void {
    this.#metrics.upstreamFailed("session", fault);
  }

  opened(protocol: string): void {
    if (this.#kind === undefined || this.#open !== undefined) return;
    const nowMs = performance.now();
    this.#open = { protocol, sinceMs: nowMs };
    this.#metrics.opened(this.#kind, protocol, nowMs - this.#startMs);
    this.#span?.say({ "postern.session.protocol": protocol });
  }

  ended(reason: string): void {
    if (this.#kind === undefined || this.#open === undefined) return;
    const { protocol, sinceMs } = this.#open;
    this.#open = undefined;
    this.#metrics.ended(this.#kind, protocol, reason, performance.now() - sinceMs);
    this.#span?.say({ "postern.session.end": reason });
    this.#span?.end(false);
  }

  /** A session that was opened, or is about to be, ends later. */
  answered(code: number): void {
    if (code === 101) return;
    this.#span?.say({ "http.response.status_code": code });
    this.#span?.end(code >= 500);
  }

  traceHeaders(): (readonly [name: string, value: string])[] {
    return this.#span?.headers() ?? [];
  }
}
