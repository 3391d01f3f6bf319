/** Writes of `pods/ephemeralcontainers`: what `kubectl debug` may add to a pod, in every language and against every trick. */

import assert from "node:assert/strict";
import type { V1EphemeralContainer, V1Pod } from "@kubernetes/client-node";
import { tokenOf, type User } from "./support/cluster.ts";
import { Gateway, sharedGateway } from "./support/gateway.ts";
import { type Client, type Endpoint, kubectl } from "./support/kubectl.ts";
import { ASLEEP, IMAGE } from "./support/pods.ts";
import { asAdmin } from "./support/service_account.ts";
import { withoutNames } from "./support/side_by_side.ts";
import { eventually, sleep } from "./support/wait.ts";

const gateway = sharedGateway();

/** Has a plain container, `app`, and a privileged one, `root`. */
const POD = "e2e-debug-policy";
const PODS = "/api/v1/namespaces/default/pods";
const PATH = `${PODS}/${POD}/ephemeralcontainers`;

/** What alice may do here beside what she may always. */
const ROLE = "e2e-debug-alice";

/** One for all requests: a handshake for each would be most of what these tests take. */
let client: Deno.HttpClient | undefined;

Deno.test.beforeAll(async () => {
  const { cluster } = gateway();
  client = Deno.createHttpClient({ caCerts: [await Deno.readTextFile(cluster.paths.caCertificate)] });
  await cleanUp();
  const rights = ["--verb=get,patch,update", "--resource=pods,pods/ephemeralcontainers"];
  await asAdmin(cluster, "create", "role", ROLE, ...rights);
  await asAdmin(cluster, "create", "rolebinding", ROLE, `--role=${ROLE}`, "--user=alice");
  const container = { image: IMAGE, imagePullPolicy: "Never", command: ASLEEP };
  const pod = {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name: POD },
    spec: {
      automountServiceAccountToken: false,
      terminationGracePeriodSeconds: 0,
      containers: [
        { ...container, name: "app" },
        { ...container, name: "root", securityContext: { privileged: true } },
      ],
    },
  };
  const stdin = new TextEncoder().encode(JSON.stringify(pod));
  const created = await kubectl({
    cluster,
    endpoint: cluster.paths,
    user: "admin",
    args: ["create", "-f", "-"],
    stdin,
  });
  assert.equal(created.code, 0, text(created.stderr));
  await asAdmin(cluster, "wait", `pod/${POD}`, "--for=condition=Ready", "--timeout=60s");
  // So that there is a list for a JSON patch to add to.
  await asAdmin(cluster, "debug", POD, `--image=${IMAGE}`, "--profile=general", "-c", "first", "--", "true");
  await eventually("alice may", async () => {
    const may = ["auth", "can-i", "patch", "pods", "--subresource=ephemeralcontainers", "--as=alice", "-q"];
    return (await kubectl({ cluster, endpoint: cluster.paths, user: "admin", args: may })).code === 0 ||
      undefined;
  });
});
Deno.test.afterAll(cleanUp);
Deno.test.afterAll(() => client?.close());

async function cleanUp(): Promise<void> {
  const { cluster } = gateway();
  await asAdmin(cluster, "delete", "pod", POD, "--ignore-not-found", "--now");
  await asAdmin(cluster, "delete", "role,rolebinding", ROLE, "--ignore-not-found");
}

const PROFILES = ["legacy", "general", "baseline", "restricted", "netadmin"];
for (const client of ["websocket", "kubectl-1.34"] as const) {
  for (const profile of PROFILES) {
    live(
      `kubectl debug --profile=${profile} by ${client} adds the same container as at the API server`,
      async () => {
        const direct = await debug(gateway().cluster.paths, { client, profile });
        const through = await debug(gateway(), { client, profile });
        assert.deepEqual([direct.code, through.code], [0, 0], through.stderr);
        const [one, other] = [await ephemeral(direct.container), await ephemeral(through.container)];
        assert.deepEqual({ ...other, name: "" }, { ...one, name: "" });
      },
    );
  }

  live(`kubectl debug --profile=sysadmin by ${client} is for cluster-admins`, async () => {
    const alice = await debug(gateway(), { client, profile: "sysadmin" });
    assert.equal(alice.code, 1);
    assert.equal(
      alice.stderr.split("\n").findLast((line) => line !== ""),
      `Error from server (Forbidden): pods "${POD}" is forbidden: ephemeral container "${alice.container}" of pod ` +
        `"${POD}" sets securityContext.privileged: only cluster-admins may add it (rule ephemeral-container)`,
    );
    assert.equal(await ephemeral(alice.container), undefined);
    const root = await debug(gateway(), { client, profile: "sysadmin", user: "root" });
    assert.equal(root.code, 0, root.stderr);
    assert.equal((await ephemeral(root.container))?.securityContext?.privileged, true);
  });
}

