/** `in` is towards the pod, `out` is towards the client. */
export type Direction = "in" | "out";

/** What one stream of a session did. Told before the bytes are forwarded, in the order in which they were read. */
export type StreamEvent =
  | { type: "opened"; id: number; stream: string }
  /** `bytes` is a view that is valid until the tap returns: copy it to keep it. */
  | { type: "data"; id: number; stream: string; direction: Direction; bytes: Uint8Array }
  | { type: "half_closed"; id: number; stream: string; direction: Direction }
  | { type: "reset"; id: number; stream: string; direction: Direction; status: number };

/**
 * Sees every stream of a session. What it returns is waited for before anything is forwarded, so a tap that is slow
 * slows the session down; one that rejects ends it.
 */
export interface Tap {
  push(event: StreamEvent): void | Promise<void>;
}

/** Why a session ended. */
export type EndReason =
  | "command_ended"
  | "client_closed"
  | "client_vanished"
  | "upstream_closed"
  | "upstream_vanished"
  | "upstream_refused"
  | "idle_limit"
  | "time_limit"
  | "setup_timeout"
  | "ended_by_operator"
  | "credential_revoked"
  | "access_revoked"
  | "access_unconfirmed"
  | "gateway_draining"
  | "protocol_error"
  | "audit_failure"
  | "gateway_error";

/** How a session ended, in words that the client is told too where it can still hear them. */
export interface SessionEnd {
  reason: EndReason;
  by: "client" | "upstream" | "gateway";
  /** One sentence for people. */
  message: string;
  /** 0..255, where the command ended and its protocol tells. */
  exitCode?: number;
  /** What was thrown, for the gateway's own log and nobody else. */
  cause?: unknown;
}

/** What a client is told whose session the upstream left without saying how the command ended. */
export const SILENT_END = "the upstream ended the session without an exit status";

export const COMMAND_ENDED: SessionEnd = {
  reason: "command_ended",
  by: "upstream",
  message: "the command ended",
};
export const UPSTREAM_CLOSED: SessionEnd = { reason: "upstream_closed", by: "upstream", message: SILENT_END };
export const CLIENT_CLOSED: SessionEnd = {
  reason: "client_closed",
  by: "client",
  message: "the client closed the session",
};
export const CLIENT_VANISHED: SessionEnd = {
  reason: "client_vanished",
  by: "client",
  message: "the client's connection ended without a goodbye",
};

/** Thrown inside a session by what must end it at once, e.g. a tap that cannot write. */
export class SessionFailure extends Error {
  override readonly name = "SessionFailure";
  constructor(readonly end: SessionEnd, options?: ErrorOptions) {
    super(end.message, options);
  }
}
