import type { EndReason, Tap } from "../session/stream_event.ts";
import type { HeaderLine } from "./handler.ts";
import type { SessionKind } from "./session_address.ts";

/** What a request for a session waits for on its way. */
export const PHASES = ["authenticate", "resolve", "authorize", "decide", "record", "dial"] as const;
export type Phase = typeof PHASES[number];

/** What went wrong between the gateway and that which sessions are opened at. */
export type UpstreamFault = "dial" | "refused" | "protocol" | "other";

/** What is known of a request as it comes in. */
export interface WatchedRequest {
  auditId: string;
  /** Absent where no session is asked for. */
  kind: SessionKind | undefined;
  rawHeaders: readonly HeaderLine[];
}

/** Sees one request on its way, for whoever counts and traces. It decides nothing, and never throws by itself. */
export interface JourneyWatch {
  /** Runs the whole journey, up to its answer. */
  run<T>(journey: () => Promise<T>): Promise<T>;
  /** Runs a phase of it. */
  phase<T>(phase: Phase, work: () => Promise<T>): Promise<T>;
  /** It was refused by the gateway, or with an upstream's words. */
  refused(refusal: { code: number; reason: string; rule?: string }): void;
  upstreamFailed(fault: UpstreamFault): void;
  /** The session has begun. */
  opened(protocol: string): void;
  /** The session has ended. */
  ended(reason: EndReason): void;
  /** It was answered; a session that has begun goes on. */
  answered(code: number): void;
  /** Lines of a request by which an upstream goes on with the journey's trace. */
  traceHeaders(): readonly HeaderLine[];
}

/** Sees all requests. */
export interface Watch {
  begin(request: WatchedRequest): JourneyWatch;
  /** Sees every stream of every session. It holds none up. */
  streams: Tap;
}

/** Looks away. */
export const UNWATCHED: JourneyWatch = {
  run: (journey) => journey(),
  phase: (_phase, work) => work(),
  refused: () => {},
  upstreamFailed: () => {},
  opened: () => {},
  ended: () => {},
  answered: () => {},
  traceHeaders: () => [],
};