live("a kubectl that knows an older form of the API is told the same as at the API server", async () => {
  const [direct, through] = [
    await debug(gateway().cluster.paths, { client: "kubectl-1.20" }),
    await debug(gateway(), { client: "kubectl-1.20" }),
  ];
  const said = ({ code, stderr, container }: typeof direct) => {
    return [code, withoutNames(gateway(), stderr).replaceAll(container, "<container>")];
  };
  assert.deepEqual(said(through), said(direct));
});

const targets: { target: string; pod?: string; user: "alice" | "root"; refusal?: RegExp }[] = [
  { target: "app", user: "alice" },
  {
    target: "root",
    user: "alice",
    refusal: /targets container "root" of pod ".*", which sets securityContext.privileged/,
  },
  { target: "root", user: "root" },
  {
    target: "hostpid",
    pod: "hostpid",
    user: "alice",
    refusal: /of pod "hostpid" runs with the pod's hostPID/,
  },
];
for (const { target, pod, user, refusal } of targets) {
  live(`kubectl debug --target=${target} is ${refusal ? "refused to" : "open to"} ${user}`, async () => {
    const { code, stderr } = await debug(gateway(), { user, pod, more: [`--target=${target}`] });
    assert.equal(code, refusal ? 1 : 0, stderr);
    if (refusal) assert.match(stderr, refusal);
  });
}

live("where the rule is strict, it guards what a profile adds too", async () => {
  await using strict = await Gateway.start({ policy: { privileged: { strict: true } } });
  for (const profile of ["netadmin", "general"]) {
    const { code, stderr } = await debug(strict, { profile });
    assert.equal(code, 1);
    assert.match(stderr, /sets securityContext.capabilities.add (NET_ADMIN|SYS_PTRACE): only cluster-admins/);
  }
  const { code, stderr } = await debug(strict, { profile: "restricted" });
  assert.equal(code, 0, stderr);
});

/** One and the same addition in every language that the API server takes. */
const languages: {
  name: string;
  method?: string;
  type: string;
  query?(user: string): string;
  body(added: object): string | Promise<string>;
}[] = [
  {
    name: "a JSON patch",
    type: "application/json-patch+json",
    body: (added) => JSON.stringify([{ op: "add", path: "/spec/ephemeralContainers/-", value: added }]),
  },
  {
    name: "a JSON patch that takes its precondition away",
    type: "application/json-patch+json",
    body: (added) =>
      JSON.stringify([
        { op: "remove", path: "/metadata/resourceVersion" },
        { op: "add", path: "/spec/ephemeralContainers/-", value: added },
      ]),
  },
  {
    name: "a JSON patch that copies a privileged neighbour's settings",
    type: "application/json-patch+json",
    body: ({ securityContext, ...added }: { securityContext?: object }) =>
      JSON.stringify([
        { op: "add", path: "/spec/ephemeralContainers/0", value: { ...added, securityContext: {} } },
        ...securityContext === undefined ? [] : [{
          op: "copy",
          from: "/spec/containers/1/securityContext/privileged",
          path: "/spec/ephemeralContainers/0/securityContext/privileged",
        }],
      ]),
  },
  {
    name: "a strategic merge patch",
    type: "application/strategic-merge-patch+json",
    body: (added) => JSON.stringify({ spec: { ephemeralContainers: [added] } }),
  },
  {
    name: "a merge patch",
    type: "application/merge-patch+json",
    body: async (added) =>
      JSON.stringify({ spec: { ephemeralContainers: [...await allEphemeral(), added] } }),
  },
  {
    name: "a PUT",
    method: "PUT",
    type: "application/json",
    body: async (added) => JSON.stringify(withAdded(await read(), added)),
  },
  {
    name: "a PUT that is held to no version",
    method: "PUT",
    type: "application/json",
    body: async (added) => {
      const pod = withAdded(await read(), added);
      return JSON.stringify({ ...pod, metadata: { ...pod.metadata, resourceVersion: "0" } });
    },
  },
  {
    name: "an apply in JSON",
    type: "application/apply-patch+yaml",
    // What a manager applied before, and applies no more, it takes away.
    query: (user) => `?fieldManager=e2e-${user}&force=true`,
    body: (added) =>
      JSON.stringify({
        apiVersion: "v1",
        kind: "Pod",
        metadata: { name: POD },
        spec: { ephemeralContainers: [added] },
      }),
  },
  {
    name: "an apply in YAML",
    type: "application/apply-patch+yaml",
    query: (user) => `?fieldManager=e2e-yaml-${user}`,
    body: (added) =>
      `apiVersion: v1\nkind: Pod\nmetadata:\n  name: ${POD}\nspec:\n  ephemeralContainers:\n  - ${
        JSON.stringify(added)
      }\n`,
  },
];
for (const { name, method = "PATCH", type, query = () => "", body } of languages) {
  live(`${name} adds a plain container, and no privileged one`, async () => {
    // A PUT that is held to the version that was read may come too late: the pod's containers start meanwhile.
    const send = (user: "alice" | "root", added: object) =>
      eventually("an answer that is no conflict", async () => {
        const answer = await ask(gateway().url, user, `${PATH}${query(user)}`, {
          method,
          type,
          body: await body(added),
        });
        return answer.code === 409 ? undefined : answer;
      });
    const refused = await send("alice", { ...container("no"), securityContext: { privileged: true } });
    assert.equal(refused.code, 403, refused.body);
    assert.match(refused.body, /sets securityContext.privileged: only cluster-admins/);
    const plain = container("yes");
    const accepted = await send("alice", plain);
    assert.equal(accepted.code, 200, accepted.body);
    assert.notEqual(await ephemeral(plain.name), undefined);
    const privileged = { ...container("root"), securityContext: { privileged: true } };
    const admin = await send("root", privileged);
    assert.equal(admin.code, 200, admin.body);
    assert.equal((await ephemeral(privileged.name))?.securityContext?.privileged, true);
    assert.ok((await allEphemeral()).every(({ name }) => !name.startsWith("no-")));
  });
}

