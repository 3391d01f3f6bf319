/**
 * Who can go around the gateway: what `postern doctor` reads out of RBAC is what the real API server answers, asked as `kubectl auth
 * can-i --as` asks it, for a table of subjects and rights and for roles and bindings that chance makes.
 */

import assert from "node:assert/strict";
import fc from "fast-check";
import { type Grant, grantsAround } from "../../cli/doctor/bypass.ts";
import { gatherRbac } from "../../cli/doctor/around.ts";
import { isSubject } from "../../cli/doctor/rbac.ts";
import { KubeClient } from "../../kube/client.ts";
import { CredentialSource } from "../../kube/credentials.ts";
import { readKubeconfig } from "../../kube/kubeconfig.ts";
import { type Cluster, runningCluster, tokenOf } from "./support/cluster.ts";
import { kubectl } from "./support/kubectl.ts";
import { asAdmin } from "./support/service_account.ts";
import { eventually } from "./support/wait.ts";
import type { Rule } from "./support/ward.ts";

/** Whoever may do one of these opens sessions without the gateway. */
const RIGHTS = [
  ...["exec", "attach", "portforward"].flatMap((sub) => [`create pods/${sub}`, `get pods/${sub}`]),
  ...["update", "patch"].map((verb) => `${verb} pods/ephemeralcontainers`),
  ...["create", "get", "update", "patch", "delete"].map((verb) => `${verb} nodes/proxy`),
];

/** Where is asked: everywhere or in a namespace, for all objects or for one. */
interface Place {
  namespace: string;
  name: string;
}

/** Nodes are in no namespace. */
const PLACES: Readonly<Record<"pods" | "nodes", readonly Place[]>> = {
  pods: [
    { namespace: "", name: "" },
    { namespace: "default", name: "" },
    { namespace: "default", name: "web" },
    { namespace: "kube-system", name: "web" },
  ],
  nodes: [{ namespace: "", name: "" }, { namespace: "", name: "web" }],
};

type Scope = "cluster" | "cluster role in default" | "role in default";

/** One role, and its binding to one subject of its own. */
interface Case {
  name: string;
  rules: readonly Rule[];
  scope: Scope;
}

const core = (resources: string[], verbs: string[], resourceNames?: string[]): Rule => ({
  apiGroups: [""],
  resources,
  verbs,
  ...(resourceNames && { resourceNames }),
});

const CASES: readonly Case[] = [
  { name: "exec-here", scope: "role in default", rules: [core(["pods/exec"], ["create"])] },
  { name: "exec-by-get", scope: "role in default", rules: [core(["pods/exec"], ["get"])] },
  { name: "attach-here", scope: "cluster role in default", rules: [core(["pods/attach"], ["*"])] },
  { name: "forward", scope: "cluster", rules: [core(["pods/portforward"], ["create", "get"])] },
  { name: "debug", scope: "cluster", rules: [core(["pods/ephemeralcontainers"], ["patch"])] },
  { name: "debug-update", scope: "role in default", rules: [core(["pods/ephemeralcontainers"], ["update"])] },
  { name: "all", scope: "cluster", rules: [{ apiGroups: ["*"], resources: ["*"], verbs: ["*"] }] },
  { name: "all-here", scope: "role in default", rules: [core(["*"], ["*"])] },
  { name: "reads-all", scope: "cluster", rules: [core(["*"], ["get", "list", "watch"])] },
  { name: "any-exec", scope: "cluster", rules: [core(["*/exec"], ["create"])] },
  { name: "any-proxy", scope: "cluster", rules: [core(["*/proxy"], ["get"])] },
  { name: "one-pod", scope: "role in default", rules: [core(["pods/exec"], ["create"], ["web"])] },
  { name: "no-names", scope: "cluster", rules: [core(["pods/exec"], ["create"], [])] },
  { name: "one-node", scope: "cluster", rules: [core(["nodes/proxy"], ["get"], ["web"])] },
  { name: "nodes-bare-get", scope: "cluster", rules: [core(["nodes/proxy"], ["get"])] },
  { name: "nodes-patch", scope: "cluster", rules: [core(["nodes/proxy"], ["patch"])] },
  // What looks like it, and gives nothing.
  { name: "nodes-here", scope: "cluster role in default", rules: [core(["nodes/proxy"], ["*"])] },
  {
    name: "other-group",
    scope: "cluster",
    rules: [{ ...core(["pods/exec"], ["create"]), apiGroups: ["apps"] }],
  },
  {
    name: "postern-group",
    scope: "cluster",
    rules: [{ ...core(["pods/exec"], ["*"]), apiGroups: ["postern.dev"] }],
  },
  { name: "pods-alone", scope: "cluster", rules: [core(["pods", "nodes"], ["*"])] },
  { name: "pods-star", scope: "cluster", rules: [core(["pods/*", "*/*", "pods/"], ["*"])] },
  { name: "exec-listed", scope: "cluster", rules: [core(["pods/exec"], ["list", "watch", "delete"])] },
  { name: "exec-prefix", scope: "cluster", rules: [core(["pods/execute", "pod/exec"], ["create"])] },
];

