import { setImmediate } from "node:timers";

/**
 * What bulk may move, of all sessions together, before everything else has its turn. A millisecond's worth: a key that is pressed
 * in another session waits no longer for it.
 */
export const TURN_BYTES = 512 * 1024;

let movedBytes = 0;
let over: Promise<void> | undefined;

/**
 * Counts what was moved.
 *
 * Reads and writes whose bytes and room are there already come back without a turn of the event loop. A transfer that finds
 * both, always, would keep timers and all other sessions waiting for as long as it lasts.
 *
 * @returns what to wait for before more is moved, where this turn has moved its share
 */
export function countBulk(bytes: number): Promise<void> | undefined {
  movedBytes += bytes;
  if (movedBytes < TURN_BYTES) return undefined;
  return over ??= new Promise((resolve) => {
    setImmediate(() => {
      movedBytes = 0;
      over = undefined;
      resolve();
    });
  });
}
