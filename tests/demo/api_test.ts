/** The embedded API by itself, without a socket: what it serves, to whom, and in which words it refuses. */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { createApi } from "../../demo/api/app.ts";
import { ContainerLog } from "../../demo/kubelet/container_log.ts";
import { createUsers, GATEWAY_USER, readCluster, tokenOf } from "../../demo/manifest.ts";
import type { ServedPod } from "../../demo/pod_store.ts";

const MANIFEST = new URL("../../demo/cluster.yaml", import.meta.url);
const TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";

const users = createUsers();
const state = await readCluster(MANIFEST, {
  kubelet: { host: "127.0.0.1", port: 10250 },
  users,
});
const log = new ContainerLog();
const ended = new AbortController();
const app = createApi(state, { findLog: () => log, ended: ended.signal });

/** A test that leaves nothing open. */
function test(name: string, fn: () => Promise<void>): void {
  Deno.test({ name, fn, sanitizeOps: true, sanitizeResources: true });
}

interface Ask {
  user?: string;
  method?: string;
  path: string;
  headers?: Record<string, string>;
  body?: string | Uint8Array<ArrayBuffer>;
}

async function ask({ user = "alice", method = "GET", path, headers = {}, body }: Ask): Promise<Response> {
  const authorization: Record<string, string> = user === ""
    ? {}
    : { Authorization: `Bearer ${tokenOf(users, user)}` };
  return await app.request(path, {
    method,
    headers: { ...authorization, ...headers },
    ...(body && { body }),
  });
}

async function json(what: Ask) {
  return await (await ask(what)).json();
}

async function create(path: string, spec: object, user = GATEWAY_USER) {
  return await json({ user, method: "POST", path, body: JSON.stringify({ spec }) });
}

const REFUSALS: (Ask & { name: string; code: number; message: string })[] = [
  { name: "no token", user: "", path: "/api", code: 401, message: "Unauthorized" },
  {
    name: "another's token",
    user: "",
    headers: { Authorization: "Bearer wrong" },
    path: "/api",
    code: 401,
    message: "Unauthorized",
  },
  {
    name: "another namespace",
    path: "/api/v1/namespaces/kube-system/pods",
    code: 403,
    message:
      'pods is forbidden: User "alice" cannot list resource "pods" in API group "" in the namespace "kube-system"',
  },
  {
    name: "all namespaces, to who may read one",
    path: "/api/v1/pods",
    code: 403,
    message:
      'pods is forbidden: User "alice" cannot list resource "pods" in API group "" at the cluster scope',
  },
  {
    name: "what is not served, to who may not do it: whether it exists is not told",
    path: "/api/v1/namespaces/default/secrets/key",
    code: 403,
    message:
      'secrets "key" is forbidden: User "alice" cannot get resource "secrets" in API group "" in the namespace "default"',
  },
  {
    name: "what is not served",
    user: "root",
    path: "/api/v1/namespaces/default/secrets/key",
    code: 404,
    message: "the server could not find the requested resource",
  },
  {
    name: "a pod that is not there",
    path: "/api/v1/namespaces/default/pods/nosuch",
    code: 404,
    message: 'pods "nosuch" not found',
  },
  {
    name: "a change of what stays as it is",
    user: "root",
    method: "DELETE",
    path: "/api/v1/namespaces/default/services/web",
    code: 405,
    message: "the server does not allow this method on the requested resource",
  },
  {
    name: "a path that is none of the API's",
    path: "/metrics",
    code: 403,
    message: 'forbidden: User "alice" cannot get path "/metrics"',
  },
  {
    name: "another's identity",
    headers: { "Impersonate-User": "root" },
    path: "/api/v1/namespaces/default/pods",
    code: 403,
    message:
      'users "root" is forbidden: User "alice" cannot impersonate resource "users" in API group "" at the cluster scope',
  },
  {
    name: "a review without what it asks",
    method: "POST",
    path: "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
    body: '{"spec":{}}',
    code: 400,
    message:
      "spec.resourceAttributes: Invalid value: exactly one of nonResourceAttributes or resourceAttributes must be specified",
  },
  {
    name: "a review that is no JSON",
    method: "POST",
    path: "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
    body: "{",
    code: 400,
    message: "the object provided is unrecognized",
  },
  {
    name: "a review of the wrong shape",
    method: "POST",
    path: "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
    body: '{"spec":{"resourceAttributes":7}}',
    code: 400,
    message: "the object provided is unrecognized",
  },
  {
    name: "a review of others, to who is not asked",
    method: "POST",
    path: "/apis/authentication.k8s.io/v1/tokenreviews",
    body: '{"spec":{"token":"x"}}',
    code: 403,
    message:
      'tokenreviews.authentication.k8s.io is forbidden: User "alice" cannot create resource "tokenreviews" in API group "authentication.k8s.io" at the cluster scope',
  },
  {
    name: "the log of a container that has not begun",
    path: "/api/v1/namespaces/default/pods/init/log",
    code: 400,
    message: 'container "main" in pod "init" is waiting to start: PodInitializing',
  },
  {
    name: "the log of two containers at once",
    path: "/api/v1/namespaces/default/pods/web/log",
    code: 400,
    message: "a container name must be specified for pod web, choose one of: [web sidecar]",
  },
];
for (const { name, code, message, ...what } of REFUSALS) {
  test(`the API refuses ${name}`, async () => {
    const answer = await ask(what);
    const status = await answer.json();
    assert.equal(answer.status, code);
    assert.deepEqual([status.kind, status.code, status.message], ["Status", code, message]);
  });
}

