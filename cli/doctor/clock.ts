import type { KubeClient } from "../../kube/client.ts";
import { type Judgement, ok, unknown, wrong } from "./finding.ts";

/** When a question was asked and answered by this machine's clock, and when it was answered by the other's. */
export interface ClockFacts {
  sentAtMs: number;
  receivedAtMs: number;
  /** The `Date` header: whole seconds. */
  date: string | null;
}

/** More than this, and tokens are good there and not here, and the order of events in two audit logs is another one. */
const MAX_SKEW_MS = 5_000;

/** Whether this machine and the API server agree about the time. */
export function judgeClock({ sentAtMs, receivedAtMs, date }: ClockFacts): Judgement {
  const theirs = date === null ? NaN : Date.parse(date);
  if (!Number.isFinite(theirs)) return unknown("the API server's answers do not say what time it is");
  // Theirs is of some moment between the two, and of any within the second that it names.
  const aheadMs = sentAtMs - (theirs + 1_000);
  const behindMs = theirs - receivedAtMs;
  const skewMs = Math.max(aheadMs, behindMs, 0);
  if (skewMs <= MAX_SKEW_MS) return ok("this machine's clock and the API server's agree");
  const seconds = Math.round(skewMs / 1000);
  return wrong(
    `this machine's clock is ${seconds} s ${aheadMs > 0 ? "ahead of" : "behind"} the API server's`,
    "let both set their clocks by NTP: certificates and tokens begin and end by them, and audit events are ordered by them",
  );
}

/** Asks what time it is: any answer says, also a refusal. */
export async function gatherClock(client: KubeClient, timeoutMs: number): Promise<ClockFacts> {
  const sentAtMs = Date.now();
  const signal = AbortSignal.timeout(timeoutMs);
  const answer = await client.forward({
    method: "GET",
    target: "/version",
    headers: new Headers(),
    body: null,
    signal,
  });
  const receivedAtMs = Date.now();
  await answer.body?.cancel();
  return { sentAtMs, receivedAtMs, date: answer.headers.get("Date") };
}
