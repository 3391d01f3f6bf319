import assert from "node:assert/strict";
import { Backoff, pause } from "./backoff.ts";

const OPTIONS = { initialBackoffSeconds: 1, maxBackoffSeconds: 30 };

for (
  const { random, want } of [
    { random: 0, want: [500, 1000, 2000, 4000, 8000, 15000, 15000] },
    { random: 0.5, want: [750, 1500, 3000, 6000, 12000, 22500, 22500] },
  ]
) {
  Deno.test(`Backoff doubles up to its bound, of each a half by chance: ${random}`, () => {
    const backoff = new Backoff(OPTIONS, () => random);
    assert.deepEqual(want.map(() => backoff.next()), want);
    backoff.reset();
    assert.equal(backoff.next(), want[0]);
  });
}

Deno.test("Backoff heeds how long the other side asks us to wait, up to the bound", () => {
  const backoff = new Backoff(OPTIONS, () => 0);
  assert.deepEqual([backoff.next(7_000), backoff.next(1e9), backoff.next(0)], [7_000, 30_000, 2_000]);
});

Deno.test("Backoff stays at its bound after a thousand failures", () => {
  const backoff = new Backoff(OPTIONS, () => 0.5);
  for (let failures = 0; failures < 2000; failures++) backoff.next();
  assert.equal(backoff.next(), 22_500);
});

Deno.test("pause ends with its signal, and leaves no timer", { sanitizeOps: true }, async () => {
  const controller = new AbortController();
  const paused = pause(60_000, controller.signal);
  controller.abort();
  await paused;
  await pause(60_000, controller.signal);
});