test("discovery leads to every resource that is served", async () => {
  assert.deepEqual((await json({ path: "/api" })).versions, ["v1"]);
  const { groups } = await json({ path: "/apis" });
  const lists = ["/api/v1", ...groups.map(({ name }: { name: string }) => `/apis/${name}/v1`)];
  const names: string[] = [];
  for (const path of lists) {
    const { kind, resources } = await json({ path });
    assert.equal(kind, "APIResourceList");
    names.push(...resources.map(({ name }: { name: string }) => name));
  }
  assert.deepEqual(names.sort(), [
    "deployments",
    "namespaces",
    "nodes",
    "pods",
    "pods/attach",
    "pods/ephemeralcontainers",
    "pods/exec",
    "pods/log",
    "pods/portforward",
    "selfsubjectaccessreviews",
    "selfsubjectreviews",
    "selfsubjectrulesreviews",
    "services",
    "subjectaccessreviews",
    "tokenreviews",
  ]);
});

test("pods stand in the order of their names, as a store keeps them", async () => {
  const { kind, items } = await json({ path: "/api/v1/namespaces/default/pods" });
  assert.equal(kind, "PodList");
  assert.deepEqual(items.map(({ metadata }: { metadata: { name: string } }) => metadata.name), [
    "init",
    "privileged",
    "shell",
    "tty",
    "web",
  ]);
});

test("pods are shown as kubectl prints them", async () => {
  const table = await json({ path: "/api/v1/namespaces/default/pods", headers: { Accept: TABLE } });
  const narrow = table.columnDefinitions.filter(({ priority }: { priority: number }) => priority === 0);
  assert.deepEqual(narrow.map(({ name }: { name: string }) => name), [
    "Name",
    "Ready",
    "Status",
    "Restarts",
    "Age",
  ]);
  assert.deepEqual(table.rows.map(({ cells }: { cells: string[] }) => cells.slice(0, 4)), [
    ["init", "0/1", "Init:0/1", "0"],
    ["privileged", "1/1", "Running", "0"],
    ["shell", "1/1", "Running", "0"],
    ["tty", "1/1", "Running", "0"],
    ["web", "2/2", "Running", "0"],
  ]);
  assert.equal(table.rows[0].object.kind, "PartialObjectMetadata");
});

test("selectors select", async () => {
  const query = "labelSelector=app%3Dweb&fieldSelector=spec.nodeName%3Ddemo-node,status.phase!%3DFailed";
  const { items } = await json({ path: `/api/v1/namespaces/default/pods?${query}` });
  assert.deepEqual(items.map(({ metadata }: { metadata: { name: string } }) => metadata.name), ["web"]);
});

test("a watch tells what there is, then waits until its time is over", async () => {
  const answer = await ask({ path: "/api/v1/namespaces/default/pods?watch=1&timeoutSeconds=1" });
  const events = (await answer.text()).trim().split("\n").map((line) => JSON.parse(line));
  assert.deepEqual(events.map(({ type, object }) => `${type} ${object.metadata.name}`), [
    "ADDED init",
    "ADDED privileged",
    "ADDED shell",
    "ADDED tty",
    "ADDED web",
  ]);
});

