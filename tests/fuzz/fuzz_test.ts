import assert from "node:assert/strict";
import { Coverage } from "./coverage.ts";
import { fuzz } from "./fuzzer.ts";
import { Random } from "./random.ts";
import type { Target } from "./target.ts";
import { TARGETS } from "./targets/all_targets.ts";
import { readVectors, vectorFolders } from "./vectors.ts";

for (const target of TARGETS) {
  Deno.test(`${target.name}: ${target.promise}`, async (t) => {
    const encoder = new TextEncoder();
    for (const seed of target.seeds) {
      await target.check(typeof seed === "string" ? encoder.encode(seed) : seed.slice());
    }
    for (const { file, bytes } of await readVectors(target.name)) {
      await t.step(file, () => target.check(bytes));
    }
  });
}

Deno.test("every folder of vectors is some parser's", async () => {
  const names = new Set(TARGETS.map(({ name }) => name));
  assert.equal(names.size, TARGETS.length, "no two parsers have one name");
  assert.deepEqual((await vectorFolders()).filter((folder) => !names.has(folder)), []);
});

/** Breaks its promise behind three bytes that chance alone would hardly find in an hour. */
function guarded(input: Uint8Array): void {
  if (input[0] !== 0x50) return;
  if (input[1] !== 0x4f) return;
  if (input[2] === 0x53) throw new Error("the door stood open");
}

Deno.test("the fuzzer finds its way by coverage to what chance would not, and makes it small", async () => {
  const target: Target = {
    name: "guarded",
    promise: "never throws",
    seeds: ["some text to begin with"],
    check: guarded,
  };
  using coverage = await Coverage.start((url) => url === import.meta.url);
  const { findings } = await fuzz(target, {
    random: new Random(6),
    coverage,
    budgetMs: 60_000,
    maxFindings: 1,
  });
  assert.deepEqual(findings.map(({ input }) => new TextDecoder().decode(input)), ["POS"]);
});

Deno.test("an input that takes too long is a finding", async () => {
  const check = (input: Uint8Array) => {
    const endsAt = performance.now() + (input.length > 3 ? 30 : 0);
    while (performance.now() < endsAt);
  };
  const target: Target = { name: "slow", promise: "is quick", seeds: ["long"], maxMs: 20, check };
  const nothing = { take: () => Promise.resolve([]) };
  const { findings } = await fuzz(target, { random: new Random(1), coverage: nothing, budgetMs: 1 });
  assert.match(String(findings[0]?.thrown), /more than 20 ms/);
});
