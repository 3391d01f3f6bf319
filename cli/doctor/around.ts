import type { V1ClusterRole, V1ClusterRoleBinding, V1Role, V1RoleBinding } from "@kubernetes/client-node";
import type { KubeClient } from "../../kube/client.ts";
import { type Grant, grantsAround, nameOf, type RbacObjects, type Subject } from "./bypass.ts";
import { type Judgement, note, ok, wrong } from "./finding.ts";
import { readContinue } from "./kubelets.ts";
import { type Identity, isSubject } from "./rbac.ts";

/** How who goes around is to be judged. */
export interface AroundTerms {
  /** The gateway, which must go around where it opens sessions by nodes/proxy. */
  gateway: Identity | undefined;
  /** Who may, as has been decided. */
  accepted: readonly Subject[];
  /** `authorization.group`. */
  group: string;
}

/** Who can open sessions past the gateway, each with what lets them. */
export function judgeAround(objects: RbacObjects, terms: AroundTerms): Judgement[] {
  const grants = grantsAround(objects);
  const found: Judgement[] = grants.map((grant) => judgeGrant(grant, terms));
  if (found.every(({ status }) => status !== "wrong")) {
    found.push(ok("nobody can go around the gateway but who is named above"));
  } else if (terms.group === "") {
    found.push(note(
      "`authorization.group` is the core group: whoever may use the gateway may also go around it",
      "set it to postern.dev, and grant pods/exec, pods/attach and pods/portforward there and not in the core group",
    ));
  }
  return found;
}

function judgeGrant(grant: Grant, { gateway, accepted }: AroundTerms): Judgement & { grant: Grant } {
  const { subject, permissions, namespace, resourceNames, binding, role, aggregatedFrom } = grant;
  const where = namespace === undefined ? "in the whole cluster" : `in namespace ${namespace}`;
  const only = resourceNames === undefined ? "" : ` (only ${resourceNames.join(", ")})`;
  const from = aggregatedFrom === undefined ? "" : `, aggregated from ${aggregatedFrom.join(", ")}`;
  const message =
    `${nameOf(subject)} can go around the gateway ${where}: ${permissions.join(", ")}${only}, by ` +
    `${binding.kind} ${binding.name} (${role.kind} ${role.name}${from})`;
  if (subject.kind === "Group" && subject.name === "system:masters") {
    return {
      ...note(
        message,
        "keep its certificates locked away: the API server asks no RBAC about them, so nothing takes it from them",
      ),
      grant,
    };
  }
  if (isControllers(grant)) {
    return {
      ...note(
        `${message}; it is the cluster's own controller`,
        "the API server writes this binding anew whenever it starts: keep those out of kube-system who could make a pod or a token " +
          "there, for they could be it",
      ),
      grant,
    };
  }
  if (gateway !== undefined && subject.kind !== "Group" && isSubject({ subject }, gateway)) {
    return { ...note(`${message}; it is the gateway`), grant };
  }
  if (accepted.some((one) => nameOf(one) === nameOf(subject))) {
    return { ...note(`${message}; accepted`), grant };
  }
  return { ...wrong(message, remedyOf(grant)), grant };
}

/** Whether it is what a controller of Kubernetes has by the API server's own bootstrap policy, in every cluster. */
function isControllers({ subject, binding, role }: Grant): boolean {
  return subject.kind === "ServiceAccount" && subject.namespace === "kube-system" &&
    binding.kind === "ClusterRoleBinding" && binding.name === role.name &&
    binding.name === `system:controller:${subject.name}`;
}

function remedyOf({ binding, subject }: Grant): string {
  const namespace = binding.namespace === undefined ? "" : ` -n ${binding.namespace}`;
  const accept = `--accept ${subject.kind}:${nameOf(subject).slice(subject.kind.length + 1)}`;
  return `take the subject out of it (kubectl edit ${binding.kind.toLowerCase()} ${binding.name}${namespace}), or ${accept}`;
}

/** Objects of one kind that are asked for at once, and pages that are read. */
const PAGE = 250;
const MAX_PAGES = 400;

/** All of RBAC. @throws {ApiError} 403 where it may not be read */
export async function gatherRbac(client: Pick<KubeClient, "get">): Promise<RbacObjects> {
  const [clusterRoles, roles, clusterRoleBindings, roleBindings] = await Promise.all([
    list<V1ClusterRole>(client, "clusterroles"),
    list<V1Role>(client, "roles"),
    list<V1ClusterRoleBinding>(client, "clusterrolebindings"),
    list<V1RoleBinding>(client, "rolebindings"),
  ]);
  return { clusterRoles, roles, clusterRoleBindings, roleBindings };
}

/** @throws where there are more than can be read: half of them would hide somebody */
async function list<T>(client: Pick<KubeClient, "get">, resource: string): Promise<T[]> {
  const found: T[] = [];
  let next: string | undefined;
  for (let page = 0; page < MAX_PAGES; page++) {
    const from: string = next === undefined ? "" : `&continue=${encodeURIComponent(next)}`;
    const answer: { metadata?: object; items?: T[] | null } = await client.get(
      `/apis/rbac.authorization.k8s.io/v1/${resource}?limit=${PAGE}${from}`,
    );
    found.push(...(answer.items ?? []));
    next = readContinue(answer.metadata);
    if (next === undefined) return found;
  }
  throw new RangeError(`there are more than ${MAX_PAGES * PAGE} ${resource}`);
}