test("a watch that goes on from a list tells nothing of what was listed", async () => {
  const path = "/api/v1/namespaces/default/pods?watch=1&resourceVersion=1&timeoutSeconds=1";
  assert.equal(await (await ask({ path })).text(), "");
});

test("a watch that wants the initial events is told where they end", async () => {
  const query = "watch=1&resourceVersionMatch=NotOlderThan&sendInitialEvents=true&timeoutSeconds=1";
  const text = await (await ask({ path: `/api/v1/nodes?${query}` })).text();
  const [added, bookmark] = text.trim().split("\n").map((line) => JSON.parse(line));
  assert.equal(added.object.metadata.name, "demo-node");
  assert.deepEqual([bookmark.type, bookmark.object.metadata.annotations], ["BOOKMARK", {
    "k8s.io/initial-events-end": "true",
  }]);
});

test("services and deployments lead to the pod web", async () => {
  const service = await json({ path: "/api/v1/namespaces/default/services/web" });
  const deployment = await json({ path: "/apis/apps/v1/namespaces/default/deployments/web" });
  assert.deepEqual([service.kind, service.spec.selector], ["Service", { app: "web" }]);
  assert.deepEqual([deployment.kind, deployment.spec.selector.matchLabels], ["Deployment", { app: "web" }]);
});

test("every answer has an audit ID: the request's own, or a new one", async () => {
  const own = await ask({ path: "/api", headers: { "Audit-Id": "0b0c" } });
  assert.equal(own.headers.get("Audit-Id"), "0b0c");
  for (const what of [{ path: "/api" }, { path: "/metrics" }, { path: "/api", user: "" }]) {
    assert.match((await ask(what)).headers.get("Audit-Id") ?? "", /^[0-9a-f-]{36}$/);
  }
});

const PODS = "/api/v1/namespaces/default/pods";
const STRATEGIC = { "Content-Type": "application/strategic-merge-patch+json" };

/** Creates a pod, and deletes it after. */
async function withPod(name: string, fn: (pod: ServedPod) => Promise<void>): Promise<void> {
  const body = JSON.stringify({
    ...{ apiVersion: "v1", kind: "Pod", metadata: { name } },
    spec: { containers: [{ name: "main", image: "busybox" }] },
  });
  const created = await ask({ method: "POST", path: PODS, body });
  assert.equal(created.status, 201);
  try {
    await fn(await created.json());
  } finally {
    await ask({ method: "DELETE", path: `${PODS}/${name}?gracePeriodSeconds=0` });
  }
}

function patch(name: string, body: object, query = "", headers = STRATEGIC): Ask {
  return {
    method: "PATCH",
    path: `${PODS}/${name}/ephemeralcontainers${query}`,
    headers,
    body: JSON.stringify(body),
  };
}

const debugging = (...ephemeralContainers: object[]) => ({ spec: { ephemeralContainers } });

test("a pod that is created has what it takes to be started, and a name of its own where it asks for one", async () => {
  await withPod("made", ({ metadata, spec, status }) => {
    assert.match(metadata.uid, /^[0-9a-f-]{36}$/);
    assert.deepEqual([spec?.nodeName, spec?.restartPolicy], ["demo-node", "Always"]);
    assert.equal(status?.phase, "Pending");
    assert.deepEqual(status?.containerStatuses?.[0]?.state, { waiting: { reason: "ContainerCreating" } });
    return Promise.resolve();
  });
  const spec = { containers: [{ name: "main", image: "busybox" }] };
  const body = JSON.stringify({ kind: "Pod", metadata: { generateName: "made-" }, spec });
  const trial = await json({ method: "POST", path: `${PODS}?dryRun=All`, body });
  assert.match(trial.metadata.name, /^made-[a-z0-9]{5}$/);
  assert.equal((await ask({ path: `${PODS}/${trial.metadata.name}` })).status, 404);
});

