import assert from "node:assert/strict";
import { ApiError } from "./client.ts";
import { NodeCache } from "./node_cache.ts";

/** An API server with nodes whose address changes with every answer, and a clock. */
function scene(ttlMs: number) {
  let nowMs = 0;
  let asked = 0;
  const client = {
    get: <T>(path: string): Promise<T> => {
      const address = `10.0.0.${++asked}`;
      if (path.endsWith("/gone")) return Promise.reject(new ApiError(404, {}));
      return Promise.resolve({
        metadata: { name: path.split("/").at(-1), labels: { zone: "a" } },
        spec: { podCIDR: "10.1.0.0/24" },
        status: { addresses: [{ type: "InternalIP", address }], images: [{ names: ["busybox"] }] },
      } as T);
    },
  };
  const cache = new NodeCache(client, ttlMs, () => nowMs);
  const address = async (name = "a") => (await cache.get(name)).status?.addresses?.[0]?.address;
  return { cache, address, pass: (ms: number) => nowMs += ms };
}

Deno.test("NodeCache asks once for a node while its time lasts, and then again", async () => {
  const { address, pass } = scene(1000);
  assert.equal(await address(), "10.0.0.1");
  pass(999);
  assert.equal(await address(), "10.0.0.1");
  pass(1);
  assert.equal(await address(), "10.0.0.2");
});

Deno.test("NodeCache asks each time where it is to remember nothing", async () => {
  const { address } = scene(0);
  assert.equal(await address(), "10.0.0.1");
  assert.equal(await address(), "10.0.0.2");
});

Deno.test("NodeCache asks anew for a node that could not be reached, and for no other", async () => {
  const { cache, address } = scene(1000);
  await address("a");
  await address("b");
  cache.forget("a");
  assert.equal(await address("a"), "10.0.0.3");
  assert.equal(await address("b"), "10.0.0.2");
});

Deno.test("NodeCache remembers no error", async () => {
  const { address } = scene(1000);
  await assert.rejects(address("gone"), ApiError);
  await assert.rejects(address("gone"), ApiError);
});

Deno.test("NodeCache keeps of a node what sessions need: images of all nodes would fill the memory", async () => {
  const { cache } = scene(1000);
  assert.deepEqual(await cache.get("a"), {
    metadata: { name: "a" },
    status: { addresses: [{ type: "InternalIP", address: "10.0.0.1" }] },
  });
});
