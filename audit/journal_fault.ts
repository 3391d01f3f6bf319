import type { JournalStatus } from "./journal.ts";
import type { LaneStatus } from "./lane.ts";

/**
 * How long a failed write counts, in milliseconds. Nothing is written while no session comes, and none comes to a gateway
 * that is not ready: so it is tried again after a while by whoever comes first.
 */
export const FAULT_COUNTS_MS = 30_000;

/**
 * What is wrong with the journal.
 *
 * @param nowMs the time in milliseconds since 1970
 * @returns one sentence for people; `undefined` where nothing is, or nothing was for a while
 */
export function journalFault(status: JournalStatus, nowMs: number = Date.now()): string | undefined {
  if (status.healthy) return undefined;
  const counting = status.sinks.filter(({ healthy, isBestEffort }) => !healthy && !isBestEffort);
  if (counting.length === 0) return "the audit journal is closed";
  const recent = counting.filter((sink) => isRecent(sink, nowMs));
  if (recent.length === 0) return undefined;
  return recent.map(({ name, lastError }) => `${name}: ${lastError ?? "a write takes too long"}`).join("; ");
}

/** A write that is stuck counts for as long as it is. */
function isRecent({ lastErrorAt, pendingEvents }: LaneStatus, nowMs: number): boolean {
  return pendingEvents > 0 || lastErrorAt === undefined || nowMs - lastErrorAt.getTime() < FAULT_COUNTS_MS;
}