/**
 * The race: while somebody changes an annotation again and again, they add containers whose target is copied from it. Was
 * it `app` when it was decided about, it must not be `root` when it is written.
 */
live("attack: no container's target changes between what was decided and what is written", async () => {
  const flipped = "e2e/target";
  let isOver = false;
  let flips = 0;
  const flip = async () => {
    while (!isOver) {
      const value = flips++ % 2 === 0 ? "root" : "app";
      const body = JSON.stringify({ metadata: { annotations: { [flipped]: value } } });
      const { code } = await ask(gateway().cluster.apiServerUrl, "alice", `${PODS}/${POD}`, {
        type: MERGE,
        body,
      });
      assert.ok(code === 200 || code === 409);
      await sleep(Math.random() * 60); // so that now and then a write has the time that it takes
    }
  };
  const flipping = flip();
  const codes = new Map<number, number>();
  await eventually("the annotation changes", () => flips > 2 || undefined);
  const isTried = () => codes.has(200) && codes.has(403);
  for (let attempt = 0; attempt < 100 && (attempt < 25 || !isTried()); attempt++) {
    const body = JSON.stringify([
      { op: "add", path: "/spec/ephemeralContainers/0", value: container("race") },
      {
        op: "copy",
        from: "/metadata/annotations/e2e~1target",
        path: "/spec/ephemeralContainers/0/targetContainerName",
      },
    ]);
    const { code } = await ask(gateway().url, "alice", PATH, { type: "application/json-patch+json", body });
    codes.set(code, (codes.get(code) ?? 0) + 1);
  }
  isOver = true;
  await flipping;
  const raced = (await allEphemeral()).filter(({ name }) => name.startsWith("race-"));
  assert.deepEqual(raced.filter(({ targetContainerName }) => targetContainerName !== "app"), []);
  assert.equal(raced.length, codes.get(200) ?? 0);
  assert.ok(isTried(), `both were tried: ${JSON.stringify([...codes])}`);
});
const MERGE = "application/merge-patch+json";

