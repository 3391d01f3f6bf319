import type { V1Pod } from "@kubernetes/client-node";
import { type AuditTarget, decisionEvent } from "../audit/event.ts";
import type { ResourceAttributes } from "../authz/authorize.ts";
import type { Decision } from "../authz/policy/decision.ts";
import type { User } from "../authz/user.ts";
import { Refusal } from "../kube/status.ts";
import { identify } from "./admission.ts";
import { auditedAnswer } from "./audited_answer.ts";
import { recordStrictly } from "./evidence.ts";
import { type Forward, forwardedHeaders } from "./forwarding.ts";
import { auditTarget, type Gate } from "./gate.ts";
import type { Journey } from "./journey.ts";
import { type ProxyAddress, type ProxyResource, readProxyAddress } from "./proxy_address.ts";

/**
 * Proxies of nodes, pods and services that are no sessions: HTTP to what stands behind the API server, asked for with the
 * user's own token alone.
 *
 * What each of them reaches decides what is asked:
 *
 * | path | who may |
 * | --- | --- |
 * | a node's kubelet: `/metrics`, `/stats`, `/pods`, `/configz`, `/healthz`, `/debug/pprof`; `/logs` and `/containerLogs`, which tell what was written | whom RBAC grants `nodes/proxy` |
 * | its `/exec`, `/attach`, `/run`, `/portForward`, and `/cri`, by which older kubelets streamed them | nobody: those that are sessions have a route of their own, as sessions; what comes here is refused in whatever case it is spelled |
 * | its `/checkpoint`, which writes the memory of any container to the node's disk | cluster-admins |
 * | another port of the node: a process in its network, as a pod with `hostNetwork` is | cluster-admins |
 * | a pod's port | whom RBAC grants `pods/proxy`; the privileged rule and the list of ports hold as for a port-forward, which reaches no more |
 * | a service's port | whom RBAC grants `services/proxy`: which pods are behind it is the API server's to say |
 *
 * A pod is looked at by name, and opened by name by the API server: whoever may replace it in between may reach its
 * successor. A port-forward, which is pinned to a UID, is the way without that gap.
 *
 * @module
 */

/** The steps of a proxied request. */
export interface ProxyGate
  extends Pick<Gate, "authenticate" | "impersonate" | "resolve" | "decide" | "journal" | "report"> {
  forward: Forward;
  /** May they? 403 in the API server's words. It asks again itself; here nobody else is told what the cluster holds. */
  require(user: User, attributes: ResourceAttributes, signal: AbortSignal): Promise<void>;
  isClusterAdmin(user: User, signal: AbortSignal): Promise<boolean>;
  /** What the policy says of a pod's port: the sentence of a denial. */
  forwarding: Pick<Gate["forwarding"], "checkPort">;
  /** Which proxies the configuration lets pass at all. */
  proxies: Readonly<Record<ProxyResource, "allow" | "deny">>;
}

const RULE = "proxy";

/** First segments of the kubelet's paths that are sessions, in lower case. */
const KUBELET_SESSIONS: ReadonlySet<string> = new Set(["exec", "attach", "run", "portforward", "cri"]);

/** Any method of a `proxy` subresource, with or without a path behind it. */
export async function proxy(journey: Journey, request: Request, gate: ProxyGate): Promise<Response> {
  const { method, context, target: { segments } } = journey;
  const address = readProxyAddress(segments);
  const { resource, namespace, id: name } = address;
  const attributes = { resource, ...(namespace !== undefined && { namespace }), name, subresource: "proxy" };
  journey.learn({ objectRef: { ...attributes, apiVersion: "v1" } });
  const { user } = await identify(journey, gate);
  if (context.upgrade !== undefined) {
    const message = "a proxy cannot be upgraded through the gateway: open an exec, attach or port-forward";
    throw new Refusal("BadRequest", message, { rule: "upgrade" });
  }
  if (gate.proxies[resource] === "deny") throw forbidden(address, `the gateway proxies to no ${resource}`);
  if (resource === "nodes" && isKubeletSession(address)) {
    throw forbidden(address, "this path of a kubelet is a session, and not proxied");
  }
  const { verb } = journey.facts;
  await gate.require(user, { verb, group: "", version: "v1", ...attributes }, context.signal);
  await decide(journey, gate, user, address);
  const answer = await gate.forward({
    method,
    target: context.rawTarget,
    headers: forwardedHeaders(context, journey.auditId),
    body: request.body,
    signal: context.signal,
  });
  return await auditedAnswer(journey, gate, journey.auditTarget, answer);
}

