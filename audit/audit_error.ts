/**
 * What keeps events from being durable.
 *
 * - `sink_failed`: a sink could not write; `cause` says why.
 * - `queue_full`: more is waiting than the bound allows, as the sink is slower than what it is given.
 * - `deadline`: it took too long. The events are still in the queue and may be written later.
 * - `closed`: the journal is closed.
 */
export type AuditErrorCode = "sink_failed" | "queue_full" | "deadline" | "closed";

/** Thrown when events are not known to be durable: no audit, no session. Holds nothing of the events. */
export class AuditError extends Error {
  override readonly name = "AuditError";
  constructor(readonly code: AuditErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
  }
}