/** The safety of it all hangs on the API server's honouring the precondition whatever else a patch says. */
const directives: { name: string; patch: object }[] = [
  { name: "none", patch: {} },
  { name: "$patch: replace", patch: { $patch: "replace" } },
  { name: "$patch: delete", patch: { $patch: "delete" } },
  { name: "$retainKeys", patch: { $retainKeys: ["spec"] } },
  {
    name: "$patch: replace of metadata",
    patch: { metadata: { $patch: "replace", name: POD, namespace: "default" } },
  },
  { name: "$patch: delete of metadata", patch: { metadata: { $patch: "delete" } } },
  { name: "$patch: merge of metadata", patch: { metadata: { $patch: "merge" } } },
  { name: "$retainKeys of metadata", patch: { metadata: { $retainKeys: ["name"], name: POD } } },
  { name: "a version of another case", patch: { metadata: { ResourceVersion: "" } } },
  { name: "metadata of another case", patch: { Metadata: { resourceVersion: "" } } },
];
for (const type of ["application/strategic-merge-patch+json", MERGE]) {
  for (const { name, patch } of directives) {
    live(
      `the API server holds a patch to its version whatever its directives: ${name}, ${type}`,
      async () => {
        const metadata = { ...("metadata" in patch ? patch.metadata as object : {}), resourceVersion: "1" };
        const body = JSON.stringify({
          ...patch,
          metadata,
          spec: { ephemeralContainers: [container("held")] },
        });
        for (const url of [gateway().cluster.apiServerUrl, gateway().url]) {
          const { code, body: said } = await ask(url, "root", PATH, { type, body });
          assert.ok(code >= 400, `${code}: ${said}`);
        }
      },
    );
  }
}

const same: {
  name: string;
  user: "bob" | "alice" | "root";
  path?: string;
  type?: string;
  body: () => Promise<string>;
}[] = [
  { name: "who may not", user: "bob", body: () => Promise.resolve("{}") },
  {
    name: "no such pod",
    user: "root",
    path: `${PODS}/nosuch/ephemeralcontainers`,
    body: () => Promise.resolve("{}"),
  },
  {
    name: "no such pod, for whom may not",
    user: "bob",
    path: `${PODS}/nosuch/ephemeralcontainers`,
    body: () => Promise.resolve("{}"),
  },
  {
    name: "a container that was there and is changed",
    user: "root",
    body: async () => {
      const [first, ...rest] = await allEphemeral();
      return JSON.stringify({ spec: { ephemeralContainers: [{ ...first, image: "other" }, ...rest] } });
    },
  },
  {
    name: "containers taken away",
    user: "alice",
    body: () => Promise.resolve(JSON.stringify({ spec: { ephemeralContainers: [] } })),
  },
  {
    name: "a container without image",
    user: "alice",
    type: "application/strategic-merge-patch+json",
    body: () => Promise.resolve(JSON.stringify({ spec: { ephemeralContainers: [{ name: "no-image" }] } })),
  },
  {
    name: "a target that is not there",
    user: "alice",
    type: "application/strategic-merge-patch+json",
    body: () => {
      const added = { ...container("nobody"), name: "nobody", targetContainerName: "nobody" };
      return Promise.resolve(JSON.stringify({ spec: { ephemeralContainers: [added] } }));
    },
  },
  {
    name: "a field manager's conflict",
    user: "alice",
    path: `${PATH}?fieldManager=another`,
    type: "application/apply-patch+yaml",
    body: async () => {
      const owned = (await allEphemeral()).find(({ name }) => name.startsWith("root-"))!;
      const added = { ...container("x"), name: owned.name, securityContext: { privileged: false } };
      return JSON.stringify({
        apiVersion: "v1",
        kind: "Pod",
        metadata: { name: POD },
        spec: { ephemeralContainers: [added] },
      });
    },
  },
  {
    name: "an option that is none",
    user: "root",
    path: `${PATH}?dryRun=all`,
    body: () => Promise.resolve("{}"),
  },
];
for (const { name, user, path = PATH, type = MERGE, body } of same) {
  live(`what the API server refuses is refused in its words: ${name}`, async () => {
    const sent = { type, body: await body() };
    const direct = await ask(gateway().cluster.apiServerUrl, user, path, sent);
    assert.ok(direct.code >= 400, direct.body);
    const through = await ask(gateway().url, user, path, sent);
    assert.deepEqual([through.code, through.body], [direct.code, direct.body]);
  });
}

live("a trial stays one, and is decided about", async () => {
  const added = container("trial");
  const trial = (securityContext: object) => {
    const body = JSON.stringify({ spec: { ephemeralContainers: [{ ...added, securityContext }] } });
    const type = "application/strategic-merge-patch+json";
    return ask(gateway().url, "alice", `${PATH}?dryRun=All`, { type, body });
  };
  assert.equal((await trial({})).code, 200);
  assert.equal((await trial({ privileged: true })).code, 403);
  assert.equal(await ephemeral(added.name), undefined);
});

