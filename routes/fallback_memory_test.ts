import assert from "node:assert/strict";
import { FallbackMemory } from "./fallback_memory.ts";
import type { HeaderLine, RequestContext } from "./handler.ts";
import { Journey } from "./journey.ts";
import { readRequestTarget } from "./request_target.ts";

const WEBSOCKET: HeaderLine[] = [["Connection", "Upgrade"], ["Upgrade", "websocket"]];
const SPDY: HeaderLine[] = [["Connection", "Upgrade"], ["Upgrade", "SPDY/3.1"]];

function journey(rawHeaders: HeaderLine[], changes: Partial<RequestContext> = {}): Journey {
  const rawTarget = "/api/v1/namespaces/default/pods/web/exec?command=id";
  const upgrade = { accept: () => new Response(), answerRaw: () => new Response() };
  const { signal } = new AbortController();
  const context = {
    remoteAddress: "192.0.2.1",
    remotePort: 1,
    rawTarget,
    rawHeaders,
    upgrade,
    signal,
    ...changes,
  };
  return new Journey("GET", context, readRequestTarget(context.rawTarget));
}

Deno.test("E-95 a request over SPDY names the refused WebSocket that it follows, once", () => {
  const memory = new FallbackMemory();
  const first = journey(WEBSOCKET);
  memory.keep(first);
  const [second, third] = [journey(SPDY), journey(SPDY)];
  memory.recall(second);
  memory.recall(third);
  assert.deepEqual([second.facts.fallbackOf, third.facts.fallbackOf], [first.auditId, undefined]);
});

const OTHERS: {
  name: string;
  headers?: HeaderLine[];
  changes?: Partial<RequestContext>;
  laterMs?: number;
}[] = [
  { name: "from elsewhere", changes: { remoteAddress: "192.0.2.2" } },
  {
    name: "for something else",
    changes: { rawTarget: "/api/v1/namespaces/default/pods/web/exec?command=ls" },
  },
  { name: "of another client", headers: [...SPDY, ["User-Agent", "other"]] },
  { name: "over WebSocket", headers: WEBSOCKET },
  { name: "that comes late", laterMs: 5_000 },
];
for (const { name, headers = SPDY, changes, laterMs = 0 } of OTHERS) {
  Deno.test(`a request ${name} follows nothing`, () => {
    let nowMs = 0;
    const memory = new FallbackMemory(() => nowMs);
    memory.keep(journey(WEBSOCKET));
    nowMs += laterMs;
    const other = journey(headers, changes);
    memory.recall(other);
    assert.equal(other.facts.fallbackOf, undefined);
  });
}

Deno.test("a flood of refusals costs bounded memory: the oldest is forgotten", () => {
  const memory = new FallbackMemory();
  const at = (index: number) => ({ rawTarget: `/api/v1/namespaces/default/pods/p${index}/exec` });
  for (let index = 0; index <= 1_000; index++) memory.keep(journey(WEBSOCKET, at(index)));
  const [oldest, newest] = [journey(SPDY, at(0)), journey(SPDY, at(1_000))];
  memory.recall(oldest);
  memory.recall(newest);
  assert.equal(oldest.facts.fallbackOf, undefined);
  assert.notEqual(newest.facts.fallbackOf, undefined);
});
