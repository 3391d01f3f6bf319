import { type AuditEvent, endEvent, startEvent, withoutSecrets } from "../audit/event.ts";
import type { Target } from "../kube/target.ts";
import type { ByteConnection } from "../session/byte_connection.ts";
import { UpstreamRefusal } from "../session/kubelet_upgrade.ts";
import { ManifestTap } from "../recording/manifest/manifest_tap.ts";
import type { RecordingResult, SessionRecording } from "../recording/archive.ts";
import type { SessionEnd, Tap } from "../session/stream_event.ts";
import type { OpenedUpstream, UpstreamRequest } from "../session/upstream.ts";
import type { Permission } from "./admission.ts";
import { beginRecording, recordingTap, recordSafely, recordStrictly, TapChain } from "./evidence.ts";
import { auditTarget, type Caller, type Gate } from "./gate.ts";
import type { Journey } from "./journey.ts";
import { reconsider } from "./reconsider.ts";
import type { SessionAddress } from "./session_address.ts";
import type { LiveEntry, SessionFacts } from "./session_registry.ts";

/** How a session is to be opened. */
export interface SessionPlan {
  address: SessionAddress;
  target: Target;
  caller: Caller;
  permission: Permission;
  upstream: UpstreamRequest;
  /** Whether it is a terminal: an attach has what its container has, whatever was asked. */
  tty: boolean;
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
  #recording: SessionRecording | undefined;
  readonly #manifest: ManifestTap | undefined;
  #entry: LiveEntry | undefined;
  #stopRechecks: (() => void) | undefined;

  constructor(readonly journey: Journey, readonly gate: Gate, readonly plan: SessionPlan) {
    this.#leave = gate.slots.take();
    const { upstream: { subresource, command: argv }, tty } = plan;
    if (subresource !== "portforward") this.#manifest = new ManifestTap({ argv, tty });
  }

  /**
   * Begins the recording, opens the upstream and writes down that it is open. Gives the place back where that fails.
   *
   * @throws {Refusal} ServiceUnavailable where it cannot be written down; whatever the gate throws
   */
  async open(): Promise<ByteConnection> {
    try {
      this.#recording = await beginRecording(this.gate, this.plan);
      return await this.#open();
    } catch (thrown) {
      this.#leave();
      await this.#manifest?.end();
      const message = "the session did not open";
      const result = await this.#recording?.end({ reason: "upstream_refused", by: "upstream", message });
      if (result !== undefined) await this.#settle(result);
      throw thrown;
    }
  }

  /**
   * Shows every event to `first`, to who lists the files in it, and to the recording, where there is one; those who watch see it
   * last.
   */
  tap(first: Tap): Tap {
    const tap = new TapChain([
      first,
      ...(this.#manifest ? [this.#manifest] : []),
      ...(this.#recording ? [recordingTap(this.#recording)] : []),
    ]);
    return this.#entry?.tap(tap) ?? tap;
  }

  /** Aborted when the session must end: its client has gone, the gateway shuts down, or somebody has ended it. */
  get signal(): AbortSignal {
    const { signal } = this.journey.context;
    return this.#entry === undefined ? signal : AbortSignal.any([signal, this.#entry.signal]);
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
    const start = {
      upstream: upstream.authority,
      clientProtocol,
      upstreamProtocol: upstream.protocol,
      ...(this.#recording && { recording: this.#recording.path }),
    };
    try {
      await recordStrictly(gate, startEvent(journey.facts, auditTarget(target), start));
    } catch (thrown) {
      upstream.connection.close();
      throw thrown;
    }
    const entry = this.#entry = gate.sessions.enter(this.#facts());
    const { schedule, steps } = gate.rechecks ?? {};
    this.#stopRechecks = steps && schedule?.watch({
      ask: (signal) => reconsider(journey, steps, this.plan, signal),
      end: (end) => entry.stop(end),
    });
    return upstream.connection;
  }

  #facts(): SessionFacts {
    const { journey: { auditId, facts: { receivedAt } }, plan } = this;
    const { target: { namespace, podName: pod, container }, caller: { user }, upstream } = plan;
    return {
      auditId,
      kind: upstream.subresource,
      namespace,
      pod,
      ...(container && { container: container.name }),
      username: user.username,
      startedAt: receivedAt,
      ...(this.#recording && { recording: this.#recording.path }),
    };
  }

  /** Sees the session through, to its last event. Never throws for what happens in the session. */
  async run(session: () => Promise<SessionAccount>): Promise<SessionAccount> {
    const { gate, journey, plan } = this;
    const account = await session().catch((thrown) => {
      this.#entry?.over({ reason: "gateway_error", by: "gateway", message: "the gateway failed" });
      this.#manifest?.end();
      throw thrown;
    }).finally(() => {
      this.#stopRechecks?.();
      this.#leave();
    });
    const { end, streams, events } = account;
    if (end.cause !== undefined) gate.report("a session failed", end.cause, journey.auditId);
    const durationMs = performance.now() - this.#startedAtMs;
    const { reason, by, message, exitCode } = end;
    const recorded = await this.#recording?.end({
      ...{ reason, by, message: withoutSecrets(message, journey.facts) },
      ...(exitCode !== undefined && { exitCode }),
    });
    const recording = recorded && recordingOf(recorded);
    const manifests = await this.#manifest?.end() ?? [];
    const last = endEvent(journey.facts, auditTarget(plan.target), {
      ...{ ...end, streams, durationMs },
      ...(recording && { recording }),
      ...(manifests.length > 0 && { manifests }),
    });
    await recordSafely(gate, journey.auditId, ...events, last);
    // In the event's words, from which secrets are gone.
    this.#entry?.over({ ...end, message: last.annotations["postern.dev/message"] ?? "" });
    if (recorded !== undefined) await this.#settle(recorded);
    return account;
  }

  async #settle(result: RecordingResult): Promise<void> {
    try {
      await this.#recording!.settle(result);
    } catch (cause) {
      this.gate.report("the recordings' chain cannot be written", cause, this.journey.auditId);
    }
  }
}

function recordingOf({ path, link, failure }: RecordingResult) {
  const error = failure instanceof Error ? failure.message : "the recording broke";
  return { path, ...(link === undefined ? { error } : { link }) };
}
