import type {
  RbacV1Subject,
  V1ClusterRole,
  V1ClusterRoleBinding,
  V1LabelSelector,
  V1PolicyRule,
  V1Role,
  V1RoleBinding,
} from "@kubernetes/client-node";

/** All of RBAC, as the API server has it. */
export interface RbacObjects {
  roles: readonly V1Role[];
  clusterRoles: readonly V1ClusterRole[];
  roleBindings: readonly V1RoleBinding[];
  clusterRoleBindings: readonly V1ClusterRoleBinding[];
}

/** Somebody whom a binding names. */
export interface Subject {
  kind: "User" | "Group" | "ServiceAccount";
  name: string;
  /** Of a service account. */
  namespace?: string;
}

/** What one binding gives to one subject. */
export interface Grant {
  subject: Subject;
  /** Such as `create pods/exec`, sorted. */
  permissions: string[];
  /** Where; absent: in the whole cluster. */
  namespace?: string;
  /** Only for objects of these names; absent: for all. */
  resourceNames?: string[];
  binding: { kind: "RoleBinding" | "ClusterRoleBinding"; name: string; namespace?: string };
  role: { kind: "Role" | "ClusterRole"; name: string };
  /** Roles that the rules were brought in from by aggregation. */
  aggregatedFrom?: string[];
}

/** A rule that holds for a subject, and how it came to it. */
export interface BoundRule {
  subject: Subject;
  rule: V1PolicyRule;
  /** Absent: in the whole cluster. */
  namespace: string | undefined;
  binding: Grant["binding"];
  role: Grant["role"];
  /** The role that the rule comes from by aggregation. */
  aggregatedFrom: string | undefined;
}

/**
 * What leads into a container, past every gateway, and by which verbs. A WebSocket is opened by GET: API servers before 1.35 are
 * content with `get` then, and a kubelet always is.
 */
const WAYS: readonly { resource: string; verbs: readonly string[]; isNamespaced: boolean }[] = [
  { resource: "pods/exec", verbs: ["create", "get"], isNamespaced: true },
  { resource: "pods/attach", verbs: ["create", "get"], isNamespaced: true },
  { resource: "pods/portforward", verbs: ["create", "get"], isNamespaced: true },
  { resource: "pods/ephemeralcontainers", verbs: ["update", "patch"], isNamespaced: true },
  { resource: "nodes/proxy", verbs: ["create", "get", "update", "patch", "delete"], isNamespaced: false },
];

/** Every rule that any binding gives to anybody. */
export function* boundRules(objects: RbacObjects): Generator<BoundRule> {
  const clusterRoles = new Map(objects.clusterRoles.map((role) => [role.metadata?.name ?? "", role]));
  const roles = new Map(objects.roles.map((role) => [keyOf(role.metadata), role]));
  const all = [
    ...objects.clusterRoleBindings.map((binding) => ({ kind: "ClusterRoleBinding" as const, binding })),
    ...objects.roleBindings.map((binding) => ({ kind: "RoleBinding" as const, binding })),
  ];
  for (const { kind, binding: { metadata, roleRef, subjects = [] } } of all) {
    const namespace = kind === "RoleBinding" ? metadata?.namespace ?? "" : undefined;
    const isClusterRole = roleRef.kind === "ClusterRole";
    const rules = isClusterRole
      ? rulesOf(clusterRoles.get(roleRef.name), objects.clusterRoles)
      : (roles.get(`${namespace}/${roleRef.name}`)?.rules ?? []).map((rule) => ({ rule, from: undefined }));
    for (const named of subjects) {
      const subject = readSubject(named, namespace);
      if (subject === undefined) continue;
      for (const { rule, from } of rules) {
        yield {
          subject,
          rule,
          namespace,
          binding: { kind, name: metadata?.name ?? "", ...(namespace !== undefined && { namespace }) },
          role: { kind: isClusterRole ? "ClusterRole" : "Role", name: roleRef.name },
          aggregatedFrom: from,
        };
      }
    }
  }
}

/** Who can open a session without a gateway: each subject, by each binding that lets it. Sorted. */
export function grantsAround(objects: RbacObjects): Grant[] {
  const grants = new Map<string, Grant>();
  for (const { subject, rule, namespace, binding, role, aggregatedFrom } of boundRules(objects)) {
    const permissions = permissionsOf(rule, namespace !== undefined);
    if (permissions.length === 0) continue;
    const { resourceNames } = rule;
    const isNamed = resourceNames !== undefined && resourceNames.length > 0;
    const key = JSON.stringify([subject, binding, isNamed ? resourceNames : []]);
    const grant = grants.get(key) ?? {
      subject,
      permissions: [],
      ...(namespace !== undefined && { namespace }),
      ...(isNamed && { resourceNames: [...resourceNames] }),
      binding,
      role,
    };
    grant.permissions = [...new Set([...grant.permissions, ...permissions])].sort();
    if (aggregatedFrom !== undefined) {
      grant.aggregatedFrom = [...new Set([...(grant.aggregatedFrom ?? []), aggregatedFrom])].sort();
    }
    grants.set(key, grant);
  }
  return [...grants].sort(([a], [b]) => a < b ? -1 : 1).map(([, grant]) => grant);
}

