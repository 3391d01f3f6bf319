import assert from "node:assert/strict";
import type { V1PodSpec } from "@kubernetes/client-node";
import type { AuditEvent } from "../audit/event.ts";
import { privilegedContainer } from "../authz/policy/privileged_container.ts";
import type { User } from "../authz/user.ts";
import { Refusal } from "../kube/status.ts";
import type { Forward } from "./forwarding.ts";
import type { RequestContext } from "./handler.ts";
import { Journey } from "./journey.ts";
import { proxy, type ProxyGate } from "./proxy.ts";
import { readRequestTarget } from "./request_target.ts";

const USER: User = { username: "jane", uid: "u", groups: [], extra: {} };
const NODE = "/api/v1/nodes/node1/proxy";
const PODS = "/api/v1/namespaces/default/pods";
const SERVICES = "/api/v1/namespaces/default/services";

interface Asked {
  method?: string;
  upgrade?: RequestContext["upgrade"];
  isClusterAdmin?: boolean;
  /** Of the one pod that there is. */
  spec?: Partial<V1PodSpec>;
  allowedPort?: number;
  proxies?: Partial<ProxyGate["proxies"]>;
  gate?: Partial<ProxyGate>;
}

/** Sends a request through `proxy`. */
async function ask(rawTarget: string, { method = "GET", isClusterAdmin = false, ...asked }: Asked = {}) {
  const context: RequestContext = {
    remoteAddress: "192.0.2.1",
    remotePort: 1,
    rawTarget,
    rawHeaders: [["Authorization", "Bearer mine"], ["X-Remote-User", "root"], ["Accept", "*/*"]],
    signal: new AbortController().signal,
    ...(asked.upgrade && { upgrade: asked.upgrade }),
  };
  const events: AuditEvent[] = [];
  const sent: Parameters<Forward>[0][] = [];
  const required: unknown[] = [];
  const gate: ProxyGate = {
    authenticate: () => Promise.resolve(USER),
    impersonate: (user) => Promise.resolve({ user }),
    resolve: ({ namespace, pod: podName }) => {
      const spec = { containers: [{ name: "app" }], ...asked.spec };
      const pod = { metadata: { name: podName, namespace }, spec };
      const kubelet = { host: "10.0.0.5", port: 10250 };
      return Promise.resolve({
        namespace,
        podName,
        podUid: "u-1",
        pod,
        nodeName: "node1",
        node: {},
        kubelet,
      });
    },
    decide: (_user, { pod }) => {
      const options = { scope: "container", strict: false } as const;
      return Promise.resolve(privilegedContainer({ pod, container: undefined, options, isClusterAdmin }));
    },
    require: (_user, attributes) => Promise.resolve(void required.push(attributes)),
    isClusterAdmin: () => Promise.resolve(isClusterAdmin),
    forwarding: {
      checkPort: (port) => [undefined, port].includes(asked.allowedPort) ? undefined : `port ${port} may not`,
    },
    proxies: { nodes: "allow", pods: "allow", services: "allow", ...asked.proxies },
    journal: {
      append: (more) => Promise.resolve(void events.push(...more)),
      close: () => Promise.resolve(),
      status: () => ({ healthy: true, sinks: [] }),
    },
    report: () => {},
    forward: (request) => {
      sent.push(request);
      return Promise.resolve(new Response("metrics"));
    },
    ...asked.gate,
  };
  const journey = new Journey(method, context, readRequestTarget(rawTarget));
  const kinds = () => events.map(({ annotations }) => annotations["postern.dev/event"]);
  try {
    const answer = await proxy(journey, new Request("https://gateway.invalid/", { method }), gate);
    return { events, sent, required, text: await answer.text(), kinds: kinds() };
  } catch (thrown) {
    assert.ok(thrown instanceof Refusal, String(thrown));
    return { events, sent, required, refusal: thrown, kinds: kinds() };
  }
}

