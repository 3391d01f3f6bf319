/** Proxies of nodes, pods and services that are no sessions. */

import assert from "node:assert/strict";
import { tokenOf, type User } from "./support/cluster.ts";
import { Gateway, sharedGateway } from "./support/gateway.ts";
import { IMAGE } from "./support/pods.ts";
import { rawRequest, SPDY_UPGRADE, WEBSOCKET_UPGRADE } from "./support/raw_http.ts";
import { asAdmin } from "./support/service_account.ts";
import { eventually } from "./support/wait.ts";

const gateway = sharedGateway();

const NODE = "/api/v1/nodes/node1/proxy";
const PODS = "/api/v1/namespaces/default/pods";
const SERVICES = "/api/v1/namespaces/default/services";

/** A pod that serves HTTP on 8080, and the service that leads to it. */
const SERVER = "e2e-proxy";
const RUN = [`--image=${IMAGE}`, "--image-pull-policy=Never", "--port=8080", "--expose", "--restart=Never"];

/** What alice may do here beside what she may always. */
const ROLE = "e2e-proxy-alice";
Deno.test.beforeAll(async () => {
  const { cluster } = gateway();
  await cleanUp();
  const rights = ["--verb=get,create", "--resource=nodes/proxy,pods/proxy,services/proxy"];
  await asAdmin(cluster, "create", "clusterrole", ROLE, ...rights);
  await asAdmin(cluster, "create", "clusterrolebinding", ROLE, `--clusterrole=${ROLE}`, "--user=alice");
  await asAdmin(cluster, "run", SERVER, ...RUN, "--command", "--", "httpd", "-f", "-p", "8080", "-h", "/www");
  await eventually("alice may, and the service serves", async () => {
    const { code } = await ask(cluster.apiServerUrl, "alice", `${SERVICES}/${SERVER}:8080/proxy/`);
    return code === 200 || undefined;
  }, { deadlineMs: 30_000, everyMs: 200 });
});
Deno.test.afterAll(cleanUp);

async function cleanUp(): Promise<void> {
  const { cluster } = gateway();
  await asAdmin(cluster, "delete", "clusterrole,clusterrolebinding", ROLE, "--ignore-not-found");
  await asAdmin(cluster, "delete", "service,pod", SERVER, "--ignore-not-found", "--now");
}

const same: { path: string; method?: string; user?: Exclude<User, "admin"> }[] = [
  { path: `${PODS}/web:8080/proxy/` },
  { path: `${PODS}/http:web:8080/proxy/index.html?a=b%20c` },
  { path: `${PODS}/web:8080/proxy` },
  { path: `${PODS}/web:8080/proxy/nosuch` },
  { path: `${PODS}/web:8080/proxy/`, method: "HEAD" },
  { path: `${PODS}/web:8080/proxy/`, method: "POST" },
  { path: `${PODS}/web:8080/proxy/`, method: "DELETE" },
  { path: `${PODS}/web:8080/proxy/`, user: "bob" },
  { path: `${PODS}/web:8080/proxy/`, user: "root" },
  { path: `${PODS}/nosuch:8080/proxy/` },
  { path: `${PODS}/nosuch:8080/proxy/`, user: "bob" },
  { path: `${PODS}/a:b:c:d/proxy/` },
  { path: `${PODS}/${SERVER}/proxy/` }, // by the port that its container declares
  { path: `${SERVICES}/${SERVER}:8080/proxy/` },
  { path: `${SERVICES}/http:${SERVER}:8080/proxy/nosuch?x=1` },
  { path: `${SERVICES}/nosuch:80/proxy/` },
  { path: `${SERVICES}/ports:80/proxy/`, user: "bob" },
  { path: `${NODE}/metrics`, user: "bob" },
  { path: `${NODE}/metrics` }, // which the API server of this cluster refuses, the node being on a loopback address
  { path: "/api/v1/nodes/nosuch/proxy/metrics" },
];
for (const { path, method = "GET", user = "alice" } of same) {
  live(`${method} ${path} as ${user} is the same through the gateway`, async () => {
    const direct = await ask(gateway().cluster.apiServerUrl, user, path, method);
    const through = await ask(gateway().url, user, path, method);
    assert.deepEqual([through.code, through.body], [direct.code, direct.body]);
    assert.equal(through.type, direct.type);
  });
}

