import assert from "node:assert/strict";
import type { Fault } from "../fault.ts";

const HOUR = 3600;

/** What clocks do. Only the gateway's own is stepped, by libfaketime; its monotonic clock is left alone, as the kernel does. */
export const CLOCK: readonly Fault[] = [
  step("forward by two hours, and back", [2 * HOUR, 0]),
  step("into the next day, and back", [24 * HOUR, 0]),
  step("back by a minute, to before the sessions began", [-60]),
];

function step(what: string, offsets: readonly number[]): Fault {
  return {
    title: `The clock steps ${what}`,
    how: "The gateway's own clock, by libfaketime.",
    arrangement: "own clock",
    live: { outcome: "go on", forMs: 3_000 },
    inject: async (scene) => {
      for (const offset of offsets) {
        await scene.gateway.stepClock(offset);
        const { works, said } = await scene.probe();
        assert.ok(works, said);
        const event = (await scene.gateway.events()).at(-1);
        const aheadMs = Date.parse(event?.stageTimestamp ?? "") - Date.now();
        assert.ok(Math.abs(aheadMs - offset * 1000) < 30_000, `the gateway's clock is ${aheadMs} ms ahead`);
      }
    },
    recoversWithinMs: 5_000,
  };
}