/** Words that rules are made of by chance: those that matter, and those beside them. */
const randomRule = fc.record({
  apiGroups: fc.subarray(["", "*", "apps", "postern.dev"], { minLength: 1, maxLength: 2 }),
  resources: fc.subarray(
    [
      "pods/exec",
      "pods/attach",
      "pods/portforward",
      "pods/ephemeralcontainers",
      "nodes/proxy",
      "pods",
      "nodes",
    ]
      .concat(["*", "*/exec", "*/proxy", "*/*", "pods/*", "services/proxy"]),
    { minLength: 1, maxLength: 3 },
  ),
  verbs: fc.subarray(["create", "get", "update", "patch", "delete", "list", "*"], {
    minLength: 1,
    maxLength: 3,
  }),
  resourceNames: fc.option(fc.subarray(["web", "shell"]), { nil: undefined, freq: 3 }),
}).map(({ resourceNames, ...rule }) => resourceNames === undefined ? rule : { ...rule, resourceNames });

const randomCase = fc.record({
  rules: fc.array(randomRule, { minLength: 1, maxLength: 2 }),
  scope: fc.constantFrom<Scope>("cluster", "cluster role in default", "role in default"),
});

/** Always the same: what fails once can be looked at. */
const CHANCE = fc.sample(randomCase, { numRuns: 16, seed: 7 });

/** Whom the API server knows somebody by. */
interface Identity {
  username: string;
  groups: readonly string[];
}

/** Roles and bindings that are this test's own, and go with it. */
class Rbac implements AsyncDisposable {
  /** Who each case is for, by its name. */
  readonly subjects = new Map<string, Identity>();
  readonly #objects: object[] = [];

  constructor(readonly cluster: Cluster, readonly prefix: string) {}

  /** A role bound to a user who has nothing else. */
  addUser({ name, rules, scope }: Case): void {
    const user = `${this.prefix}-${name}`;
    this.#bind(name, scope, { rules }, { kind: "User", name: user });
    this.subjects.set(name, { username: user, groups: ["system:authenticated"] });
  }

  /** Roles bound to others than users, and one that others are aggregated into. */
  addOthers(): void {
    const exec = { rules: [core(["pods/exec"], ["create"])] };
    const called = (name: string) => `${this.prefix}-${name}`;
    this.#bind("group", "cluster", exec, { kind: "Group", name: called("group") });
    const groups = [called("group"), "system:authenticated"];
    this.subjects.set("group", { username: called("member"), groups });

    const account = { kind: "ServiceAccount", name: called("account"), namespace: "default" };
    this.#bind("account", "role in default", exec, account);
    this.subjects.set("account", accountOf("default", called("account")));

    const named = accountOf("kube-system", called("named"));
    this.#bind("account-as-user", "cluster", exec, { kind: "User", name: named.username });
    this.subjects.set("account-as-user", named);

    const space = called("space");
    this.#bind("accounts", "cluster", exec, { kind: "Group", name: `system:serviceaccounts:${space}` });
    this.subjects.set("accounts", accountOf(space, "any"));

    const matchLabels = { [`${this.prefix}.postern.test/aggregate`]: "true" };
    this.#add("ClusterRole", "source", { rules: [core(["*/attach"], ["get"])] }, matchLabels);
    const aggregated = { rules: [], aggregationRule: { clusterRoleSelectors: [{ matchLabels }] } };
    const user = { kind: "User", name: called("aggregated") };
    this.#bind("aggregated", "cluster", aggregated, user);
    this.subjects.set("aggregated", { username: user.name, groups: ["system:authenticated"] });

    this.subjects.set("nobody", { username: called("nobody"), groups: ["system:authenticated"] });
  }

