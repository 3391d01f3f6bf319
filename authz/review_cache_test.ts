import assert from "node:assert/strict";
import { ReviewCache } from "./review_cache.ts";

/** A cache with a clock that the test turns, and a question that counts how often it is asked. */
function scene(ttlMs = 100, maxEntries = 10) {
  let nowMs = 0;
  let asked = 0;
  const cache = new ReviewCache<string>({ ttlMs: () => ttlMs, maxEntries, now: () => nowMs });
  return {
    cache,
    ask: () => Promise.resolve(`answer ${++asked}`),
    turn: (ms: number) => nowMs += ms,
    asked: () => asked,
  };
}

Deno.test("an answer holds for its time and no longer", async () => {
  const { cache, ask, turn } = scene();
  assert.equal(await cache.get("key", ask), "answer 1");
  turn(99);
  assert.equal(await cache.get("key", ask), "answer 1");
  turn(1);
  assert.equal(await cache.get("key", ask), "answer 2");
});

Deno.test("with a time of 0 every request is asked anew", async () => {
  const { cache, ask } = scene(0);
  await cache.get("key", ask);
  assert.equal(await cache.get("key", ask), "answer 2");
});

Deno.test("requests at the same time share one question", async () => {
  const { cache, ask, asked } = scene();
  await Promise.all([cache.get("key", ask), cache.get("key", ask), cache.get("other", ask)]);
  assert.equal(asked(), 2);
});

Deno.test("an answer that was there, or on its way, is a hit; one that had to be asked for is a miss", async () => {
  const { cache, ask, turn } = scene();
  await Promise.all([cache.get("key", ask), cache.get("key", ask)]);
  await cache.get("key", ask);
  turn(100);
  await cache.get("key", ask);
  assert.deepEqual({ ...cache.counts }, { hits: 2, misses: 2 });
});

Deno.test("an error is told to all who wait, and is not kept", async () => {
  const { cache, ask } = scene();
  const fail = () => Promise.reject(new Error("down"));
  const both = await Promise.allSettled([cache.get("key", fail), cache.get("key", fail)]);
  assert.deepEqual(both.map(({ status }) => status), ["rejected", "rejected"]);
  assert.equal(await cache.get("key", ask), "answer 1");
});

Deno.test("who gives up does not take the answer from the others", async () => {
  const { cache } = scene();
  const answer = Promise.withResolvers<string>();
  const gone = new AbortController();
  const first = cache.get("key", () => answer.promise, gone.signal);
  const second = cache.get("key", () => Promise.reject(new Error("asked twice")));
  gone.abort(new Error("gone"));
  await assert.rejects(first, /gone/);
  answer.resolve("yes");
  assert.equal(await second, "yes");
});

Deno.test("the answer unused for longest makes room: a flood of keys costs bounded memory", async () => {
  const { cache, ask, asked } = scene(100, 2);
  for (const key of ["a", "b", "c"]) await cache.get(key, ask);
  await cache.get("c", ask);
  assert.equal(asked(), 3);
  await cache.get("a", ask);
  assert.equal(asked(), 4);
});

Deno.test("attack: a flood of made-up tokens makes nobody be asked about again who comes all the time", async () => {
  const { cache, ask, asked } = scene(100, 3);
  await cache.get("alice", ask);
  for (let made = 0; made < 20; made++) {
    await cache.get(`made up ${made}`, ask);
    assert.equal(await cache.get("alice", ask), "answer 1");
  }
  assert.equal(asked(), 21);
});

Deno.test("what is forgotten is asked anew, and nothing else is", async () => {
  const { cache, ask } = scene();
  await cache.get("key", ask);
  await cache.get("other", ask);
  cache.forget("key");
  assert.equal(await cache.get("key", ask), "answer 3");
  assert.equal(await cache.get("other", ask), "answer 2");
});

Deno.test("an answer that is used all the time holds no longer for that", async () => {
  const { cache, ask, turn } = scene();
  for (let ms = 0; ms < 100; ms += 10) {
    assert.equal(await cache.get("key", ask), "answer 1");
    turn(10);
  }
  assert.equal(await cache.get("key", ask), "answer 2");
});
