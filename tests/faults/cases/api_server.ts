import assert from "node:assert/strict";
import type { Fault } from "../fault.ts";
import type { Mode } from "../support/api_proxy.ts";
import { killComponent } from "../support/component.ts";
import type { Scene } from "../support/scene.ts";

/** How long sessions are looked at while the API server is in trouble. */
const TROUBLE_MS = 3_000;

let restart: (() => Promise<void>) | undefined;

/** What the API server does, or fails to do. Sessions that are open do not need it. */
export const API_SERVER: readonly Fault[] = [
  answers("The API server answers 429", "too-many", "with `Retry-After`, to every request"),
  answers("The API server answers 500", "error", "to every request"),
  answers("The API server hangs", "hang", "it takes requests and never answers"),
  {
    title: "The API server is killed",
    how: "`kill -9`, then started again a few seconds later.",
    live: { outcome: "go on", forMs: TROUBLE_MS },
    inject: async (scene) => {
      ({ restart } = await killComponent("apiserver"));
      return await toldAtOnce(scene);
    },
    heal: async () => await restart?.(),
    recoversWithinMs: 15_000,
  },
];

function answers(title: string, mode: Mode, how: string): Fault {
  return {
    ...{ title, arrangement: "behind a proxy" },
    how: `By a proxy between gateway and API server: ${how}.`,
    live: { outcome: "go on", forMs: TROUBLE_MS },
    inject: async (scene) => {
      scene.proxy.mode = mode;
      return await toldAtOnce(scene);
    },
    heal: (scene) => {
      scene.proxy.mode = "pass";
      return Promise.resolve();
    },
    recoversWithinMs: 10_000,
  };
}

/** A new session is refused with a reason, and nobody is left to wait. */
export async function toldAtOnce(scene: Scene): Promise<string> {
  const { works, said, tookMs } = await scene.probe();
  assert.equal(works, false, "nothing opens that could not be asked about");
  assert.notEqual(said, "", "a refusal has words");
  assert.ok(tookMs < 20_000, `the refusal took ${tookMs} ms`);
  return said;
}
