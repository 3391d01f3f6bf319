/** What takes less was not held up: the platform needs as long to say that it is done. */
const LEAST_MS = 5;

/** Milliseconds that writes of this process's sessions have waited for a party to take them, all together. */
export const WRITE_WAITS_MS = { client: 0, upstream: 0 };

/** Counts a write to `party` that began at `startMs`, by {@linkcode performance.now}. */
export function countWait(party: keyof typeof WRITE_WAITS_MS, startMs: number): void {
  const ms = performance.now() - startMs;
  if (ms >= LEAST_MS) WRITE_WAITS_MS[party] += ms;
}
