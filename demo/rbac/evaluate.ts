/**
 * Role-based access control as Kubernetes decides it: rules only ever allow, and what no rule allows is denied.
 *
 * @see k8s.io/kubernetes plugin/pkg/auth/authorizer/rbac and pkg/apis/rbac/v1/evaluation_helpers.go
 * @module
 */

/** `rbac.authorization.k8s.io/v1` PolicyRule. */
export interface PolicyRule {
  verbs: readonly string[];
  apiGroups?: readonly string[];
  resources?: readonly string[];
  resourceNames?: readonly string[];
  nonResourceURLs?: readonly string[];
}

export interface Subject {
  kind: "User" | "Group" | "ServiceAccount";
  name: string;
  namespace?: string;
}

/** A Role or, without a namespace, a ClusterRole. */
export interface Role {
  name: string;
  namespace: string | undefined;
  rules: readonly PolicyRule[];
}

/** A RoleBinding or, without a namespace, a ClusterRoleBinding. */
export interface Binding {
  name: string;
  namespace: string | undefined;
  subjects: readonly Subject[];
  roleRef: { kind: "Role" | "ClusterRole"; name: string };
}

export interface Policy {
  roles: readonly Role[];
  bindings: readonly Binding[];
}

/** Who asks. */
export interface Requester {
  username: string;
  groups: readonly string[];
}

/** What is asked for: a resource or, with `path`, a URL that is none. */
export type Request =
  | {
    verb: string;
    group: string;
    resource: string;
    subresource?: string | undefined;
    namespace?: string | undefined;
    name?: string | undefined;
  }
  | { verb: string; path: string };

/** What may be done in a namespace, as a SelfSubjectRulesReview lists it. */
export interface Rules {
  resourceRules: readonly PolicyRule[];
  nonResourceRules: readonly PolicyRule[];
}

/** A binding that holds for a requester, with the role that it gives. */
interface Grant {
  binding: Binding;
  subject: Subject;
  role: Role;
}

/** Why a request is allowed, in the words of the API server; `undefined`: it is not. */
export function evaluate(policy: Policy, requester: Requester, request: Request): string | undefined {
  const namespace = "path" in request ? undefined : request.namespace;
  for (const grant of grants(policy, requester, namespace)) {
    if (grant.role.rules.some((rule) => allows(rule, request))) return describe(grant);
  }
  return undefined;
}

/** All rules that hold for a requester in a namespace; what is granted everywhere holds in each. */
export function rulesFor(policy: Policy, requester: Requester, namespace: string): Rules {
  const rules = [...grants(policy, requester, namespace)].flatMap(({ role }) => role.rules);
  return {
    resourceRules: rules.filter(({ resources }) => resources !== undefined),
    nonResourceRules: rules.filter(({ nonResourceURLs }) => nonResourceURLs !== undefined),
  };
}

/** @param namespace of what is asked for; without one only what is bound for the whole cluster holds */
function* grants(
  { roles, bindings }: Policy,
  requester: Requester,
  namespace: string | undefined,
): Generator<Grant> {
  for (const binding of bindings) {
    if (binding.namespace !== undefined && binding.namespace !== namespace) continue;
    const subject = binding.subjects.find((subject) => isSubject(subject, binding, requester));
    if (subject === undefined) continue;
    const { kind, name } = binding.roleRef;
    const home = kind === "Role" ? binding.namespace : undefined;
    const role = roles.find((role) => role.name === name && role.namespace === home);
    if (role !== undefined) yield { binding, subject, role };
  }
}

/** @see k8s.io/kubernetes pkg/registry/rbac/validation/rule.go */
function describe({ binding, subject, role }: Grant): string {
  const isEverywhere = binding.namespace === undefined;
  const kind = isEverywhere ? "ClusterRoleBinding" : "RoleBinding";
  const where = isEverywhere ? binding.name : `${binding.name}/${binding.namespace}`;
  const who = subject.namespace === undefined ? subject.name : `${subject.name}/${subject.namespace}`;
  return `RBAC: allowed by ${kind} "${where}" of ${binding.roleRef.kind} "${role.name}" to ${subject.kind} "${who}"`;
}

function isSubject(
  { kind, name, namespace }: Subject,
  binding: Binding,
  { username, groups }: Requester,
): boolean {
  switch (kind) {
    case "User":
      return name === username;
    case "Group":
      return groups.includes(name);
    case "ServiceAccount":
      return username === `system:serviceaccount:${namespace ?? binding.namespace}:${name}`;
  }
}

function allows(rule: PolicyRule, request: Request): boolean {
  if (!has(rule.verbs, request.verb)) return false;
  if ("path" in request) return rule.nonResourceURLs?.some((url) => matchesUrl(url, request.path)) ?? false;
  const { group, resource, subresource, name } = request;
  const whole = subresource ? `${resource}/${subresource}` : resource;
  const isResource = rule.resources?.some((each) => {
    return each === "*" || each === whole || (subresource !== undefined && each === `*/${subresource}`);
  });
  if (!isResource || !has(rule.apiGroups ?? [], group)) return false;
  return !rule.resourceNames?.length || (name !== undefined && rule.resourceNames.includes(name));
}

function has(list: readonly string[], value: string): boolean {
  return list.includes("*") || list.includes(value);
}

function matchesUrl(pattern: string, path: string): boolean {
  return pattern === "*" || pattern === path ||
    (pattern.endsWith("*") && path.startsWith(pattern.slice(0, -1)));
}
