import assert from "node:assert/strict";
import { adminHandler, METRICS_TYPE } from "./admin_handler.ts";
import type { Verdict } from "./health.ts";

const READY: Verdict = { ready: true, checks: [{ name: "audit", ok: true }] };
const UNREADY: Verdict = {
  ready: false,
  checks: [{ name: "gateway", ok: true }, { name: "audit", ok: false, message: "the disk is full" }],
};

const WITHOUT_INDEX: Verdict = {
  ready: true,
  checks: [{ name: "audit", ok: true }, { name: "index", ok: false, message: "it is down", needed: false }],
};

async function ask(path: string, { verdict = READY, method = "GET" } = {}) {
  const handler = adminHandler({
    health: { verdict: () => Promise.resolve(verdict) },
    metrics: () => Promise.resolve("up 1\n"),
  });
  const [name = "", query] = path.split("?");
  const answer = await handler(method, name, new URLSearchParams(query));
  return { code: answer.status, type: answer.headers.get("Content-Type"), body: await answer.text(), answer };
}

const TEXT = "text/plain; charset=utf-8";
const JSON_TYPE = "application/json";

for (
  const [path, verdict, want] of [
    ["/healthz", UNREADY, [200, TEXT, "ok\n"]],
    ["/readyz", READY, [200, TEXT, "ok\n"]],
    ["/readyz", WITHOUT_INDEX, [200, TEXT, "ok\nindex: it is down\n"]],
    ["/readyz", UNREADY, [503, TEXT, "audit: the disk is full\n"]],
    ["/readyz?verbose", READY, [200, JSON_TYPE, `${JSON.stringify(READY)}\n`]],
    ["/readyz?verbose", UNREADY, [503, JSON_TYPE, `${JSON.stringify(UNREADY)}\n`]],
    ["/metrics", UNREADY, [200, METRICS_TYPE, "up 1\n"]],
    ["/", READY, [404, TEXT, "not found\n"]],
    ["/api/v1/namespaces", READY, [404, TEXT, "not found\n"]],
  ] as const
) {
  const state = verdict === WITHOUT_INDEX ? "ready, its index down" : verdict.ready ? "ready" : "not ready";
  Deno.test(`admin port: ${path} of a gateway that is ${state}`, async () => {
    const { code, type, body } = await ask(path, { verdict });
    assert.deepEqual([code, type, body], want);
  });
}

Deno.test("admin port: it is only read, and nothing of it is kept", async () => {
  assert.equal((await ask("/metrics", { method: "POST" })).code, 405);
  assert.equal((await ask("/metrics", { method: "HEAD" })).code, 200);
  assert.equal((await ask("/readyz")).answer.headers.get("Cache-Control"), "no-store");
});
