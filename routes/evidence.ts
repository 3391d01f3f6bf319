import { type AuditEvent, refusalEvent, withoutSecrets } from "../audit/event.ts";
import { Refusal } from "../kube/status.ts";
import type { RecordingFacts, SessionRecording } from "../recording/archive.ts";
import { GuardedTap } from "../session/guarded_tap.ts";
import type { SessionEnd, StreamEvent, Tap } from "../session/stream_event.ts";
import type { Answer } from "./answer.ts";
import type { Gate } from "./gate.ts";
import type { Journey } from "./journey.ts";
import type { SessionPlan } from "./live_session.ts";

/** Writes an event without which nothing may open. @throws {Refusal} ServiceUnavailable: no audit, no session */
export async function recordStrictly(gate: Pick<Gate, "journal">, event: AuditEvent): Promise<void> {
  try {
    await gate.journal.append([event]);
  } catch (cause) {
    throw new Refusal("ServiceUnavailable", "the audit log cannot be written, so nothing is opened", {
      cause,
      rule: "audit",
    });
  }
}

/** Writes events of what has happened already: a failure can only be told to the gateway's own log. */
export async function recordSafely(
  gate: Pick<Gate, "journal" | "report">,
  auditId: string,
  ...events: AuditEvent[]
): Promise<void> {
  try {
    await gate.journal.append(events);
  } catch (cause) {
    gate.report("audit events were lost", cause, auditId);
  }
}

/** Writes down that a request was refused, and keeps what only our log may know there. */
export async function recordRefusal(
  gate: Pick<Gate, "journal" | "report">,
  journey: Journey,
  { code, reason, message, rule }: Answer,
  thrown: unknown,
): Promise<void> {
  const cause = thrown instanceof Error ? thrown.cause : undefined;
  if (code >= 500 && code !== 501) {
    // An upstream may quote the command.
    gate.report(`refused: ${withoutSecrets(message, journey.facts)}`, cause ?? thrown, journey.auditId);
  }
  const refusal = { code, reason, message, ...(rule !== undefined && { rule }) };
  journey.watch.refused(refusal);
  await recordSafely(gate, journey.auditId, refusalEvent(journey.facts, journey.auditTarget, refusal));
}

/** Begins a session's recording, where there is to be one. @throws {Refusal} ServiceUnavailable: no recording, no session */
export async function beginRecording(
  gate: Pick<Gate, "record">,
  plan: SessionPlan,
): Promise<SessionRecording | undefined> {
  try {
    return await gate.record(recordingFacts(plan), plan.permission.obligations);
  } catch (cause) {
    throw new Refusal("ServiceUnavailable", "the session cannot be recorded, so nothing is opened", {
      cause,
      rule: "recording",
    });
  }
}

/** What a recording says of its session: what the decision's event says, in the same words and with the same things masked. */
function recordingFacts(
  { target, upstream, tty, clientProtocol, permission: { event } }: SessionPlan,
): RecordingFacts {
  const {
    auditID: auditId,
    user,
    impersonatedUser,
    sourceIPs: sourceIps,
    userAgent,
    requestURI: requestUri,
  } = event;
  const argv = event.annotations["postern.dev/argv"];
  return {
    auditId,
    user,
    ...(impersonatedUser && { impersonatedUser }),
    sourceIps,
    ...(userAgent !== undefined && { userAgent }),
    requestUri,
    kind: upstream.subresource,
    namespace: target.namespace,
    pod: target.podName,
    podUid: target.podUid,
    node: target.nodeName,
    ...(target.container && { container: target.container.name }),
    ...(target.container?.spec.image && { image: target.container.spec.image }),
    ...(argv !== undefined && { argv: JSON.parse(argv) }),
    tty,
    protocol: clientProtocol,
  };
}

const RECORDING_LOST: SessionEnd = {
  reason: "audit_failure",
  by: "gateway",
  message: "the session's recording cannot be written, so the session ends",
};

/** A recording as a tap: what it cannot take ends the session, with a sentence. */
export function recordingTap(recording: SessionRecording): Tap {
  return new GuardedTap(recording, RECORDING_LOST);
}

/** Shows each event to several taps, in their order, at once: its bytes are valid until this returns. */
export class TapChain implements Tap {
  readonly #taps: readonly Tap[];

  constructor(taps: readonly Tap[]) {
    this.#taps = taps;
  }

  push(event: StreamEvent): void | Promise<void> {
    let waits: Promise<void>[] | undefined;
    for (const tap of this.#taps) {
      const wait = tap.push(event);
      if (wait) (waits ??= []).push(wait);
    }
    return waits && (waits.length === 1 ? waits[0] : all(waits));
  }
}

async function all(waits: readonly Promise<void>[]): Promise<void> {
  await Promise.all(waits);
}
