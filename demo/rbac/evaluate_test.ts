import assert from "node:assert/strict";
import { evaluate, type Policy, type PolicyRule, type Request, rulesFor } from "./evaluate.ts";

/** A policy in which alice has one rule, in `default` or, without a namespace, everywhere. */
function policy(rule: PolicyRule, namespace?: string): Policy {
  const kind = namespace === undefined ? "ClusterRole" : "Role";
  return {
    roles: [{ name: "r", namespace, rules: [rule] }],
    bindings: [{
      name: "b",
      namespace,
      subjects: [{ kind: "User", name: "alice" }],
      roleRef: { kind, name: "r" },
    }],
  };
}

const ALICE = { username: "alice", groups: ["dev"] };
const EXEC: Request = {
  verb: "create",
  group: "",
  resource: "pods",
  subresource: "exec",
  namespace: "default",
  name: "web",
};
const rule = (changes: Partial<PolicyRule>): PolicyRule => ({
  verbs: ["create"],
  apiGroups: [""],
  resources: ["pods/exec"],
  ...changes,
});

const CASES: { name: string; rule: PolicyRule; request?: Request; allowed: boolean }[] = [
  { name: "what it names", rule: rule({}), allowed: true },
  { name: "another verb", rule: rule({ verbs: ["get"] }), allowed: false },
  { name: "another group", rule: rule({ apiGroups: ["apps"] }), allowed: false },
  { name: "the resource without its subresource", rule: rule({ resources: ["pods"] }), allowed: false },
  { name: "every subresource of that name", rule: rule({ resources: ["*/exec"] }), allowed: true },
  { name: "everything", rule: { verbs: ["*"], apiGroups: ["*"], resources: ["*"] }, allowed: true },
  { name: "the pod that it names", rule: rule({ resourceNames: ["web"] }), allowed: true },
  { name: "another pod", rule: rule({ resourceNames: ["db"] }), allowed: false },
  {
    name: "another namespace",
    rule: rule({}),
    request: { ...EXEC, namespace: "kube-system" },
    allowed: false,
  },
  {
    name: "all namespaces, from a role of one",
    rule: rule({}),
    request: { ...EXEC, namespace: undefined },
    allowed: false,
  },
  {
    name: "a URL",
    rule: { verbs: ["get"], nonResourceURLs: ["/apis/*"] },
    request: { verb: "get", path: "/apis/apps" },
    allowed: true,
  },
  {
    name: "another URL",
    rule: { verbs: ["get"], nonResourceURLs: ["/apis/*"] },
    request: { verb: "get", path: "/metrics" },
    allowed: false,
  },
];
for (const { name, rule, request = EXEC, allowed } of CASES) {
  Deno.test(`a rule ${allowed ? "allows" : "does not allow"} ${name}`, () => {
    const where = policy(rule, "path" in request ? undefined : "default");
    assert.equal(evaluate(where, ALICE, request) !== undefined, allowed);
  });
}

const SUBJECTS = [
  { kind: "User", name: "alice", allowed: true },
  { kind: "User", name: "bob", allowed: false },
  { kind: "Group", name: "dev", allowed: true },
  { kind: "Group", name: "alice", allowed: false },
  { kind: "ServiceAccount", name: "alice", allowed: false },
] as const;
for (const { kind, name, allowed } of SUBJECTS) {
  Deno.test(`alice of group dev ${allowed ? "is" : "is not"} ${kind} ${name}`, () => {
    const given = policy(rule({}), "default");
    const bindings = given.bindings.map((binding) => ({ ...binding, subjects: [{ kind, name }] }));
    assert.equal(evaluate({ ...given, bindings }, ALICE, EXEC) !== undefined, allowed);
  });
}

Deno.test("a service account is known by its whole name, and the reason names binding, role and subject", () => {
  const given = policy(rule({}), "default");
  const bindings = given.bindings.map((binding) => ({
    ...binding,
    subjects: [{ kind: "ServiceAccount" as const, name: "ci", namespace: "build" }],
  }));
  const requester = { username: "system:serviceaccount:build:ci", groups: [] };
  assert.equal(
    evaluate({ ...given, bindings }, requester, EXEC),
    'RBAC: allowed by RoleBinding "b/default" of Role "r" to ServiceAccount "ci/build"',
  );
});

Deno.test("a service account without a namespace is one of the binding's namespace", () => {
  const given = policy(rule({}), "default");
  const bindings = given.bindings.map((binding) => ({
    ...binding,
    subjects: [{ kind: "ServiceAccount" as const, name: "ci" }],
  }));
  const ask = (username: string) => evaluate({ ...given, bindings }, { username, groups: [] }, EXEC);
  assert.ok(ask("system:serviceaccount:default:ci"));
  assert.equal(ask("system:serviceaccount:build:ci"), undefined);
  assert.equal(ask("system:serviceaccount:undefined:ci"), undefined);
});

Deno.test("a ClusterRole bound in a namespace holds there and nowhere else", () => {
  const given: Policy = {
    roles: policy(rule({})).roles,
    bindings: policy(rule({}), "default").bindings.map((binding) => ({
      ...binding,
      roleRef: { kind: "ClusterRole", name: "r" },
    })),
  };
  assert.ok(evaluate(given, ALICE, EXEC));
  assert.equal(evaluate(given, ALICE, { ...EXEC, namespace: "kube-system" }), undefined);
});

Deno.test("a binding whose role does not exist gives nothing", () => {
  const { bindings } = policy(rule({}), "default");
  assert.equal(evaluate({ roles: policy(rule({}), "other").roles, bindings }, ALICE, EXEC), undefined);
});

Deno.test("rulesFor lists what holds in a namespace, resources and URLs apart", () => {
  const url: PolicyRule = { verbs: ["get"], nonResourceURLs: ["/version"] };
  const everywhere = policy(url);
  const here = policy(rule({}), "default");
  const both: Policy = {
    roles: [...everywhere.roles, ...here.roles],
    bindings: [...everywhere.bindings, ...here.bindings],
  };
  assert.deepEqual(rulesFor(both, ALICE, "default"), { resourceRules: [rule({})], nonResourceRules: [url] });
  assert.deepEqual(rulesFor(both, ALICE, "other"), { resourceRules: [], nonResourceRules: [url] });
});
