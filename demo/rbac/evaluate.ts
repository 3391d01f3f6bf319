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

/** Why a request is allowed, in the words of the API server; `undefined`: it is not. */
export function evaluate(
  { roles, bindings }: Policy,
  requester: Requester,
  request: Request,
): string | undefined {
  const namespace = "path" in request ? undefined : request.namespace;
  for (const binding of bindings) {
    if (binding.namespace !== undefined && binding.namespace !== namespace) continue;
    const subject = binding.subjects.find((subject) => isSubject(subject, requester));
    if (subject === undefined) continue;
    const role = roles.find(({ name, namespace }) => {
      return name === binding.roleRef.name &&
        namespace === (binding.roleRef.kind === "Role" ? binding.namespace : undefined);
    });
    if (!role?.rules.some((rule) => allows(rule, request))) continue;
    const kind = binding.namespace === undefined ? "ClusterRoleBinding" : "RoleBinding";
    const where = binding.namespace === undefined ? binding.name : `${binding.name}/${binding.namespace}`;
    const to = `${subject.kind} "${
      subject.namespace ? `${subject.name}/${subject.namespace}` : subject.name
    }"`;
    return `RBAC: allowed by ${kind} "${where}" of ${binding.roleRef.kind} "${role.name}" to ${to}`;
  }
  return undefined;
}

function isSubject({ kind, name, namespace }: Subject, { username, groups }: Requester): boolean {
  switch (kind) {
    case "User":
      return name === username;
    case "Group":
      return groups.includes(name);
    case "ServiceAccount":
      return username === `system:serviceaccount:${namespace}:${name}`;
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
