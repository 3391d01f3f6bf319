import assert from "node:assert/strict";
import { eventually, sleep } from "../../e2e/support/wait.ts";
import type { Fault } from "../fault.ts";

/** What happens to the gateway itself. */
export const GATEWAY: readonly Fault[] = [
  {
    title: "Postern gets SIGTERM",
    how: "`server.drainTimeoutSeconds` is 5 here. Then it is started again.",
    live: { outcome: "end", withinMs: 20_000, reasons: ["gateway_draining"] },
    inject: async (scene) => {
      const { gateway, crowd } = scene;
      gateway.signal("SIGTERM");
      await eventually(
        "it is not ready any more",
        async () => (await gateway.ready()).status === 503 || undefined,
        { deadlineMs: 1_000 },
      );
      assert.notEqual((await gateway.ready()).retryAfter, null);
      const { works, said } = await scene.probe();
      assert.equal(works, false);
      assert.match(said, /shutting down/);
      assert.equal((await crowd.departed()).length, 0, "live sessions go on");
      return said;
    },
    heal: async ({ gateway }) => {
      assert.equal(await gateway.ended(), 0);
      await gateway.spawn();
    },
    recoversWithinMs: 5_000,
  },
  {
    title: "Postern gets SIGTERM twice",
    how: "`server.drainTimeoutSeconds` is 300 here, and the second comes a second after the first.",
    ...{ arrangement: "patient", meanwhile: "are refused until it ends" },
    live: { outcome: "end", withinMs: 10_000, reasons: ["gateway_draining"] },
    inject: async ({ gateway }) => {
      gateway.signal("SIGTERM");
      await sleep(1_000);
      gateway.signal("SIGTERM");
    },
    heal: async ({ gateway }) => {
      assert.equal(await gateway.ended(), 0);
      await gateway.spawn();
    },
    recoversWithinMs: 5_000,
  },
  {
    ...{ title: "Postern is killed", meanwhile: "find nobody" },
    how: "`kill -9`, then started again.",
    live: {
      ...{ outcome: "end", withinMs: 10_000, reasons: ["gateway_lost"] },
      // client-go takes the loss of a SPDY connection for the end of a command, also where it was the API server's.
      mayLookGood: ({ kind, transport }) => kind !== "portforward" && transport === "spdy",
    },
    inject: async ({ gateway }) => {
      gateway.signal("SIGKILL");
      assert.equal(await gateway.ended(), 137);
    },
    heal: async ({ gateway }) => void await gateway.spawn(),
    recoversWithinMs: 5_000,
  },
];