test("a pod that is to be deleted waits for its kubelet, or goes at once", async () => {
  await withPod("made", async () => {
    const { metadata } = await json({ method: "DELETE", path: `${PODS}/made` });
    assert.ok(metadata.deletionTimestamp);
    const headers = { Accept: TABLE };
    const { rows } = await json({ path: `${PODS}/made`, headers });
    assert.equal(rows[0].cells[2], "Terminating");
    await ask({ method: "DELETE", path: `${PODS}/made`, body: '{"gracePeriodSeconds":0}' });
    assert.equal((await ask({ path: `${PODS}/made` })).status, 404);
  });
});

test("a watch that goes on from a list is told what has changed since, and what changes then", async () => {
  const { metadata } = await json({ path: PODS });
  let changes: ReadableStreamDefaultReader<string> | undefined;
  const next = async () => JSON.parse((await changes!.read()).value!);
  await withPod("made", async () => {
    const query = `watch=1&fieldSelector=metadata.name%3Dmade&resourceVersion=${metadata.resourceVersion}`;
    const answer = await ask({ path: `${PODS}?${query}` });
    changes = answer.body!.pipeThrough(new TextDecoderStream()).getReader();
    assert.equal((await next()).type, "ADDED");
    await withPod("other", async () => {});
    await ask(patch("made", debugging({ name: "debugger", image: "busybox" })));
    const { type, object } = await next();
    assert.deepEqual([type, object.spec.ephemeralContainers[0].name], ["MODIFIED", "debugger"]);
  });
  assert.equal((await next()).type, "DELETED");
  await changes!.cancel();
});

test("ephemeral containers are added one by one, as kubectl debug sends them, and tried without effect", async () => {
  await withPod("made", async () => {
    const first = await json(patch("made", debugging({ name: "one", image: "busybox" })));
    const trial = await json(patch("made", debugging({ name: "two", image: "busybox" }), "?dryRun=All"));
    assert.equal(trial.spec.ephemeralContainers.length, 2);
    assert.equal(trial.metadata.resourceVersion, first.metadata.resourceVersion);
    const now = await json({ path: `${PODS}/made` });
    assert.deepEqual(now.spec.ephemeralContainers, [{ name: "one", image: "busybox" }]);
    const whole = {
      ...now,
      ...debugging(...now.spec.ephemeralContainers, { name: "three", image: "busybox" }),
    };
    const put = await json({
      ...{ method: "PUT", path: `${PODS}/made/ephemeralcontainers` },
      body: JSON.stringify(whole),
    });
    assert.deepEqual(put.spec.ephemeralContainers.map(({ name }: { name: string }) => name), [
      "one",
      "three",
    ]);
    assert.equal(put.spec.containers.length, 1);
  });
});

test("a write whose body takes its time is one of the pod as it is by then", async () => {
  await withPod("made", async () => {
    const { readable, writable } = new TransformStream<Uint8Array<ArrayBuffer>, Uint8Array<ArrayBuffer>>();
    const { path, headers } = patch("made", {});
    const slow = app.request(
      new Request(`https://api${path}`, {
        method: "PATCH",
        headers: { ...headers, Authorization: `Bearer ${tokenOf(users, "alice")}` },
        body: readable,
      }),
    );
    await new Promise((resolve) => setTimeout(resolve, 10));
    await ask(patch("made", debugging({ name: "quick", image: "busybox" })));
    const body = JSON.stringify(debugging({ name: "slow", image: "busybox" }));
    await new Response(body).body!.pipeTo(writable);
    const { spec } = await (await slow).json();
    assert.deepEqual(spec.ephemeralContainers.map(({ name }: { name: string }) => name), ["quick", "slow"]);
  });
});

test("a pod that is created brings no state of its own", async () => {
  const metadata = {
    name: "made",
    uid: "mine",
    deletionTimestamp: "2026-01-01T00:00:00Z",
    finalizers: ["x"],
  };
  const spec = { containers: [{ name: "main", image: "busybox" }] };
  const body = JSON.stringify({ kind: "Pod", metadata, spec, status: { phase: "Succeeded" } });
  const made = await json({ method: "POST", path: `${PODS}?dryRun=All`, body });
  assert.deepEqual(Object.keys(made.metadata).sort(), ["creationTimestamp", "name", "namespace", "uid"]);
  assert.notEqual(made.metadata.uid, "mine");
  assert.equal(made.status.phase, "Pending");
});

