/**
 * What bulk may move, of all sessions together, before everything else has its turn: half a millisecond's worth. Half of it costs
 * a tenth and more of the throughput, twice as much lets a key that is pressed meanwhile wait for longer (bench/NOTES.md).
 */
const TURN_BYTES = 256 * 1024;

const NOTHING = new Uint8Array();

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
  return over ??= nextTurn();
}

/**
 * Waits for another thread, which is a few microseconds of work. Whoever waits for the event loop itself (`setImmediate`) keeps it
 * busy, and while it is busy the platform asks for news of sockets once in dozens of turns: 100 ms and more.
 */
async function nextTurn(): Promise<void> {
  await crypto.subtle.digest("SHA-256", NOTHING);
  movedBytes = 0;
  over = undefined;
}
