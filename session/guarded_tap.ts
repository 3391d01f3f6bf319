import { type SessionEnd, SessionFailure, type StreamEvent, type Tap } from "./stream_event.ts";

/** A tap whose failure is named: what it throws, now or later, ends the session, as `audit_failure` if it names no other end. */
export class GuardedTap implements Tap {
  readonly #tap: Tap;

  constructor(tap: Tap) {
    this.#tap = tap;
  }

  push(event: StreamEvent): void | Promise<void> {
    try {
      return this.#tap.push(event)?.catch(fail);
    } catch (cause) {
      fail(cause);
    }
  }
}

function fail(cause: unknown): never {
  if (cause instanceof SessionFailure) throw cause;
  const message = "the audit log cannot be written, so the session ends";
  const end: SessionEnd = { reason: "audit_failure", by: "gateway", message };
  throw new SessionFailure({ ...end, cause }, { cause });
}