const one = { name: "one", image: "busybox" };
const UNWRITTEN: { name: string; what: (pod: ServedPod) => Ask; code: number; message: RegExp }[] = [
  {
    name: "at another version than it is",
    what: () => patch("made", { metadata: { resourceVersion: "1" }, ...debugging(one) }),
    code: 409,
    message: /^Operation cannot be fulfilled on pods "made": the object has been modified; please apply/,
  },
  {
    name: "with a target that is not there",
    what: () => patch("made", debugging({ ...one, targetContainerName: "zz" })),
    code: 422,
    message: /^Pod "made" is invalid: spec\.ephemeralContainers\[1\]\.targetContainerName: Not found: "zz"$/,
  },
  {
    name: "with the name of another container",
    what: () => patch("made", debugging({ ...one, name: "main" })),
    code: 422,
    message: /^Pod "made" is invalid: spec\.ephemeralContainers\[1\]\.name: Duplicate value: "main"$/,
  },
  {
    name: "by a patch that is no merge",
    what: () => patch("made", [], "", { "Content-Type": "application/json-patch+json" }),
    code: 415,
    message: /^415: Unsupported Media Type$/,
  },
  {
    name: "by who may not",
    what: () => ({ ...patch("made", debugging(one)), user: "bob" }),
    code: 403,
    message: /User "bob" cannot patch resource "pods\/ephemeralcontainers"/,
  },
  {
    name: "of a pod that is not there",
    what: () => patch("nosuch", debugging(one)),
    code: 404,
    message: /^pods "nosuch" not found$/,
  },
  {
    name: "that changes what was added before",
    what: () => patch("made", debugging({ ...one, name: "there", image: "other" })),
    code: 422,
    message: /Forbidden: existing ephemeral containers "there" may not be changed/,
  },
  {
    name: "of a pod's name",
    what: ({ spec }) => {
      return {
        method: "POST",
        path: PODS,
        body: JSON.stringify({ kind: "Pod", metadata: { name: "made" }, spec }),
      };
    },
    code: 409,
    message: /^pods "made" already exists$/,
  },
  {
    name: "of a pod whose name leads out of its folder",
    what: ({ spec }) => {
      const metadata = { name: "../made" };
      return { method: "POST", path: PODS, body: JSON.stringify({ kind: "Pod", metadata, spec }) };
    },
    code: 422,
    message: /^Pod "\.\.\/made" is invalid: metadata\.name: Invalid value/,
  },
  {
    name: "of a container whose name leads out of its folder",
    what: () => patch("made", debugging({ ...one, name: "../../x" })),
    code: 422,
    message: /spec\.ephemeralContainers\[1\]\.name: Invalid value/,
  },
  {
    name: "of a pod in a namespace that is not there",
    what: ({ spec }) => {
      const body = JSON.stringify({ kind: "Pod", metadata: { name: "x" }, spec });
      return { user: "root", method: "POST", path: "/api/v1/namespaces/..%2f..%2fx/pods", body };
    },
    code: 404,
    message: /^namespaces ".*" not found$/,
  },
  {
    name: "of a pod without containers",
    what: () => {
      const body = JSON.stringify({ kind: "Pod", metadata: { name: "x" }, spec: {} });
      return { method: "POST", path: PODS, body };
    },
    code: 422,
    message: /spec\.containers: Required value$/,
  },
];
for (const { name, what, code, message } of UNWRITTEN) {
  test(`the API refuses a write ${name}, and writes nothing`, async () => {
    await withPod("made", async () => {
      const before = await json(patch("made", debugging({ name: "there", image: "busybox" })));
      const answer = await ask(what(before));
      const status = await answer.json();
      assert.match(status.message, message);
      assert.deepEqual([answer.status, status.code, status.kind], [code, code, "Status"]);
      assert.deepEqual(await json({ path: `${PODS}/made` }), before);
    });
  });
}

test("a followed log goes on where it was", async () => {
  log.append("one");
  log.append("two");
  const answer = await ask({
    path: "/api/v1/namespaces/default/pods/web/log?container=web&tailLines=1&follow=true",
  });
  const reader = answer.body!.pipeThrough(new TextDecoderStream()).getReader();
  assert.equal((await reader.read()).value, "two\n");
  log.append("three");
  assert.equal((await reader.read()).value, "three\n");
  await reader.cancel();
});

