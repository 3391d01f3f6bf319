import assert from "node:assert/strict";
import type { V1ClusterRole, V1PolicyRule } from "@kubernetes/client-node";
import fc from "fast-check";
import { boundRules, type Grant, grantsAround, nameOf, type RbacObjects } from "./bypass.ts";

const NOTHING: RbacObjects = { roles: [], clusterRoles: [], roleBindings: [], clusterRoleBindings: [] };

/** A cluster in which alice has one cluster role with these rules, everywhere. */
function cluster(...rules: V1PolicyRule[]): RbacObjects {
  return {
    ...NOTHING,
    clusterRoles: [{ metadata: { name: "r" }, rules }],
    clusterRoleBindings: [{
      metadata: { name: "b" },
      roleRef: { apiGroup: "", kind: "ClusterRole", name: "r" },
      subjects: [{ kind: "User", name: "alice" }],
    }],
  };
}

function rule(resources: string[], verbs: string[], more: Partial<V1PolicyRule> = {}): V1PolicyRule {
  return { apiGroups: [""], resources, verbs, ...more };
}

function permissions(objects: RbacObjects): string[] {
  return grantsAround(objects).flatMap((grant) => grant.permissions);
}

const rules: { name: string; rule: V1PolicyRule; gives: string[] }[] = [
  { name: "create pods/exec", rule: rule(["pods/exec"], ["create"]), gives: ["create pods/exec"] },
  {
    name: "bare get of pods/exec, which opens a WebSocket",
    rule: rule(["pods/exec"], ["get"]),
    gives: ["get pods/exec"],
  },
  { name: "pods/attach", rule: rule(["pods/attach"], ["create"]), gives: ["create pods/attach"] },
  { name: "pods/portforward", rule: rule(["pods/portforward"], ["get"]), gives: ["get pods/portforward"] },
  {
    name: "pods/ephemeralcontainers",
    rule: rule(["pods/ephemeralcontainers"], ["get", "update", "patch"]),
    gives: ["patch pods/ephemeralcontainers", "update pods/ephemeralcontainers"],
  },
  { name: "bare get of nodes/proxy", rule: rule(["nodes/proxy"], ["get"]), gives: ["get nodes/proxy"] },
  {
    name: "every subresource by */exec",
    rule: rule(["*/exec"], ["create"]),
    gives: ["create pods/exec"],
  },
  {
    name: "every verb by *",
    rule: rule(["pods/attach"], ["*"]),
    gives: ["create pods/attach", "get pods/attach"],
  },
  {
    name: "every group by *",
    rule: rule(["pods/exec"], ["create"], { apiGroups: ["*"] }),
    gives: ["create pods/exec"],
  },
  {
    name: "another group, which only a gateway honours",
    rule: rule(["pods/exec"], ["create"], { apiGroups: ["postern.dev"] }),
    gives: [],
  },
  { name: "pods without a subresource", rule: rule(["pods", "nodes"], ["*"]), gives: [] },
  { name: "pods/log", rule: rule(["pods/log"], ["get"]), gives: [] },
  { name: "list of pods/exec, which opens nothing", rule: rule(["pods/exec"], ["list", "watch"]), gives: [] },
  { name: "pods/*, which is no wildcard to RBAC", rule: rule(["pods/*"], ["create"]), gives: [] },
  { name: "URLs that are no resources", rule: { verbs: ["*"], nonResourceURLs: ["*"] }, gives: [] },
];
for (const { name, rule, gives } of rules) {
  Deno.test(`grantsAround sees what leads around the gateway in a rule: ${name}`, () => {
    assert.deepEqual(permissions(cluster(rule)), gives);
  });
}

Deno.test("grantsAround sees everything in the rule of a cluster-admin", () => {
  const all = permissions(cluster({ apiGroups: ["*"], resources: ["*"], verbs: ["*"] }));
  assert.deepEqual(
    new Set(all.map((one) => one.split(" ")[1])),
    new Set([
      "pods/exec",
      "pods/attach",
      "pods/portforward",
      "pods/ephemeralcontainers",
      "nodes/proxy",
    ]),
  );
});

Deno.test("grantsAround names the pods that a rule is bound to", () => {
  const [grant] = grantsAround(cluster(rule(["pods/exec"], ["create"], { resourceNames: ["web-0"] })));
  assert.deepEqual(grant?.resourceNames, ["web-0"]);
});

Deno.test("grantsAround does not mix what is given for some pods with what is given for all", () => {
  const grants = grantsAround(cluster(
    rule(["pods/exec"], ["create"], { resourceNames: ["web-0"] }),
    rule(["pods/attach"], ["create"]),
  ));
  const brief = ({ resourceNames = ["all"], permissions }: Grant) => `${resourceNames}: ${permissions}`;
  assert.deepEqual(grants.map(brief).sort(), ["all: create pods/attach", "web-0: create pods/exec"]);
});

