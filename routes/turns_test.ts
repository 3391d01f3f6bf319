import assert from "node:assert/strict";
import { Turns } from "./turns.ts";

const NEVER = new AbortController().signal;

Deno.test("only so many work at once, the others in the order in which they came", async () => {
  const turns = new Turns(2);
  const gates = Array.from({ length: 5 }, () => Promise.withResolvers<void>());
  const begun: number[] = [];
  const all = gates.map(({ promise }, index) =>
    turns.take(() => {
      begun.push(index);
      return promise;
    }, NEVER)
  );
  assert.deepEqual([begun, turns.waiting], [[0, 1], 3]);
  for (const gate of gates) {
    gate.resolve();
    await new Promise((resolve) => setTimeout(resolve));
  }
  await Promise.all(all);
  assert.deepEqual([begun, turns.waiting], [[0, 1, 2, 3, 4], 0]);
});

Deno.test("work that fails gives its turn on", async () => {
  const turns = new Turns(1);
  await assert.rejects(turns.take(() => Promise.reject(new Error("no")), NEVER), /no/);
  assert.equal(await turns.take(() => Promise.resolve(1), NEVER), 1);
});

Deno.test("who gives up waiting takes no turn from the others", async () => {
  const turns = new Turns(1);
  const gate = Promise.withResolvers<void>();
  const first = turns.take(() => gate.promise, NEVER);
  const impatient = new AbortController();
  const second = turns.take(() => assert.fail("it has given up"), impatient.signal);
  const third = turns.take(() => Promise.resolve("done"), NEVER);
  impatient.abort(new Error("too long"));
  await assert.rejects(second, /too long/);
  gate.resolve();
  await first;
  assert.equal(await third, "done");
  await assert.rejects(turns.take(() => assert.fail(), impatient.signal), /too long/);
});
