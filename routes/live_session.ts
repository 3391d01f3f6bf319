import { type AuditEvent, endEvent, startEvent, withoutSecrets } from "../audit/event.ts";
import type { Target } from "../kube/target.ts";
import { ProtocolError } from "../protocol/errors.ts";
import type { ByteConnection } from "../session/byte_connection.ts";
import { DialError } from "../session/kubelet_dial.ts";
import { Refusal } from "../kube/status.ts";
import { UpstreamRefusal } from "../session/kubelet_upgrade.ts";
import { ManifestTap } from "../recording/manifest/manifest_tap.ts";
import type { RecordingResult, SessionRecording } from "../recording/archive.ts";
import { type SessionEnd, SessionFailure, type Tap } from "../session/stream_event.ts";
import { AUDIT_LOST } from "../session/guarded_tap.ts";
import type { OpenedUpstream, UpstreamRequest } from "../session/upstream.ts";
import type { Permission } from "./admission.ts";
import { beginRecording, recordingTap, recordSafely, recordStrictly, TapChain } from "./evidence.ts";
import { auditTarget, type Caller, type Gate, type UpstreamDial } from "./gate.ts";
import type { Journey } from "./journey.ts";
import type { UpstreamFault } from "./journey_watch.ts";
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
 * A session that was allowed: what is left is to have that on record, to open it, to see it through and to write down its end.
 * It holds a place among the sessions that are open from its construction on.
 *
 * @throws {Refusal} TooManyRequests
 */