/** What of a rule leads around, as `verb resource`. @param isBoundHere by a RoleBinding, which gives nothing on nodes */
function permissionsOf(rule: V1PolicyRule, isBoundHere: boolean): string[] {
  if (!matches(rule.apiGroups, "")) return [];
  return WAYS.flatMap(({ resource, verbs, isNamespaced }) =>
    (isBoundHere && !isNamespaced) || !matchesResource(rule.resources, resource)
      ? []
      : verbs.filter((verb) => matches(rule.verbs, verb)).map((verb) => `${verb} ${resource}`)
  );
}

/** Whether a rule's list has a word, by itself or by `*`. */
export function matches(list: readonly string[] | undefined, word: string): boolean {
  return list?.some((entry) => entry === word || entry === "*") ?? false;
}

/** Whether a rule's resources have one: `*` is all of them, and `*` before a slash is that subresource of all. */
export function matchesResource(list: readonly string[] | undefined, resource: string): boolean {
  const [, subresource] = resource.split("/");
  return matches(list, resource) ||
    (subresource !== undefined && (list?.includes(`*/${subresource}`) ?? false));
}

/**
 * A cluster role's rules. Those of an aggregated one are written into it by a controller, some time after the roles that they come
 * from have changed: what is there, and what will be, both count.
 */
function rulesOf(
  role: V1ClusterRole | undefined,
  all: readonly V1ClusterRole[],
): { rule: V1PolicyRule; from: string | undefined }[] {
  if (role === undefined) return [];
  const sources = (role.aggregationRule?.clusterRoleSelectors ?? [])
    .flatMap((selector) =>
      all.filter((other) => other !== role && selects(selector, other.metadata?.labels))
    );
  const brought = sources.flatMap((source) =>
    (source.rules ?? []).map((rule) => ({ rule, from: source.metadata?.name ?? "" }))
  );
  const known = new Set(brought.map(({ rule }) => JSON.stringify(rule)));
  const own = (role.rules ?? []).filter((rule) => !known.has(JSON.stringify(rule)));
  return [...brought, ...own.map((rule) => ({ rule, from: undefined }))];
}

/** As the API server matches labels: every requirement holds, and none at all selects everything. */
function selects({ matchLabels = {}, matchExpressions = [] }: V1LabelSelector, labels: Labels = {}): boolean {
  const value = (key: string) => Object.hasOwn(labels, key) ? labels[key] : undefined;
  return Object.entries(matchLabels).every(([key, wanted]) => value(key) === wanted) &&
    matchExpressions.every(({ key, operator, values = [] }) => {
      const found = value(key);
      switch (operator) {
        case "In":
          return found !== undefined && values.includes(found);
        case "NotIn":
          return found === undefined || !values.includes(found);
        case "Exists":
          return found !== undefined;
        case "DoesNotExist":
          return found === undefined;
        default:
          return true; // what is not understood must hide nobody
      }
    });
}

type Labels = Readonly<Record<string, string>>;

function readSubject({ kind, name, namespace }: RbacV1Subject, bindingNamespace: string | undefined) {
  switch (kind) {
    case "User":
      return asServiceAccount(name) ?? { kind, name } satisfies Subject;
    case "Group":
      return { kind, name } satisfies Subject;
    case "ServiceAccount":
      return { kind, name, namespace: namespace ?? bindingNamespace ?? "" } satisfies Subject;
    default:
      return undefined;
  }
}

/** A service account may be bound by the name that it has as a user, too. */
function asServiceAccount(user: string): Subject | undefined {
  const [, namespace, name] = /^system:serviceaccount:([^:]+):([^:]+)$/.exec(user) ?? [];
  return namespace === undefined || name === undefined
    ? undefined
    : { kind: "ServiceAccount", name, namespace };
}

function keyOf(metadata: { name?: string; namespace?: string } | undefined): string {
  return `${metadata?.namespace ?? ""}/${metadata?.name ?? ""}`;
}

/** `ServiceAccount ns/name`, `Group name`, `User name`. */
export function nameOf({ kind, name, namespace }: Subject): string {
  return `${kind} ${namespace === undefined ? name : `${namespace}/${name}`}`;
}
