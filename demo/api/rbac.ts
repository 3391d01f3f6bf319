import type { Binding, Policy, Role } from "../rbac/evaluate.ts";

/** Where RBAC is served. */
export const RBAC_ROOT = "/apis/rbac.authorization.k8s.io/v1";

/** Resources of RBAC, each with what it holds. */
const LISTS: Readonly<Record<string, { kind: string; items: (policy: Policy) => object[] }>> = {
  clusterroles: { kind: "ClusterRoleList", items: ({ roles }) => roles.filter(isOfCluster).map(asRole) },
  roles: { kind: "RoleList", items: ({ roles }) => roles.filter(isOfNamespace).map(asRole) },
  clusterrolebindings: {
    kind: "ClusterRoleBindingList",
    items: ({ bindings }) => bindings.filter(isOfCluster).map(asBinding),
  },
  rolebindings: {
    kind: "RoleBindingList",
    items: ({ bindings }) => bindings.filter(isOfNamespace).map(asBinding),
  },
};

/** What {@linkcode listRbac} can be asked for. */
export const RBAC_RESOURCES: readonly string[] = Object.keys(LISTS);

/** All objects of one resource of RBAC, whole: `postern doctor` reads them. */
export function listRbac(policy: Policy, resource: string): Response {
  const list = LISTS[resource];
  if (list === undefined) throw new TypeError(`RBAC has no ${resource}`);
  return Response.json({
    apiVersion: "rbac.authorization.k8s.io/v1",
    kind: list.kind,
    metadata: { resourceVersion: "1" },
    items: list.items(policy),
  });
}

function isOfNamespace({ namespace }: { namespace: string | undefined }): boolean {
  return namespace !== undefined;
}

function isOfCluster(object: { namespace: string | undefined }): boolean {
  return !isOfNamespace(object);
}

function asRole({ name, namespace, rules }: Role): object {
  return { metadata: { name, ...(namespace !== undefined && { namespace }) }, rules };
}

function asBinding({ name, namespace, subjects, roleRef }: Binding): object {
  return { metadata: { name, ...(namespace !== undefined && { namespace }) }, subjects, roleRef };
}
