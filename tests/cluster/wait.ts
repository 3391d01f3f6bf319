/** Waiting with a deadline. */

/** Resolves `ms` milliseconds later. */
export function delay(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/**
 * Asks again and again until the answer is yes.
 *
 * @param what named in the error, as in "the API server is ready"
 * @param ask throwing counts as no, and its message is told when time runs out
 * @throws {Error} after `deadlineMs`
 */
export async function waitUntil(
  what: string,
  ask: () => Promise<boolean>,
  { deadlineMs, everyMs = 200 }: { deadlineMs: number; everyMs?: number },
): Promise<void> {
  const deadline = Date.now() + deadlineMs;
  let lastThrown: unknown;
  for (;;) {
    try {
      if (await ask()) return;
    } catch (thrown) {
      lastThrown = thrown;
    }
    if (Date.now() > deadline) {
      throw new Error(`waited ${deadlineMs / 1000} s in vain until ${what}`, { cause: lastThrown });
    }
    await delay(everyMs);
  }
}