  async apply(): Promise<void> {
    const file = await Deno.makeTempFile({ suffix: ".json" });
    try {
      const list = { apiVersion: "v1", kind: "List", items: this.#objects };
      await Deno.writeTextFile(file, JSON.stringify(list));
      await asAdmin(this.cluster, "create", "-f", file);
    } finally {
      await Deno.remove(file);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const ours = ["-l", `postern.test/run=${this.prefix}`, "--ignore-not-found"];
    await asAdmin(this.cluster, "delete", "clusterrolebindings,clusterroles", ...ours);
    await asAdmin(this.cluster, "-n", "default", "delete", "rolebindings,roles", ...ours);
  }

  #bind(name: string, scope: Scope, role: object, subject: { kind: string; name: string }): void {
    const kind = scope === "role in default" ? "Role" : "ClusterRole";
    const apiGroup = "rbac.authorization.k8s.io";
    this.#add(kind, name, role);
    this.#add(scope === "cluster" ? "ClusterRoleBinding" : "RoleBinding", name, {
      roleRef: { apiGroup, kind, name: `${this.prefix}-${name}` },
      subjects: [subject.kind === "ServiceAccount" ? subject : { apiGroup, ...subject }],
    });
  }

  #add(kind: string, name: string, body: object, labels: Record<string, string> = {}): void {
    this.#objects.push({
      apiVersion: "rbac.authorization.k8s.io/v1",
      kind,
      metadata: {
        name: `${this.prefix}-${name}`,
        ...(!kind.startsWith("Cluster") && { namespace: "default" }),
        labels: { "postern.test/run": this.prefix, ...labels },
      },
      ...body,
    });
  }
}

function accountOf(namespace: string, name: string): Identity {
  const groups = ["system:serviceaccounts", `system:serviceaccounts:${namespace}`, "system:authenticated"];
  return { username: `system:serviceaccount:${namespace}:${name}`, groups };
}

/** One question, and what the doctor says to it. */
interface Question extends Place {
  about: string;
  identity: Identity;
  right: string;
  expected: boolean;
}

/** Whether one of the doctor's grants is the right that is asked about. */
function isGranted(grants: readonly Grant[], identity: Identity, right: string, { namespace, name }: Place) {
  return grants.some((grant) =>
    isSubject(grant, identity) && grant.permissions.includes(right) &&
    (grant.namespace === undefined || grant.namespace === namespace) &&
    (grant.resourceNames === undefined || grant.resourceNames.includes(name))
  );
}

/** Those that the API server does not know of by itself. At most one: `fetch` sends no header twice. */
function ownGroups({ groups }: Identity): string[] {
  const own = groups.filter((group) => !group.startsWith("system:"));
  assert.ok(own.length <= 1);
  return own;
}

/** As `kubectl auth can-i --as` asks, by one who may pass for everybody. */
async function mayDo(client: KubeClient, token: string, { identity, right, ...place }: Question) {
  const [verb = "", whole = ""] = right.split(" ");
  const [resource = "", subresource = ""] = whole.split("/");
  const headers = new Headers({ "Authorization": `Bearer ${token}`, "Content-Type": "application/json" });
  headers.set("Impersonate-User", identity.username);
  for (const group of ownGroups(identity)) headers.set("Impersonate-Group", group);
  const review = {
    apiVersion: "authorization.k8s.io/v1",
    kind: "SelfSubjectAccessReview",
    spec: { resourceAttributes: { group: "", version: "v1", resource, subresource, verb, ...place } },
  };
  const answer = await client.forward({
    method: "POST",
    target: "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
    headers,
    body: new Blob([JSON.stringify(review)]).stream(),
    signal: AbortSignal.timeout(30_000),
  });
  assert.equal(answer.status, 201);
  return (await answer.json()).status.allowed === true;
}

/** How many questions are under way at once. */
const AT_ONCE = 8;

