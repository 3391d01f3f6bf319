import { type AuditEvent, endEvent, startEvent } from "../audit/event.ts";
import type { Target } from "../kube/target.ts";
import type { ByteConnection } from "../session/byte_connection.ts";
import { UpstreamRefusal } from "../session/kubelet_upgrade.ts";
import type { SessionEnd } from "../session/stream_event.ts";
import type { OpenedUpstream, UpstreamRequest } from "../session/upstream.ts";
import { recordSafely, recordStrictly } from "./evidence.ts";
import { auditTarget, type Caller, type Gate } from "./gate.ts";
import type { Journey } from "./journey.ts";

/** How a session is to be opened. */
export interface SessionPlan {
  target: Target;
  caller: Caller;
  upstream: UpstreamRequest;
  /** Stream protocol towards the upstream. */
  protocol: string;
  /** What the client speaks, for the events. */
  clientProtocol: string;
}

/** What a session came to: bytes by stream, for its last event; and what is to be written down beside that. */
export interface SessionAccount {
  end: SessionEnd;
  streams: readonly { name: string; count?: number; bytesIn: number; bytesOut: number }[];
  events: readonly AuditEvent[];
}

/**
 * A session that was allowed and recorded: what is left is to open it, to see it through and to write down its end.
 * It holds a place among the sessions that are open from its construction on.
 *
 * @throws {Refusal} TooManyRequests
 */
export class LiveSession {
  readonly #startedAtMs = performance.now();
  readonly #leave: () => void;

  constructor(readonly journey: Journey, readonly gate: Gate, readonly plan: SessionPlan) {
    this.#leave = gate.slots.take();
  }

  /**
   * Opens the upstream and writes down that it is open. Gives the place back where that fails.
   *
   * @throws {Refusal} ServiceUnavailable where it cannot be written down; whatever the gate throws
   */
  async open(): Promise<ByteConnection> {
    try {
      return await this.#open();
    } catch (thrown) {
      this.#leave();
      throw thrown;
    }
  }

  async #open(): Promise<ByteConnection> {
    const { gate, journey } = this;
    const { target, caller: { token }, upstream: wanted, protocol, clientProtocol } = this.plan;
    const { signal, rawHeaders } = journey.context;
    const { auditId } = journey;
    const request = { target, upstream: wanted, protocol, auditId, token, rawHeaders };
    let upstream: OpenedUpstream;
    try {
      upstream = await gate.open(request, signal);
    } catch (thrown) {
      // The API server, where it refused, has the session in its own log too.
      const headers = thrown instanceof UpstreamRefusal ? thrown.headers : [];
      const upstreamAuditId = headers.find(([name]) => name.toLowerCase() === "audit-id")?.[1];
      if (upstreamAuditId !== undefined) journey.learn({ upstreamAuditId });
      throw thrown;
    }
    if (upstream.auditId !== undefined) journey.learn({ upstreamAuditId: upstream.auditId });
    const start = { upstream: upstream.authority, clientProtocol, upstreamProtocol: upstream.protocol };
    try {
      await recordStrictly(gate, startEvent(journey.facts, auditTarget(target), start));
    } catch (thrown) {
      upstream.connection.close();
      throw thrown;
    }
    return upstream.connection;
  }

  /** Sees the session through, to its last event. Never throws for what happens in the session. */
  async run(session: () => Promise<SessionAccount>): Promise<SessionAccount> {
    const { gate, journey, plan } = this;
    const account = await session().finally(this.#leave);
    const { end, streams, events } = account;
    if (end.cause !== undefined) gate.report("a session failed", end.cause, journey.auditId);
    const durationMs = performance.now() - this.#startedAtMs;
    const last = endEvent(journey.facts, auditTarget(plan.target), { ...end, streams, durationMs });
    await recordSafely(gate, journey.auditId, ...events, last);
    return account;
  }
}
