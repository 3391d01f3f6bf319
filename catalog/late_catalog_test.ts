import assert from "node:assert/strict";
import type { Catalog } from "./catalog.ts";
import { CatalogError } from "./catalog_error.ts";
import { LateCatalog } from "./late_catalog.ts";

/** An index that opens from the `from`th attempt on. */
function late(from: number) {
  let attempts = 0;
  let isClosed = false;
  const inner: Catalog = {
    name: "inner",
    apply: () => Promise.resolve(),
    progress: () => Promise.resolve("2026-11-21T12:00:00.000000Z"),
    sessions: () => Promise.resolve([]),
    session: () => Promise.resolve(undefined),
    close: () => Promise.resolve(void (isClosed = true)),
  };
  const catalog = new LateCatalog("postgresql", () => {
    attempts++;
    if (attempts < from) return Promise.reject(new CatalogError("unavailable", "no route to host"));
    return Promise.resolve(inner);
  });
  return { catalog, attempts: () => attempts, isClosed: () => isClosed };
}

Deno.test("an index that is down at the start is tried again when it is needed again, and then kept", async () => {
  const { catalog, attempts, isClosed } = late(2);
  assert.equal(attempts(), 0);
  await assert.rejects(catalog.sessions({}), { code: "unavailable" });
  assert.deepEqual(await Promise.all([catalog.sessions({}), catalog.session("a")]), [[], undefined]);
  assert.equal(await catalog.progress("a"), "2026-11-21T12:00:00.000000Z");
  assert.equal(attempts(), 2);
  await catalog.close();
  assert.equal(isClosed(), true);
});

Deno.test("an index that never was opened is closed in silence", async () => {
  const { catalog, attempts } = late(9);
  await assert.rejects(catalog.apply([]), { code: "unavailable" });
  await catalog.close();
  assert.equal(attempts(), 1);
});