const TOKENS = [
  { name: "alice's token", token: () => tokenOf(users, "alice"), audiences: [], username: "alice" },
  {
    name: "a token for the API server",
    token: () => tokenOf(users, "bob"),
    audiences: ["https://kubernetes.default.svc"],
    username: "bob",
  },
  {
    name: "a token for another audience",
    token: () => tokenOf(users, "bob"),
    audiences: ["vault"],
    username: undefined,
  },
  { name: "nobody's token", token: () => "nobody's", audiences: [], username: undefined },
  { name: "no token", token: () => "", audiences: [], username: undefined },
];
for (const { name, token, audiences, username } of TOKENS) {
  test(`a TokenReview of ${name} names ${username ?? "nobody"}, and does not repeat it`, async () => {
    const review = await create("/apis/authentication.k8s.io/v1/tokenreviews", { token: token(), audiences });
    assert.equal(review.status.authenticated === true, username !== undefined);
    assert.equal(review.status.user.username, username);
    assert.equal(review.spec.token, undefined);
  });
}

const exec = { verb: "create", resource: "pods", subresource: "exec", namespace: "default" };
const ACCESS = [
  { who: "alice", what: exec, allowed: true },
  { who: "alice", what: { ...exec, namespace: "kube-system" }, allowed: false },
  { who: "alice", what: { ...exec, verb: "get" }, allowed: false },
  { who: "alice", what: { verb: "*", group: "*", resource: "*" }, allowed: false },
  { who: "bob", what: exec, allowed: false },
  { who: "bob", what: { ...exec, verb: "get", subresource: "log" }, allowed: true },
  { who: "root", what: { verb: "*", group: "*", resource: "*" }, allowed: true },
  { who: GATEWAY_USER, what: { verb: "create", resource: "nodes", subresource: "proxy" }, allowed: true },
  { who: GATEWAY_USER, what: { verb: "get", resource: "nodes", subresource: "proxy" }, allowed: false },
  { who: GATEWAY_USER, what: { verb: "list", resource: "pods" }, allowed: false },
];
for (const { who, what, allowed } of ACCESS) {
  test(`a SubjectAccessReview says ${allowed ? "yes" : "no"} to ${who} for ${Object.values(what).join(" ")}`, async () => {
    const user = [...users.values()].find(({ username }) => username === who)!;
    const review = await create("/apis/authorization.k8s.io/v1/subjectaccessreviews", {
      user: who,
      groups: user.groups,
      resourceAttributes: what,
    });
    assert.equal(review.status.allowed, allowed);
  });
}

test("root may speak as bob, and may then do no more than bob", async () => {
  const headers = { "Impersonate-User": "bob" };
  const { status } = await json({
    user: "root",
    method: "POST",
    headers,
    path: "/apis/authentication.k8s.io/v1/selfsubjectreviews",
    body: "{}",
  });
  assert.deepEqual(status.userInfo, { username: "bob", uid: "", groups: ["system:authenticated"] });
  const refused = await ask({ user: "root", headers, path: "/api/v1/pods" });
  assert.equal(refused.status, 403);
});

test("kubectl's own encoding is read: auth can-i --list", async () => {
  // What kubectl 1.32 sends: k8s, 0, a runtime.Unknown of SelfSubjectRulesReview whose spec names the namespace.
  const text = (number: number, bytes: Uint8Array) =>
    Buffer.concat([Uint8Array.of(number * 8 + 2, bytes.length), bytes]);
  const spec = text(1, Buffer.from("default"));
  const body = Buffer.concat([Buffer.from("k8s\0"), text(2, text(2, spec))]);
  const { status } = await json({
    user: "bob",
    method: "POST",
    headers: { "Content-Type": "application/vnd.kubernetes.protobuf" },
    path: "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews",
    body,
  });
  const resources = status.resourceRules.flatMap(({ resources }: { resources: string[] }) => resources);
  assert.ok(resources.includes("pods/log"));
  assert.ok(!resources.includes("pods/exec"));
});

test("a body without an end is cut off", async () => {
  const answer = await ask({
    method: "POST",
    path: "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
    headers: { "Content-Length": String(2 << 20) },
    body: " ".repeat(2 << 20),
  });
  assert.equal(answer.status, 413);
});
