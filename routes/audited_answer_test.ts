import assert from "node:assert/strict";
import type { AuditEvent } from "../audit/event.ts";
import { auditedAnswer } from "./audited_answer.ts";
import { Journey } from "./journey.ts";
import { readRequestTarget } from "./request_target.ts";

/** Relays an answer; what is written down about it comes to `events`. */
async function relay(
  answer: Response,
  { signal = new AbortController().signal, append, method = "GET" }: {
    signal?: AbortSignal;
    append?: () => Promise<void>;
    method?: string;
  } = {},
) {
  const events: AuditEvent[] = [];
  const reported: string[] = [];
  const rawTarget = "/api/v1/nodes/node1/proxy/metrics";
  const context = { remoteAddress: "192.0.2.1", remotePort: 1, rawTarget, rawHeaders: [], signal };
  const journey = new Journey(method, context, readRequestTarget(rawTarget));
  const gate = {
    journal: {
      append: append ?? ((more: readonly AuditEvent[]) => {
        events.push(...more);
        return Promise.resolve();
      }),
      close: () => Promise.resolve(),
      status: () => ({ healthy: true, sinks: [] }),
    },
    report: (message: string) => void reported.push(message),
  };
  return { events, reported, relayed: await auditedAnswer(journey, gate, undefined, answer) };
}

/** The same of every event, in short. */
const brief = ({ responseStatus, annotations }: AuditEvent) => {
  return [responseStatus?.code, annotations["postern.dev/bytes-out"], annotations["postern.dev/error"]];
};

Deno.test("an answer goes on as it came, and is written down before its end", async () => {
  const headers = { "Content-Type": "text/plain", "Keep-Alive": "timeout=5", "Audit-Id": "a-1, forged" };
  const { events, relayed } = await relay(new Response("hello", { status: 202, headers }));
  assert.equal(events.length, 0);
  assert.equal(await relayed.text(), "hello");
  assert.deepEqual(events.map(brief), [[202, "5", undefined]]);
  assert.equal(relayed.status, 202);
  assert.deepEqual([relayed.headers.get("Content-Type"), relayed.headers.get("Keep-Alive")], [
    "text/plain",
    null,
  ]);
  assert.equal(events[0]!.annotations["postern.dev/upstream-audit-id"], "a-1");
});

Deno.test("an answer without body is written down at once", async () => {
  const { events, relayed } = await relay(new Response(null, { status: 204 }));
  assert.equal(relayed.body, null);
  assert.deepEqual(events.map(brief), [[204, "0", undefined]]);
});

Deno.test("the answer to a HEAD is written down at once: nobody reads a body", async () => {
  const { events, relayed } = await relay(new Response(""), { method: "HEAD" });
  assert.equal(relayed.body, null);
  assert.deepEqual(events.map(brief), [[200, "0", undefined]]);
});

Deno.test("a client that goes away ends the answer, and is written down once", async () => {
  let isCancelled = false;
  const body = new ReadableStream({
    pull: (controller) => controller.enqueue(new Uint8Array(3)),
    cancel: () => void (isCancelled = true),
  }, { highWaterMark: 0 });
  const { events, relayed } = await relay(new Response(body));
  const reader = relayed.body!.getReader();
  await reader.read();
  await reader.cancel();
  assert.equal(isCancelled, true);
  assert.deepEqual(events.map(brief), [[200, "3", "the client went away"]]);
});

for (const isGone of [true, false]) {
  const error = isGone ? "the client went away" : "the API server's answer broke off";
  Deno.test(`an answer that breaks off is written down as such: ${error}`, async () => {
    const gone = new AbortController();
    let isFirst = true;
    const body = new ReadableStream({
      pull(controller) {
        if (isFirst) controller.enqueue(new Uint8Array(7));
        else controller.error(new Error("reset"));
        isFirst = false;
      },
    }, { highWaterMark: 0 });
    const { events, relayed } = await relay(new Response(body), { signal: gone.signal });
    const reader = relayed.body!.getReader();
    await reader.read();
    if (isGone) gone.abort();
    await assert.rejects(reader.read(), /reset/);
    assert.deepEqual(events.map(brief), [[200, "7", error]]);
  });
}

Deno.test("an answer that cannot be written down any more is told to the gateway's own log", async () => {
  const { reported, relayed } = await relay(new Response("x"), {
    append: () => Promise.reject(new Error("full")),
  });
  assert.equal(await relayed.text(), "x");
  assert.deepEqual(reported, ["audit events were lost"]);
});