Deno.test("proxy sends a request on as it came, with the user's own token, and writes down both ends", async () => {
  const path = `${NODE}/metrics/cadvisor?x=%20y`;
  const { sent, text, kinds, events, required } = await ask(path);
  assert.equal(text, "metrics");
  assert.equal(sent[0]!.target, path);
  assert.deepEqual([sent[0]!.headers.get("Authorization"), sent[0]!.headers.get("X-Remote-User")], [
    "Bearer mine",
    null,
  ]);
  assert.deepEqual(required, [
    { verb: "get", group: "", version: "v1", resource: "nodes", name: "node1", subresource: "proxy" },
  ]);
  assert.deepEqual(kinds, ["decision", "response"]);
  const [decision, response] = events;
  assert.equal(sent[0]!.headers.get("Audit-ID"), decision!.auditID);
  assert.deepEqual([decision!.user.username, decision!.verb], ["jane", "get"]);
  assert.deepEqual(decision!.objectRef, {
    resource: "nodes",
    name: "node1",
    apiVersion: "v1",
    subresource: "proxy",
  });
  assert.equal(response!.annotations["postern.dev/bytes-out"], "7");
});

const passed: { path: string; asked?: Asked }[] = [
  { path: NODE },
  { path: `${NODE}/containerLogs/default/web/app` },
  { path: `${NODE}/logs/syslog` },
  { path: `${NODE}/executions` },
  { path: `${NODE}/metrics/exec` },
  { path: `${PODS}/web/proxy` },
  { path: `${PODS}/web:8080/proxy/exec/x` },
  { path: `${PODS}/web:8080/proxy`, asked: { allowedPort: 8080 } },
  { path: `${PODS}/https:web:/proxy`, asked: { allowedPort: 443 } },
  { path: `${PODS}/web/proxy`, asked: { allowedPort: 80 } },
  {
    path: `${PODS}/web/proxy`,
    asked: {
      allowedPort: 9000,
      spec: {
        containers: [{ name: "a" }, { name: "b", ports: [{ containerPort: 9000 }, { containerPort: 1 }] }],
      },
    },
  },
  { path: `${SERVICES}/https:web:admin/proxy/exec` },
  { path: `${PODS}/web:80/proxy`, asked: { spec: { hostNetwork: true }, isClusterAdmin: true } },
  { path: `${NODE}/checkpoint/default/web/app`, asked: { method: "POST", isClusterAdmin: true } },
  { path: "/api/v1/nodes/node1:9100/proxy/metrics", asked: { isClusterAdmin: true } },
];
for (const { path, asked } of passed) {
  Deno.test(`proxy passes ${asked?.method ?? "GET"} ${path}${asked?.isClusterAdmin ? " for a cluster-admin" : ""}`, async () => {
    const { sent, refusal } = await ask(path, asked);
    assert.deepEqual([refusal?.message, sent.length], [undefined, 1]);
  });
}

const spellings = ["exec", "attach", "run", "portForward", "cri"].flatMap((name) => {
  const [first = "", rest] = [name[0], name.slice(1)];
  return [name, name.toUpperCase(), first.toUpperCase() + rest, `%${hex(first)}${rest}`];
});
for (const name of spellings) {
  Deno.test(`attack: a node's proxy/${name} is a session, and never proxied, not even for a cluster-admin`, async () => {
    for (const node of ["node1", "node1:10250", "https:node1:10250", "http:node1:1", "https:node1:"]) {
      for (const rest of ["", "/", "/default/web/app?cmd=id"]) {
        const path = `/api/v1/nodes/${node}/proxy/${name}${rest}`;
        const { sent, refusal, kinds } = await ask(path, { method: "POST", isClusterAdmin: true });
        const seen = [refusal?.reason, refusal?.rule, sent.length, kinds.length];
        assert.deepEqual(seen, ["Forbidden", "proxy", 0, 0], path);
      }
    }
  });
}

