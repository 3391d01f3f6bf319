import type { V1PolicyRule } from "@kubernetes/client-node";
import type { Configuration } from "../../config/gateway_configuration.ts";
import { type BoundRule, matches, matchesResource } from "./bypass.ts";
import { type Judgement, ok, wrong } from "./finding.ts";

/** One thing that somebody may do, as a SubjectAccessReview asks for it. */
export interface Permission {
  group: string;
  /** With its subresource: `nodes/proxy`. */
  resource: string;
  verb: string;
}

/** A permission that the gateway needs, and what does not work without. */
export interface Need extends Permission {
  for: string;
}

/** What the gateway must be allowed, as it is configured, and nothing more. */
export function needsOf({ upstream }: Pick<Configuration, "upstream">): Need[] {
  const needs: Need[] = [
    {
      group: "authentication.k8s.io",
      resource: "tokenreviews",
      verb: "create",
      for: "nobody can be authenticated",
    },
    {
      group: "authorization.k8s.io",
      resource: "subjectaccessreviews",
      verb: "create",
      for: "nobody can be authorized",
    },
    { group: "", resource: "pods", verb: "get", for: "no session's pod can be found" },
  ];
  const { mode, kubelet, apiserver } = upstream;
  if (mode === "kubelet") {
    needs.push({ group: "", resource: "nodes", verb: "get", for: "no pod's kubelet can be found" });
  }
  const hasOwnCredentials = kubelet.tokenFile !== undefined || kubelet.clientCertificateFile !== undefined;
  if (mode === "kubelet" && !hasOwnCredentials) {
    // A kubelet is asked by POST, always.
    needs.push({
      group: "",
      resource: "nodes/proxy",
      verb: "create",
      for: "no kubelet lets it open a session",
    });
  }
  if (mode === "apiserver" && apiserver.identity === "gateway") {
    // WebSocket is asked for by GET, for which servers before 1.35 want no more than `get`.
    const verbs = apiserver.transport === "spdy" ? ["create"] : ["create", "get"];
    for (const subresource of ["exec", "attach", "portforward"]) {
      for (const verb of verbs) {
        const without = `the API server opens no ${subresource} session for it`;
        needs.push({ group: "", resource: `pods/${subresource}`, verb, for: without });
      }
    }
  }
  return needs;
}

/** Whether the gateway may do what it must. @param denied those of `needs` that the API server said no to */
export function judgeNeeds(needs: readonly Need[], denied: readonly Need[], who: string): Judgement[] {
  if (denied.length === 0) return [ok(`${who} may do all ${needs.length} things that it needs`)];
  return denied.map((need) =>
    wrong(
      `${who} may not ${describe(need)}: ${need.for}`,
      `grant it in the gateway's ClusterRole: apiGroups ["${need.group}"], resources ["${need.resource}"], ` +
        `verbs ["${need.verb}"]`,
    )
  );
}

/** `create nodes/proxy`, with the group where there is one. */
export function describe({ group, resource, verb }: Permission): string {
  return `${verb} ${resource}${group === "" ? "" : ` in ${group}`}`;
}

/** What everybody may do who was authenticated: ask about oneself. */
const EVERYBODYS: readonly Permission[] = [
  { group: "authentication.k8s.io", resource: "selfsubjectreviews", verb: "create" },
  { group: "authorization.k8s.io", resource: "selfsubjectaccessreviews", verb: "create" },
  { group: "authorization.k8s.io", resource: "selfsubjectrulesreviews", verb: "create" },
];

/** A rule that holds for the gateway. */
export interface OwnRule {
  rule: Pick<V1PolicyRule, "apiGroups" | "resources" | "verbs" | "resourceNames" | "nonResourceURLs">;
  /** Where it comes from, where that is known: `ClusterRoleBinding x, ClusterRole y`. */
  via?: string;
  /** Absent: in the whole cluster. */
  namespace?: string;
}

/** What of `rules` goes beyond what is needed, one by one. */
export function excessPermissions(rules: readonly OwnRule[], needs: readonly Permission[]): Permission[] {
  return rules.flatMap(({ rule }) => excessOf(rule, [...needs, ...EVERYBODYS]));
}

