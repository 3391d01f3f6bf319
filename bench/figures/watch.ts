import { residentBytes } from "../lab/process_stats.ts";

const SAMPLE_MS = 100;
const SETTLE_MS = 3_000;

/** Gives a process time for what it does after the last answer. */
export function settle(ms = SETTLE_MS): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** The most memory that a process has resident while it is watched, in bytes. */
export async function mostResident(pid: number, seconds: number): Promise<number> {
  let most = 0;
  const endMs = performance.now() + seconds * 1_000;
  while (performance.now() < endMs) {
    most = Math.max(most, await residentBytes(pid));
    await settle(SAMPLE_MS);
  }
  return most;
}