/** Those that the API server answers otherwise than the doctor. */
async function disputed(client: KubeClient, token: string, questions: readonly Question[]) {
  const found: Question[] = [];
  const left = [...questions];
  const work = async () => {
    for (let question = left.pop(); question !== undefined; question = left.pop()) {
      if (await mayDo(client, token, question) !== question.expected) found.push(question);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  return found;
}

Deno.test({
  name:
    "postern doctor's list of who can go around is what the API server answers, for every subject and right",
  sanitizeOps: true,
  sanitizeResources: true,
  fn: async (t) => {
    const cluster = await runningCluster();
    const prefix = `around-${crypto.randomUUID().slice(0, 8)}`;
    await using rbac = new Rbac(cluster, prefix);
    for (const one of CASES) rbac.addUser(one);
    CHANCE.forEach((one, index) => rbac.addUser({ name: `chance-${index}`, ...one }));
    rbac.addOthers();
    await rbac.apply();

    const connection = await readKubeconfig(cluster.paths.kubeconfig, "admin");
    const credentials = new CredentialSource(connection);
    using client = new KubeClient({ server: connection.server, credentials, timeoutMs: 30_000 });
    const token = await tokenOf(cluster, "root");
    const grants = grantsAround(await gatherRbac(client));
    const questions = [...rbac.subjects].flatMap(([about, identity]) =>
      RIGHTS.flatMap((right) =>
        PLACES[right.includes("nodes") ? "nodes" : "pods"].map((place): Question => {
          return { about, identity, right, ...place, expected: isGranted(grants, identity, right, place) };
        })
      )
    );

    await t.step("each answer is the same", async () => {
      // The API server's authorizer knows of what was written a moment later.
      let left: readonly Question[] = questions;
      try {
        await eventually("they agree", async () => {
          left = await disputed(client, token, left);
          return left.length === 0 || undefined;
        }, { deadlineMs: 120_000, everyMs: 250 });
      } catch {
        assert.deepEqual(left, []);
      }
      // Both answers were given, by cases that were meant to have them and by chance.
      for (const isByChance of [true, false]) {
        const some = questions.filter(({ about }) => about.startsWith("chance-") === isByChance);
        const yes = some.filter(({ expected }) => expected).length;
        assert.ok(yes > 20 && yes < some.length - 20, `${yes} of ${some.length}`);
      }
    });

    await t.step("and what it names is what was meant", () => {
      const named = (name: string) =>
        grants.filter(({ subject }) => subject.name === `${prefix}-${name}`).flatMap(({ permissions }) =>
          permissions
        );
      assert.deepEqual(named("exec-by-get"), ["get pods/exec"]);
      assert.deepEqual(named("nodes-bare-get"), ["get nodes/proxy"]);
      assert.deepEqual(named("all").sort(), [...RIGHTS].sort());
      const [aggregated] = grants.filter(({ subject }) => subject.name === `${prefix}-aggregated`);
      assert.deepEqual([aggregated?.permissions, aggregated?.aggregatedFrom], [["get pods/attach"], [
        `${prefix}-source`,
      ]]);
      const nothing = [
        "nodes-here",
        "other-group",
        "postern-group",
        "pods-alone",
        "pods-star",
        "exec-listed",
        "exec-prefix",
      ];
      assert.deepEqual(nothing.flatMap(named), []);
    });

    await t.step("kubectl auth can-i says so, too", async () => {
      const rows = [
        ["group", "create pods/exec", "yes"],
        ["nodes-bare-get", "get nodes/proxy", "yes"],
        ["exec-by-get", "create pods/exec", "no"],
        ["pods-star", "create pods/exec", "no"],
        ["account", "create pods/exec", "yes"],
      ] as const;
      const place = { namespace: "default", name: "" };
      for (const [name, right, answer] of rows) {
        const identity = rbac.subjects.get(name);
        assert.ok(identity);
        assert.equal(isGranted(grants, identity, right, place) ? "yes" : "no", answer, name);
        const [verb = "", whole = ""] = right.split(" ");
        const [resource = "", subresource = ""] = whole.split("/");
        const asked = ["auth", "can-i", verb, resource, `--subresource=${subresource}`, "-n", "default"];
        const groups = ownGroups(identity).map((group) => `--as-group=${group}`);
        const args = [...asked, `--as=${identity.username}`, ...groups];
        const { stdout } = await kubectl({ cluster, endpoint: cluster.paths, user: "admin", args });
        assert.equal(new TextDecoder().decode(stdout).trim(), answer, name);
      }
    });
  },
});
