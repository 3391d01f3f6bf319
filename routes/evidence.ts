import { type AuditEvent, refusalEvent } from "../audit/event.ts";
import { Refusal } from "../kube/status.ts";
import type { Answer } from "./answer.ts";
import type { Gate } from "./gate.ts";
import type { Journey } from "./journey.ts";

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
  if (code >= 500 && code !== 501) gate.report(`refused: ${message}`, cause ?? thrown, journey.auditId);
  const refusal = { code, reason, message, ...(rule !== undefined && { rule }) };
  await recordSafely(gate, journey.auditId, refusalEvent(journey.facts, journey.auditTarget, refusal));
}