/**
 * What the gateway may do beyond what it needs, each named with what gives it.
 *
 * @param everybodys what everybody may do who was authenticated
 */
export function judgeExcess(
  rules: readonly OwnRule[],
  needs: readonly Permission[],
  who: string,
  everybodys: readonly Permission[] = [],
): Judgement[] {
  const needed = [...needs, ...EVERYBODYS, ...everybodys];
  const found = new Map<string, Judgement>();
  for (const { rule, via, namespace } of rules) {
    const more = excessOf(rule, needed).map(describe);
    if (more.length === 0) continue;
    const where = namespace === undefined ? "" : ` in namespace ${namespace}`;
    const names = rule.resourceNames?.length ? ` (only ${rule.resourceNames.join(", ")})` : "";
    const by = via === undefined ? "" : `, by ${via}`;
    const message = `${who} may ${more.join(", ")}${names}${where}${by}, which it does not need`;
    const remedy = via === undefined
      ? "take it from the gateway's role; `--kubeconfig` of an administrator names the binding"
      : `take it from that role, or remove the binding: ${consequenceOf(rule)}`;
    found.set(message, wrong(message, remedy));
  }
  return found.size > 0 ? [...found.values()] : [ok(`${who} may do nothing beyond what it needs`)];
}

/** Combinations of a rule's words that nothing needs. */
function excessOf(rule: OwnRule["rule"], needed: readonly Permission[]): Permission[] {
  const { apiGroups = [], resources = [], verbs } = rule;
  return apiGroups.flatMap((group) =>
    resources.flatMap((resource) =>
      verbs.flatMap((verb) => {
        const isNeeded = needed.some((one) =>
          one.group === group && one.resource === resource && one.verb === verb
        );
        return isNeeded ? [] : [{ group, resource, verb }];
      })
    )
  );
}

/** What a thief of the gateway's token could do with a rule. */
function consequenceOf({ apiGroups, resources, verbs }: OwnRule["rule"]): string {
  const has = (group: string, resource: string, ...anyOf: string[]) =>
    matches(apiGroups, group) && matchesResource(resources, resource) &&
    anyOf.some((verb) => matches(verbs, verb));
  if (has("", "secrets", "get", "list", "watch")) {
    return "whoever takes the gateway's token reads secrets with it";
  }
  if (has("", "users", "impersonate")) return "whoever takes the gateway's token is anybody with it";
  if (has("rbac.authorization.k8s.io", "clusterrolebindings", "create", "update", "patch")) {
    return "whoever takes the gateway's token gives itself more with it";
  }
  return "whoever takes the gateway's token may do it, too";
}

/** Names and groups that bindings know somebody by. */
export interface Identity {
  username: string;
  groups: readonly string[];
}

/** The service account of this name, as RBAC knows it. */
export function serviceAccount(namespace: string, name: string): Identity {
  return {
    username: `system:serviceaccount:${namespace}:${name}`,
    groups: ["system:serviceaccounts", `system:serviceaccounts:${namespace}`, "system:authenticated"],
  };
}

/** Whether a subject is somebody, or a group that they are in. */
export function isSubject({ subject }: Pick<BoundRule, "subject">, { username, groups }: Identity): boolean {
  const { kind, name, namespace } = subject;
  if (kind === "Group") return groups.includes(name);
  return username === (kind === "User" ? name : `system:serviceaccount:${namespace}:${name}`);
}

/** The rules that hold for somebody. What everybody has by the cluster's own `system:authenticated` is not theirs. */
export function rulesFor(rules: Iterable<BoundRule>, identity: Identity): OwnRule[] {
  return [...rules]
    .filter((bound) => isSubject(bound, identity) && bound.subject.name !== "system:authenticated")
    .map(({ rule, namespace, binding, role }) => ({
      rule,
      via: `${binding.kind} ${binding.name} (${role.kind} ${role.name})`,
      ...(namespace !== undefined && { namespace }),
    }));
}
