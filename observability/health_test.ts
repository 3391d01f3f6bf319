import assert from "node:assert/strict";
import { type Check, Health } from "./health.ts";

const well = () => undefined;

for (
  const [name, check, message] of [
    ["says no", () => "the disk is full", "the disk is full"],
    ["throws", () => Promise.reject(new Error("no route")), "no route"],
    ["throws at once", () => {
      throw new Error("no route");
    }, "no route"],
    ["never answers", () => new Promise<undefined>(() => {}), "did not answer in time"],
  ] satisfies [string, Check, string][]
) {
  Deno.test(`Health: a check that ${name} makes the gateway unready, and is named`, async () => {
    const health = new Health(well, { audit: check, recording: well }, { deadlineMs: 20 });
    assert.deepEqual(await health.verdict(), {
      ready: false,
      checks: [
        { name: "gateway", ok: true },
        { name: "audit", ok: false, message },
        { name: "recording", ok: true },
      ],
    });
  });
}

Deno.test("Health: what sessions go on without is told when it is down, and makes nobody unready", async () => {
  const spared = { index: () => "down" };
  assert.deepEqual(await new Health(well, { audit: well }, { spared }).verdict(), {
    ready: true,
    checks: [
      { name: "gateway", ok: true },
      { name: "audit", ok: true },
      { name: "index", ok: false, message: "down", needed: false },
    ],
  });
});

Deno.test("Health asks once for all who ask at once, and anew when the answer is old", async () => {
  let asked = 0;
  let nowMs = 0;
  const check = async () => {
    asked++;
    await Promise.resolve();
    return asked === 1 ? "down" : undefined;
  };
  const health = new Health(well, { check }, { memoryMs: 1000, now: () => nowMs });
  const verdicts = await Promise.all([health.verdict(), health.verdict()]);
  assert.deepEqual([asked, ...verdicts.map(({ ready }) => ready)], [1, false, false]);
  nowMs = 999;
  assert.equal((await health.verdict()).ready, false);
  nowMs = 1000;
  assert.equal((await health.verdict()).ready, true);
  assert.equal(asked, 2);
});

Deno.test("Health: what the gateway knows of itself counts at once, whatever was answered before", async () => {
  const faults: string[] = [];
  const health = new Health(() => faults[0], { check: well });
  assert.equal((await health.verdict()).ready, true);
  faults.push("draining");
  assert.deepEqual((await health.verdict()).checks[0], { name: "gateway", ok: false, message: "draining" });
});