Deno.test("grantsAround sees roles that a RoleBinding gives in its namespace, and no nodes there", () => {
  const grants = grantsAround({
    ...cluster(rule(["pods/exec", "nodes/proxy"], ["create"])),
    clusterRoleBindings: [],
    roles: [
      { metadata: { name: "own", namespace: "shop" }, rules: [rule(["pods/attach"], ["create"])] },
      { metadata: { name: "own", namespace: "other" }, rules: [rule(["pods/portforward"], ["create"])] },
    ],
    roleBindings: [
      {
        metadata: { name: "one", namespace: "shop" },
        roleRef: { apiGroup: "", kind: "ClusterRole", name: "r" },
        subjects: [{ kind: "ServiceAccount", name: "robot" }],
      },
      {
        metadata: { name: "two", namespace: "shop" },
        roleRef: { apiGroup: "", kind: "Role", name: "own" },
        subjects: [{ kind: "Group", name: "developers" }],
      },
    ],
  });
  const brief = ({ subject, permissions, namespace, binding, role }: Grant) =>
    `${nameOf(subject)}: ${permissions} in ${namespace} by ${binding.name} (${role.kind} ${role.name})`;
  assert.deepEqual(grants.map(brief), [
    "Group developers: create pods/attach in shop by two (Role own)",
    "ServiceAccount shop/robot: create pods/exec in shop by one (ClusterRole r)",
  ]);
});

Deno.test("grantsAround knows a service account by the name that it has as a user, too", () => {
  const objects = cluster(rule(["pods/exec"], ["create"]));
  const [binding] = objects.clusterRoleBindings;
  const subjects = [{ kind: "User", name: "system:serviceaccount:ci:runner" }];
  const [grant] = grantsAround({ ...objects, clusterRoleBindings: [{ ...binding!, subjects }] });
  assert.deepEqual(grant?.subject, { kind: "ServiceAccount", namespace: "ci", name: "runner" });
});

const selectors = [
  { name: "labels", selector: { matchLabels: { "to-edit": "true" } }, selects: true },
  { name: "other labels", selector: { matchLabels: { "to-edit": "false" } }, selects: false },
  {
    name: "In",
    selector: { matchExpressions: [{ key: "to-edit", operator: "In", values: ["true"] }] },
    selects: true,
  },
  {
    name: "NotIn",
    selector: { matchExpressions: [{ key: "to-edit", operator: "NotIn", values: ["true"] }] },
    selects: false,
  },
  { name: "Exists", selector: { matchExpressions: [{ key: "to-edit", operator: "Exists" }] }, selects: true },
  {
    name: "DoesNotExist",
    selector: { matchExpressions: [{ key: "to-edit", operator: "DoesNotExist" }] },
    selects: false,
  },
  { name: "nothing, which is everything", selector: {}, selects: true },
  {
    name: "a label that every object inherits",
    selector: { matchExpressions: [{ key: "toString", operator: "Exists" }] },
    selects: false,
  },
];
for (const { name, selector, selects } of selectors) {
  Deno.test(`grantsAround follows an aggregation that selects by ${name}`, () => {
    const source: V1ClusterRole = {
      metadata: { name: "source", labels: { "to-edit": "true" } },
      rules: [rule(["pods/exec"], ["create"])],
    };
    const role: V1ClusterRole = {
      metadata: { name: "r" },
      aggregationRule: { clusterRoleSelectors: [selector] },
      rules: [],
    };
    const grants = grantsAround({ ...cluster(), clusterRoles: [role, source] });
    assert.deepEqual(grants.map(({ aggregatedFrom }) => aggregatedFrom), selects ? [["source"]] : []);
  });
}

Deno.test("grantsAround believes the rules that are in an aggregated role, too, wherever they are from", () => {
  const role: V1ClusterRole = {
    metadata: { name: "r" },
    aggregationRule: { clusterRoleSelectors: [{ matchLabels: { gone: "true" } }] },
    rules: [rule(["pods/exec"], ["create"])],
  };
  assert.deepEqual(permissions({ ...cluster(), clusterRoles: [role] }), ["create pods/exec"]);
});

Deno.test("a binding to a role that is not there, or without subjects, gives nothing", () => {
  const objects = cluster(rule(["pods/exec"], ["create"]));
  assert.deepEqual(permissions({ ...objects, clusterRoles: [] }), []);
  const [binding] = objects.clusterRoleBindings;
  const { subjects: _, ...without } = binding!;
  assert.deepEqual(permissions({ ...objects, clusterRoleBindings: [without] }), []);
});

/** RBAC's own rule, said again as plainly as it can be: the oracle. */
function allows(
  { apiGroups = [], resources = [], verbs }: V1PolicyRule,
  verb: string,
  resource: string,
): boolean {
  const group = apiGroups.includes("") || apiGroups.includes("*");
  const what = resources.includes(resource) || resources.includes("*") ||
    resources.includes(`*/${resource.split("/")[1]}`);
  return group && what && (verbs.includes(verb) || verbs.includes("*"));
}

Deno.test("whatever rules there are, grantsAround misses none that opens pods/exec, and invents none", () => {
  const word = (...words: string[]) => fc.uniqueArray(fc.constantFrom(...words), { maxLength: 3 });
  const anyRule = fc.record({
    apiGroups: word("", "*", "apps"),
    resources: word("pods", "pods/exec", "*", "*/exec", "*/log", "nodes/proxy"),
    verbs: word("create", "get", "list", "*"),
  });
  fc.assert(fc.property(fc.array(anyRule, { maxLength: 4 }), (some) => {
    const objects = cluster(...some);
    for (const verb of ["create", "get"]) {
      const isOpen = [...boundRules(objects)].some((bound) => allows(bound.rule, verb, "pods/exec"));
      assert.equal(permissions(objects).includes(`${verb} pods/exec`), isOpen);
    }
  }));
});