const denied: { name: string; path: string; asked?: Asked; rule: string; message: RegExp }[] = [
  {
    name: "the memory of a container",
    path: `${NODE}/checkpoint/default/web/app`,
    asked: { method: "POST" },
    rule: "proxy",
    message:
      /^nodes "node1" is forbidden: a checkpoint holds the memory of a container.*: only cluster-admins/,
  },
  {
    name: "the same in another case",
    path: `${NODE}/Checkpoint/default/web/app`,
    rule: "proxy",
    message: /only cluster-admins/,
  },
  {
    name: "another port of the node",
    path: "/api/v1/nodes/node1:2379/proxy/version",
    rule: "proxy",
    message: /port "2379" of node "node1" is what listens in its own network .*: only cluster-admins/,
  },
  {
    name: "a pod in its node's network",
    path: `${PODS}/web:10250/proxy/pods`,
    asked: { spec: { hostNetwork: true } },
    rule: "privileged-container",
    message:
      /^pods "web:10250" is forbidden: pod "web" runs with hostNetwork: only cluster-admins may open it/,
  },
  {
    name: "a port that may not be forwarded",
    path: `${PODS}/web:5432/proxy`,
    asked: { allowedPort: 8080 },
    rule: "forwarded-port",
    message: /port 5432 may not/,
  },
];
for (const { name, path, asked, rule, message } of denied) {
  Deno.test(`proxy denies ${name}, and writes it down`, async () => {
    const { sent, refusal, events, kinds } = await ask(path, asked);
    assert.deepEqual([refusal?.reason, refusal?.rule, sent.length], ["Forbidden", rule, 0]);
    assert.match(refusal!.message, message);
    assert.deepEqual(kinds, ["decision"]);
    assert.equal(events[0]!.annotations["authorization.k8s.io/decision"], "forbid");
    assert.equal(events[0]!.annotations["postern.dev/rule"], rule);
  });
}

for (
  const [resource, path] of [["nodes", `${NODE}/metrics`], ["pods", `${PODS}/web/proxy`], [
    "services",
    `${SERVICES}/web/proxy`,
  ]] as const
) {
  Deno.test(`the configuration refuses proxies of ${resource}, to cluster-admins too`, async () => {
    const { sent, refusal } = await ask(path, { proxies: { [resource]: "deny" }, isClusterAdmin: true });
    assert.deepEqual([refusal?.reason, refusal?.rule, sent.length], ["Forbidden", "proxy", 0]);
    assert.match(refusal!.message, new RegExp(`the gateway proxies to no ${resource}$`));
  });
}

for (const name of ["http", "0", "65536", "08080", "8080x"]) {
  Deno.test(`a pod has no port ${name}`, async () => {
    const { sent, refusal } = await ask(`${PODS}/web:${name}/proxy`);
    assert.deepEqual([refusal?.reason, sent.length], ["BadRequest", 0]);
  });
}

Deno.test("who may not proxy learns nothing of the pod", async () => {
  const forbidden = () => Promise.reject(new Refusal("Forbidden", "no"));
  const { refusal, kinds } = await ask(`${PODS}/web/proxy`, {
    spec: { hostNetwork: true },
    gate: { require: forbidden, resolve: () => assert.fail("it was looked at") },
  });
  assert.equal(refusal?.message, "no");
  assert.deepEqual(kinds, []);
});

Deno.test("no audit, no proxy", async () => {
  const journal = {
    append: () => Promise.reject(new Error("disk full")),
    close: () => Promise.resolve(),
    status: () => ({ healthy: false, sinks: [] }),
  };
  const { sent, refusal } = await ask(`${SERVICES}/web/proxy`, { gate: { journal } });
  assert.deepEqual([refusal?.reason, sent.length], ["ServiceUnavailable", 0]);
});

Deno.test("a proxy is not upgraded", async () => {
  const upgrade = { accept: () => assert.fail(), answerRaw: () => assert.fail() };
  const { sent, refusal } = await ask(`${PODS}/web/proxy/socket`, { upgrade });
  assert.deepEqual([refusal?.reason, refusal?.rule, sent.length], ["BadRequest", "upgrade", 0]);
});

function hex(character: string): string {
  return character.charCodeAt(0).toString(16);
}