/** Asks the policy, and writes its answer down before anything is sent. @throws {Refusal} */
async function decide(journey: Journey, gate: ProxyGate, user: User, address: ProxyAddress): Promise<void> {
  const { signal } = journey.context;
  const [decision, target] = address.resource === "pods"
    ? await decidePod(gate, user, address, signal)
    : [address.resource === "nodes" ? await decideNode(gate, user, address, signal) : ALLOWED];
  journey.auditTarget = target;
  await recordStrictly(gate, decisionEvent(journey.facts, target, decision));
  if (!decision.allowed) throw forbidden(address, decision.reason, decision.rule);
}

const ALLOWED: Decision = {
  allowed: true,
  rule: RULE,
  reason: "the proxy leads to no container that is guarded",
  obligations: [],
};

async function decidePod(
  gate: ProxyGate,
  user: User,
  { namespace, name, scheme, port }: ProxyAddress,
  signal: AbortSignal,
): Promise<[Decision, AuditTarget]> {
  const request = { namespace: namespace!, pod: name, container: undefined, purpose: "portforward" } as const;
  const target = await gate.resolve(request, signal);
  const denial = gate.forwarding.checkPort(portOf(target.pod, scheme, port));
  const decision: Decision = denial === undefined
    ? await gate.decide(user, target, signal)
    : { allowed: false, rule: "forwarded-port", reason: denial };
  return [decision, auditTarget(target)];
}

async function decideNode(
  gate: ProxyGate,
  user: User,
  { name, port, rest }: ProxyAddress,
  signal: AbortSignal,
): Promise<Decision> {
  const isCheckpoint = rest[0]?.toLowerCase() === "checkpoint";
  if (port === "" && !isCheckpoint) return ALLOWED;
  const what = isCheckpoint
    ? `a checkpoint holds the memory of a container of node "${name}"`
    : `port ${JSON.stringify(port)} of node "${name}" is what listens in its own network ` +
      "(leave the port out to reach the kubelet)";
  if (await gate.isClusterAdmin(user, signal)) {
    const reason = `${what}; the user is a cluster-admin`;
    return { allowed: true, rule: RULE, reason, obligations: [{ type: "record" }] };
  }
  return { allowed: false, rule: RULE, reason: `${what}: only cluster-admins may use it (rule ${RULE})` };
}

/**
 * Which port of a pod the API server opens: the one that is named, the first that a container declares, or the scheme's own.
 *
 * @throws {Refusal} BadRequest
 * @see k8s.io/kubernetes pkg/registry/core/pod/strategy.go, ResourceLocation
 */
function portOf({ spec }: V1Pod, scheme: string, named: string): number {
  if (named === "") {
    const declared = spec?.containers.find(({ ports }) => ports !== undefined && ports.length > 0);
    return declared?.ports?.[0]?.containerPort ?? (scheme === "https" ? 443 : 80);
  }
  const port = /^[1-9][0-9]{0,4}$/.test(named) ? Number(named) : 0;
  if (port < 1 || port > 65535) {
    throw new Refusal("BadRequest", `${JSON.stringify(named)} is no port of a pod`);
  }
  return port;
}

/** Whether a node's path leads to a session of its kubelet, on whatever port. */
function isKubeletSession({ rest }: ProxyAddress): boolean {
  return KUBELET_SESSIONS.has(rest[0]?.toLowerCase() ?? "");
}

function forbidden({ resource, id }: ProxyAddress, reason: string, rule = RULE): Refusal {
  const details = { name: id, kind: resource };
  return new Refusal("Forbidden", `${resource} "${id}" is forbidden: ${reason}`, { details, rule });
}
