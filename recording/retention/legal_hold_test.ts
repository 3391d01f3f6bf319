import assert from "node:assert/strict";
import { MemoryStore } from "../../tests/support/memory_store.ts";
import { holdPath, listHolds, placeHold, releaseHold } from "./legal_hold.ts";

const PATH = "2026/11/21/a.rec";
const NOTE = { by: "alice", at: "2026-11-21T12:00:00.000Z", reason: "case 42" };

async function storeWith(...paths: string[]): Promise<MemoryStore> {
  const store = new MemoryStore();
  for (const path of paths) await (await store.create(path)).close();
  return store;
}

Deno.test("a hold says who, when and why, and lies beside its recording", async () => {
  const store = await storeWith(PATH);
  assert.equal(await placeHold(store, PATH, NOTE), true);
  assert.deepEqual(JSON.parse(new TextDecoder().decode(store.bytes(holdPath(PATH)))), NOTE);
  assert.deepEqual(await Array.fromAsync(listHolds(store)), [{ path: PATH, ...NOTE }]);
});

Deno.test("of two holds the first stays", async () => {
  const store = await storeWith(PATH);
  await placeHold(store, PATH, NOTE);
  assert.equal(await placeHold(store, PATH, { ...NOTE, by: "mallory" }), false);
  assert.equal((await Array.fromAsync(listHolds(store)))[0]?.by, "alice");
});

Deno.test("a hold cannot be placed on what is not there, nor on what is no recording", async () => {
  const store = await storeWith("2026/11/21/ab.rec", "2026/11/21/gateway-0_120000000-0a1b2c3d.chain");
  await assert.rejects(placeHold(store, PATH, NOTE), { code: "not_found" });
  const chain = "2026/11/21/gateway-0_120000000-0a1b2c3d.chain";
  await assert.rejects(placeHold(store, chain, NOTE), { code: "path_refused" });
  assert.deepEqual(await Array.fromAsync(listHolds(store)), []);
});

Deno.test("a hold on a recording that a sweep deletes meanwhile fails, rather than to promise what is gone", async () => {
  class Sweeping extends MemoryStore {
    override async create(path: string) {
      const file = await super.create(path);
      if (path === holdPath(PATH)) await this.remove(PATH);
      return file;
    }
  }
  const store = new Sweeping();
  await (await store.create(PATH)).close();
  await assert.rejects(placeHold(store, PATH, NOTE), { code: "not_found" });
  assert.deepEqual([...store.files.keys()], []);
});

Deno.test("a release keeps the hold that was, each time anew", async () => {
  const store = await storeWith(PATH);
  for (const day of ["22", "23"]) {
    await placeHold(store, PATH, NOTE);
    const release = { by: "bob", at: `2026-11-${day}T12:00:00.000Z`, reason: "closed" };
    assert.deepEqual(await releaseHold(store, PATH, release), { path: PATH, ...NOTE });
    const note = new TextDecoder().decode(store.bytes(`${PATH}.202611${day}120000000.released`));
    assert.deepEqual(JSON.parse(note), { ...release, hold: NOTE });
  }
  assert.equal(await releaseHold(store, PATH, NOTE), undefined, "it is not held any more");
});

for (
  const [name, text] of [["empty", ""], ["no JSON", "{"], ["no object", "1"], ["of other types", '{"by":1}']]
) {
  Deno.test(`a hold whose file is ${name} holds all the same, and can be released`, async () => {
    const store = await storeWith(PATH);
    await (await store.create(holdPath(PATH))).append(new TextEncoder().encode(text));
    assert.deepEqual(await Array.fromAsync(listHolds(store)), [{ path: PATH }]);
    assert.equal(await placeHold(store, PATH, NOTE), false);
    assert.deepEqual(await releaseHold(store, PATH, NOTE), { path: PATH });
  });
}
