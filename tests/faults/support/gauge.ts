/**
 * Preloaded into a gateway, to see from within what cannot be seen from without: the heap after a collection, what lies outside of
 * it, timers that are set, and what the platform holds open. A line of JSON every five seconds, to `gauge.jsonl` beside the
 * configuration.
 */

import { dirname, join } from "node:path";

const EVERY_MS = 5_000;

type Timer = ReturnType<typeof setTimeout>;

const timers = new Set<Timer>();
const { setTimeout, setInterval, clearTimeout, clearInterval } = globalThis;

// Only timers of the web are counted: `node:http`'s own are off in the gateway.
Object.assign(globalThis, {
  setTimeout: (act: (...args: unknown[]) => void, ms?: number, ...args: unknown[]) => {
    const id = setTimeout(() => {
      timers.delete(id);
      act(...args);
    }, ms);
    timers.add(id);
    return id;
  },
  setInterval: (act: (...args: unknown[]) => void, ms?: number, ...args: unknown[]) => {
    const id = setInterval(act, ms, ...args);
    timers.add(id);
    return id;
  },
  clearTimeout: (id?: Timer) => {
    if (id !== undefined) timers.delete(id);
    clearTimeout(id);
  },
  clearInterval: (id?: Timer) => {
    if (id !== undefined) timers.delete(id);
    clearInterval(id);
  },
});

const file = join(dirname(Deno.args[1] ?? ""), "gauge.jsonl");
const collect: unknown = Reflect.get(globalThis, "gc");

/** Sockets, files, streams, HTTP clients: the platform counts them for its own tests, under a name that is no promise. */
function openResources(): number {
  const name: unknown = Reflect.get(Deno, "internal");
  const inside: unknown = typeof name === "symbol" ? Reflect.get(Deno, name) : undefined;
  const core = memberOf(inside, "core");
  const list = memberOf(core, "resources");
  if (typeof list !== "function") throw new Error("the platform tells no resources");
  return Object.keys(list.call(core)).length;
}

function memberOf(value: unknown, name: string): unknown {
  return typeof value === "object" && value !== null ? Reflect.get(value, name) : undefined;
}

const timer = setInterval(() => {
  // Buffers that one collection finds nobody to hold are counted until the next.
  for (let time = 0; time < 2; time++) if (typeof collect === "function") collect();
  const { heapUsed, external } = Deno.memoryUsage();
  const line = JSON.stringify({
    ...{ heapBytes: heapUsed, externalBytes: external },
    ...{ timers: timers.size, resources: openResources() },
  });
  Deno.writeTextFileSync(file, `${line}\n`, { append: true });
}, EVERY_MS);
Deno.unrefTimer(timer); // the gateway begins when nothing is left to do here