live(
  "a pod's answer is written down, by whom, how much, and under which ID the API server has it",
  async () => {
    const { auditId, body } = await ask(gateway().url, "alice", `${PODS}/web:8080/proxy/`);
    const events = await eventually("both of its events", async () => {
      const all = (await gateway().events()).filter(({ auditID }) => auditID === auditId);
      return all.length === 2 ? all : undefined;
    });
    assert.deepEqual(events.map(({ annotations }) => annotations["postern.dev/event"]), [
      "decision",
      "response",
    ]);
    const [decision, response] = events;
    assert.deepEqual([decision!.user.username, decision!.verb], ["alice", "get"]);
    const { resource, namespace, name, subresource } = decision!.objectRef!;
    assert.deepEqual([resource, namespace, name, subresource], ["pods", "default", "web:8080", "proxy"]);
    assert.equal(decision!.annotations["postern.dev/pod"], "web");
    assert.equal(response!.responseStatus?.code, 200);
    assert.equal(
      response!.annotations["postern.dev/bytes-out"],
      String(new TextEncoder().encode(body).length),
    );
    await eventually("the API server has it, too", async () => {
      const log = await Deno.readTextFile(gateway().cluster.paths.apiServerAuditLog);
      const isIt = (line: string) => line.includes(auditId!) && line.includes("web:8080/proxy");
      return log.split("\n").some(isIt) || undefined;
    });
  },
);

const refused: { name: string; path: string; method?: string; user?: "alice" | "root"; body: RegExp }[] = [
  {
    name: "a pod in a namespace of its node",
    path: `${PODS}/hostpid:8080/proxy/`,
    body: /runs with hostPID: only cluster-admins may open it/,
  },
  {
    name: "another port of the node",
    path: "/api/v1/nodes/node1:2379/proxy/version",
    body: /port \\"2379\\" of node \\"node1\\".*only cluster-admins/,
  },
  {
    name: "a container's memory",
    path: `${NODE}/checkpoint/default/web/web`,
    method: "POST",
    body: /a checkpoint holds the memory of a container/,
  },
  ...["Exec", "RUN", "portforward", "cri"].map((name) => ({
    name: `attack: the kubelet's ${name}`,
    path: `${NODE}/${name}/default/shell/shell?cmd=id`,
    method: "POST",
    user: "root" as const,
    body: /this path of a kubelet is a session/,
  })),
];
for (const { name, path, method = "GET", user = "alice", body } of refused) {
  live(`${name} is not proxied for ${user}`, async () => {
    const answer = await ask(gateway().url, user, path, method);
    assert.equal(answer.code, 403, answer.body);
    assert.match(answer.body, body);
  });
}

for (const [name, upgrade] of [["SPDY", SPDY_UPGRADE], ["WebSocket", WEBSOCKET_UPGRADE]] as const) {
  live(`a proxy is not upgraded to ${name}`, async () => {
    const { cluster, port } = gateway();
    const caCerts = [await Deno.readTextFile(cluster.paths.caCertificate)];
    const authorization = `Authorization: Bearer ${await tokenOf(cluster, "alice")}`;
    const { code, body } = await rawRequest({ port, caCerts }, `GET ${PODS}/web:8080/proxy/`, [
      ...upgrade,
      authorization,
    ]);
    assert.equal(code, 400);
    assert.match(body, /cannot be upgraded through the gateway/);
  });
}

live("attack: a session's path with an escape in it is that session", async () => {
  const { code, body } = await ask(
    gateway().url,
    "alice",
    `${NODE}/%72un/default/privileged/privileged?cmd=id`,
    "POST",
  );
  assert.equal(code, 403);
  assert.match(body, /sets securityContext.privileged: only cluster-admins may open it/);
});

live("what the configuration refuses is refused to everyone", async () => {
  await using closed = await Gateway.start({
    policy: { proxies: { nodes: "deny", pods: "deny", services: "deny" } },
  });
  for (
    const [resource, path] of Object.entries({
      nodes: NODE,
      pods: `${PODS}/web:8080/proxy/`,
      services: `${SERVICES}/ports:80/proxy/`,
    })
  ) {
    const { code, body } = await ask(closed.url, "root", path);
    assert.equal(code, 403);
    assert.match(body, new RegExp(`the gateway proxies to no ${resource}`));
  }
});

live("a port that may not be forwarded is not proxied either", async () => {
  await using narrow = await Gateway.start({
    policy: { portForward: { allowedPorts: ["8000-8079", 8081] } },
  });
  const { code, body } = await ask(narrow.url, "alice", `${PODS}/web:8080/proxy/`);
  assert.equal(code, 403);
  assert.match(body, /port 8080 is not among those that may be forwarded/);
});

function live(name: string, fn: () => Promise<void>): void {
  Deno.test({ name, fn, sanitizeOps: true, sanitizeResources: true });
}

async function ask(url: string, user: Exclude<User, "admin">, path: string, method = "GET") {
  const { cluster } = gateway();
  using client = Deno.createHttpClient({ caCerts: [await Deno.readTextFile(cluster.paths.caCertificate)] });
  const headers = { Authorization: `Bearer ${await tokenOf(cluster, user)}` };
  const answer = await fetch(url + path, { method, headers, client, redirect: "manual" });
  const { status: code, headers: said } = answer;
  return { code, body: await answer.text(), type: said.get("Content-Type"), auditId: said.get("Audit-Id") };
}