live("what was added is written down, by whom, and under which ID the API server has it", async () => {
  const added = container("audited");
  const body = JSON.stringify({ spec: { ephemeralContainers: [added] } });
  const { auditId } = await ask(gateway().url, "alice", PATH, {
    type: "application/strategic-merge-patch+json",
    body,
  });
  const events = await eventually("its events", async () => {
    const all = (await gateway().events()).filter(({ auditID }) => auditID === auditId);
    return all.length === 2 ? all : undefined;
  });
  const [decision, response] = events;
  assert.deepEqual(events.map(({ annotations }) => annotations["postern.dev/event"]), [
    "decision",
    "response",
  ]);
  assert.deepEqual([decision!.user.username, decision!.verb], ["alice", "patch"]);
  assert.equal(decision!.objectRef?.subresource, "ephemeralcontainers");
  assert.equal(decision!.annotations["postern.dev/container"], added.name);
  assert.equal(decision!.annotations["postern.dev/image"], IMAGE);
  assert.equal(response!.responseStatus?.code, 200);
  await eventually("the API server has it, too", async () => {
    const log = await Deno.readTextFile(gateway().cluster.paths.apiServerAuditLog);
    const known = log.split("\n").filter((line) => line.includes(auditId!));
    const isIt = (line: string) =>
      line.includes('"stage":"ResponseComplete"') && line.includes("/ephemeralcontainers");
    return known.some(isIt) || undefined;
  });
});

live("reading ephemeral containers is no write", async () => {
  const direct = await ask(gateway().cluster.apiServerUrl, "alice", PATH, { method: "GET" });
  const through = await ask(gateway().url, "alice", PATH, { method: "GET" });
  assert.deepEqual([through.code, JSON.parse(through.body).metadata.name], [direct.code, POD]);
});

function live(name: string, fn: () => Promise<void>): void {
  Deno.test({ name, fn, sanitizeOps: true, sanitizeResources: true });
}

/** Runs `kubectl debug`, which adds a container of a name of its own and does not wait for it. */
async function debug(
  endpoint: Endpoint,
  { client = "websocket", user = "alice", profile = "general", pod = POD, more = [] }: {
    client?: Client;
    user?: User;
    profile?: string;
    pod?: string | undefined;
    more?: readonly string[];
  } = {},
) {
  const { name } = container("dbg");
  // Which has no profiles, and needs to be told that it may.
  const [start, profiles] = client === "kubectl-1.20"
    ? [["alpha", "debug"], []]
    : [["debug"], [`--profile=${profile}`]];
  const args = [
    ...start,
    pod,
    `--image=${IMAGE}`,
    "--image-pull-policy=Never",
    ...profiles,
    "-c",
    name,
    ...more,
    "--",
    "true",
  ];
  const { code, stderr } = await kubectl({ cluster: gateway().cluster, endpoint, client, user, args });
  return { code, stderr: text(stderr), container: name };
}

function container(prefix: string) {
  const name = `${prefix}-${crypto.randomUUID().slice(0, 8)}`;
  return { name, image: IMAGE, imagePullPolicy: "Never", command: ["true"] };
}

function withAdded(pod: V1Pod, added: object) {
  return {
    ...pod,
    spec: { ...pod.spec, ephemeralContainers: [...pod.spec?.ephemeralContainers ?? [], added] },
  };
}

async function read(): Promise<V1Pod> {
  return JSON.parse(await asAdmin(gateway().cluster, "get", "pod", POD, "-o", "json"));
}

async function allEphemeral(): Promise<V1EphemeralContainer[]> {
  return (await read()).spec?.ephemeralContainers ?? [];
}

async function ephemeral(name: string): Promise<V1EphemeralContainer | undefined> {
  return (await allEphemeral()).find((each) => each.name === name);
}

async function ask(
  url: string,
  user: Exclude<User, "admin">,
  path: string,
  { method = "PATCH", type, body }: { method?: string; type?: string; body?: string },
) {
  const headers = new Headers({ Authorization: `Bearer ${await tokenOf(gateway().cluster, user)}` });
  if (type !== undefined) headers.set("Content-Type", type);
  const init = { method, headers, client: client!, ...(body !== undefined && { body }) };
  const answer = await fetch(url + path, init);
  return { code: answer.status, body: await answer.text(), auditId: answer.headers.get("Audit-Id") };
}

function text(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
}
