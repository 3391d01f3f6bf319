import assert from "node:assert/strict";
import type { HeaderLine, RequestContext } from "./handler.ts";
import { Journey } from "./journey.ts";
import type { Forward } from "./forwarding.ts";
import { passThrough, reachesContainer } from "./passthrough.ts";
import { readRequestTarget } from "./request_target.ts";

const GUARDED = [
  "/api/v1/namespaces/default/pods/web/exec",
  "/api/v1/namespaces/default/pods/web/attach",
  "/api/v1/namespaces/default/pods/web/portforward",
  "/api/v1/namespaces/default/pods/web/proxy",
  "/api/v1/namespaces/default/pods/web:8080/proxy/admin",
  "/api/v1/namespaces/default/services/https:web:/proxy/",
  "/api/v1/nodes/node1/proxy/exec/default/web/web",
  "/api/v1/nodes/node1:10250/proxy/run/default/web/web",
  "/api/v1/proxy/nodes/node1/exec/default/web/web",
  "/apis/subresources.example.org/v1/namespaces/default/things/a/exec",
  "/proxy/minions/node1/portForward/default/web",
];
for (const path of GUARDED) {
  Deno.test(`reachesContainer knows ${path}`, () => {
    assert.equal(reachesContainer(readRequestTarget(path).segments, "GET"), true);
  });
}

const PLAIN = [
  "/",
  "/version",
  "/api/v1/namespaces/default/pods",
  "/api/v1/namespaces/default/pods/exec",
  "/api/v1/namespaces/default/pods/web/log",
  "/api/v1/nodes/proxy",
  "/apis/apps/v1/namespaces/default/deployments/exec/scale",
];
for (const path of PLAIN) {
  Deno.test(`reachesContainer lets ${path} pass`, () => {
    assert.equal(reachesContainer(readRequestTarget(path).segments, "GET"), false);
  });
}

for (const method of ["GET", "HEAD", "PATCH", "PUT", "POST", "DELETE"]) {
  const isRead = method === "GET" || method === "HEAD";
  Deno.test(`reachesContainer ${isRead ? "lets pass" : "knows"} a ${method} of ephemeral containers`, () => {
    const { segments } = readRequestTarget("/api/v1/namespaces/default/pods/web/ephemeralcontainers");
    assert.equal(reachesContainer(segments, method), !isRead);
  });
}

/** Passes a request on to an API server that answers `answer`, and returns what it was sent and what came back. */
async function pass(rawHeaders: readonly HeaderLine[], answer = new Response("ok")) {
  const rawTarget = "/api/v1/pods?limit=1";
  const context: RequestContext = {
    remoteAddress: "192.0.2.1",
    remotePort: 1,
    rawTarget,
    rawHeaders,
    signal: new AbortController().signal,
  };
  let sent: Parameters<Forward>[0] | undefined;
  const forward: Forward = (request) => {
    sent = request;
    return Promise.resolve(answer);
  };
  const journey = new Journey("GET", context, readRequestTarget(rawTarget));
  const got = await passThrough(journey, new Request("https://gateway.invalid/"), forward);
  return { sent: sent!, got };
}

Deno.test("passThrough sends the target as it came, with the user's own token", async () => {
  const { sent } = await pass([["Authorization", "Bearer mine"], ["Impersonate-User", "bob"]]);
  assert.equal(sent.target, "/api/v1/pods?limit=1");
  assert.equal(sent.headers.get("Authorization"), "Bearer mine");
  assert.equal(sent.headers.get("Impersonate-User"), "bob");
});

const DROPPED: { name: string; headers: HeaderLine[] }[] = [
  { name: "Host", headers: [["Host", "gateway"]] },
  { name: "Transfer-Encoding", headers: [["Transfer-Encoding", "chunked"]] },
  { name: "TE", headers: [["TE", "trailers"]] },
  { name: "X-Once", headers: [["Connection", "close, x-once"], ["X-Once", "1"]] },
  { name: "X-Remote-User", headers: [["X-Remote-User", "root"]] },
  { name: "x-remote-group", headers: [["x-remote-group", "system:masters"]] },
];
for (const { name, headers } of DROPPED) {
  Deno.test(`passThrough keeps ${name} to itself`, async () => {
    assert.equal((await pass(headers)).sent.headers.get(name), null);
  });
}

Deno.test("passThrough says who asks, behind those who asked before", async () => {
  const { sent } = await pass([["X-Forwarded-For", "198.51.100.7"]]);
  assert.equal(sent.headers.get("X-Forwarded-For"), "198.51.100.7, 192.0.2.1");
});

Deno.test("passThrough answers with the API server's status and headers, but those of its connection", async () => {
  const headers = { "Audit-Id": "1", "Keep-Alive": "timeout=5", Warning: '299 - "old"' };
  const { got } = await pass([], new Response("no", { status: 409, headers }));
  assert.equal(got.status, 409);
  assert.deepEqual([got.headers.get("Audit-Id"), got.headers.get("Warning")], ["1", '299 - "old"']);
  assert.equal(got.headers.get("Keep-Alive"), null);
});