export class LiveSession {
  readonly #startedAtMs = performance.now();
  readonly #leave: () => void;
  #dial: UpstreamDial | undefined;
  #evidence: Promise<void> | undefined;
  #started: Promise<void> | undefined;
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
   * Waits until the decision is durable. Meanwhile the recording begins, and the upstream is connected to. Gives the place back
   * where that fails. {@linkcode open} does the same: this is for whoever must answer the client before.
   *
   * @throws {Refusal} ServiceUnavailable where it cannot be written down
   */
  async prepare(): Promise<void> {
    await this.#orGiveUp(async () => {
      this.#begin();
      await this.plan.permission.recorded;
    });
  }

  /**
   * Opens the upstream once decision and recording are durable, and begins to write down that it is open. Gives the place back where
   * that fails.
   *
   * @throws {Refusal} ServiceUnavailable where it cannot be written down; whatever the gate throws
   */
  async open(): Promise<ByteConnection> {
    return await this.#orGiveUp(async () => {
      const { dial, evidence } = this.#begin();
      await evidence;
      return await this.#open(dial);
    });
  }

  /** Nothing is asked of the upstream before all evidence is durable; but to connect to it need not wait for the disk. */
  #begin(): { dial: UpstreamDial; evidence: Promise<void> } {
    const { gate, journey, plan } = this;
    const dial = this.#dial ??= gate.dial(plan.target, journey.context.signal);
    if (this.#evidence === undefined) {
      this.#evidence = journey.watch.phase("record", () => this.#writeEvidence());
      this.#evidence.catch(() => {}); // told to whoever waits for it
    }
    return { dial, evidence: this.#evidence };
  }

  /** Decision and recording, each on a file of its own, at once. */
  async #writeEvidence(): Promise<void> {
    const { gate, plan } = this;
    const recording = beginRecording(gate, plan).then((begun) => this.#recording = begun);
    for (const each of await Promise.allSettled([plan.permission.recorded, recording])) {
      if (each.status === "rejected") throw each.reason;
    }
  }

  async #orGiveUp<T>(act: () => Promise<T>): Promise<T> {
    try {
      return await act();
    } catch (thrown) {
      this.#leave();
      this.#dial?.abandon();
      await this.#evidence?.catch(() => {}); // a recording that began all the same is ended
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
      ...(this.gate.watch ? [this.gate.watch.streams] : []),
    ]);
    return this.#entry?.tap(tap) ?? tap;
  }

  /** Aborted when the session must end: its client has gone, the gateway shuts down, or somebody has ended it. */
  get signal(): AbortSignal {
    const { signal } = this.journey.context;
    return this.#entry === undefined ? signal : AbortSignal.any([signal, this.#entry.signal]);
  }

  async #open(dial: UpstreamDial): Promise<ByteConnection> {
    const { gate, journey } = this;
    const { target, caller: { token }, upstream: wanted, protocol, clientProtocol } = this.plan;
    const { auditId, context: { rawHeaders } } = journey;
    const asked = { upstream: wanted, protocol, auditId, token, rawHeaders };
    let upstream: OpenedUpstream;
    try {
      upstream = await journey.watch.phase("dial", () => {
        return dial.open({ ...asked, traceHeaders: journey.watch.traceHeaders() });
      });
    } catch (thrown) {
      // Where the gateway itself was refused, in other words than the client is told.
      const said = thrown instanceof Refusal && thrown.cause instanceof UpstreamRefusal
        ? thrown.cause
        : thrown;
      journey.watch.upstreamFailed(faultOf(said));
      // The API server, where it refused, has the session in its own log too.
      const headers = said instanceof UpstreamRefusal ? said.headers : [];
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
    this.#started = this.#begun(upstream, startEvent(journey.facts, auditTarget(target), start));
    this.#started.catch(() => {}); // told when the session runs
    const entry = this.#entry = gate.sessions.enter(this.#facts());
    const { schedule, steps } = gate.rechecks ?? {};
    this.#stopRechecks = steps && schedule?.watch({
      ask: (signal) => reconsider(journey, steps, this.plan, signal),
      end: (end) => entry.stop(end),
    });
    return upstream.connection;
  }

  /** Waits for what a session may not begin without: that its start is durable, and that it was opened to what was checked. */
  async #begun({ confirmed }: OpenedUpstream, start: AuditEvent): Promise<void> {
    const isConfirmed = confirmed?.catch((cause) => {
      const message = cause instanceof Refusal ? cause.message : "the session did not open";
      throw new SessionFailure({ reason: "upstream_refused", by: "gateway", message, cause });
    });
    await Promise.all([recordStrictly(this.gate, start), isConfirmed]);
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

  /** Sees the session through, to its last event, whatever happens in it: what it throws too is an end. */
  async run(session: () => Promise<SessionAccount>): Promise<SessionAccount> {
    const { gate, journey, plan } = this;
    journey.watch.opened(plan.clientProtocol);
    const account = await this.#onceStarted(session).catch((cause) => {
      this.#dial?.abandon();
      return failed(cause);
    }).finally(() => {
      this.#stopRechecks?.();
      this.#leave();
    });
    const { end, streams, events } = account;
    journey.watch.ended(end.reason);
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

  /**
   * Lets the session begin once its start is durable and its target confirmed. The client has its 101 meanwhile, but nothing is read
   * from either side, so no command begins before: a kubelet waits for streams. Where it may not begin it ends at once, and says why.
   */
  async #onceStarted(session: () => Promise<SessionAccount>): Promise<SessionAccount> {
    try {
      await this.#started;
    } catch (cause) {
      this.#entry?.stop(cause instanceof SessionFailure ? cause.end : { ...AUDIT_LOST, cause });
    }
    return await session();
  }

  async #settle(result: RecordingResult): Promise<void> {
    try {
      await this.#recording!.settle(result);
    } catch (cause) {
      this.gate.report("the recordings' chain cannot be written", cause, this.journey.auditId);
    }
  }
}

/** What a session comes to that fails for reasons of the gateway's own: its streams are not known, but that it ended must be. */
function failed(cause: unknown): SessionAccount {
  const end: SessionEnd = { reason: "gateway_error", by: "gateway", message: "the gateway failed", cause };
  return { end, streams: [], events: [] };
}

function faultOf(thrown: unknown): UpstreamFault {
  if (thrown instanceof UpstreamRefusal) return "refused";
  if (thrown instanceof DialError) return "dial";
  return thrown instanceof ProtocolError ? "protocol" : "other";
}

function recordingOf({ path, link, failure }: RecordingResult) {
  const error = failure instanceof Error ? failure.message : "the recording broke";
  return { path, ...(link === undefined ? { error } : { link }) };
}
