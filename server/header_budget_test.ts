import assert from "node:assert/strict";
import fc from "fast-check";
import { FREE_HEADER_BYTES, HeaderBudget } from "./header_budget.ts";

Deno.test("HeaderAccount takes nothing of the budget for headers of the usual size", () => {
  const budget = new HeaderBudget(0);
  const account = budget.account();
  assert.equal(account.add(FREE_HEADER_BYTES - 1), true);
  assert.equal(account.add(1), true);
  assert.equal(account.add(1), false);
});

Deno.test("HeaderAccount gives back what it took, once", () => {
  const budget = new HeaderBudget(100);
  const [first, second] = [budget.account(), budget.account()];
  assert.equal(first.add(FREE_HEADER_BYTES + 100), true);
  assert.equal(second.add(FREE_HEADER_BYTES + 1), false);
  first.clear();
  first.clear();
  assert.equal(second.add(0), true);
  assert.equal(budget.take(99), true);
  assert.equal(budget.take(1), false);
});

Deno.test("HeaderAccounts together never hold more than the budget, and all of it is free in the end", () => {
  const acts = fc.array(fc.tuple(fc.nat(3), fc.nat(60_000), fc.boolean()), { maxLength: 60 });
  fc.assert(fc.property(acts, (steps) => {
    const maxBytes = 100_000;
    const budget = new HeaderBudget(maxBytes);
    const accounts = [0, 1, 2, 3].map(() => budget.account());
    const held = [0, 0, 0, 0];
    for (const [index, bytes, isOver] of steps) {
      const account = accounts[index]!;
      // Who finds no room is refused, and holds nothing more.
      if (!isOver && account.add(bytes)) held[index] = held[index]! + bytes;
      else {
        account.clear();
        held[index] = 0;
      }
      const beyond = held.reduce((sum, each) => sum + Math.max(0, each - FREE_HEADER_BYTES), 0);
      assert.ok(beyond <= maxBytes, `${beyond} bytes`);
    }
    for (const account of accounts) account.clear();
    assert.equal(budget.take(maxBytes), true);
  }));
});
