import { type SessionEnd, SessionFailure, type StreamEvent, type Tap } from "./stream_event.ts";

/** The end of a session whose events cannot be written. */
export const AUDIT_LOST: SessionEnd = {
  reason: "audit_failure",
  by: "gateway",
  message: "the audit log cannot be written, so the session ends",
};

/** A tap whose failure is named: what it throws, now or later, ends the session, in a way of its own if it names one. */
export class GuardedTap implements Tap {
  readonly #tap: Tap;
  readonly #end: SessionEnd;

  /** @param end of a session whose tap fails without naming one */
  constructor(tap: Tap, end: SessionEnd = AUDIT_LOST) {
    this.#tap = tap;
    this.#end = end;
  }

  push(event: StreamEvent): void | Promise<void> {
    try {
      return this.#tap.push(event)?.catch(this.#fail);
    } catch (cause) {
      this.#fail(cause);
    }
  }

  readonly #fail = (cause: unknown): never => {
    if (cause instanceof SessionFailure) throw cause;
    throw new SessionFailure({ ...this.#end, cause }, { cause });
  };
}
