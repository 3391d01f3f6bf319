import { type AuditEvent, decisionEvent } from "../audit/event.ts";
import { readCredential } from "../authz/credential.ts";
import type { Decision, Obligation } from "../authz/policy/decision.ts";
import { KUBELET_PORT } from "../kube/node_address.ts";
import { isNodeNamed } from "../kube/node_name.ts";
import { Refusal } from "../kube/status.ts";
import type { Target } from "../kube/target.ts";
import { recordStrictly } from "./evidence.ts";
import { auditTarget, type Caller, type Gate } from "./gate.ts";
import type { Journey } from "./journey.ts";
import type { SessionAddress } from "./session_address.ts";

/** Who asks, as whom, and the credential that says so. */
export async function identify(
  journey: Journey,
  gate: Pick<Gate, "authenticate" | "impersonate">,
): Promise<Caller> {
  return await journey.watch.phase("authenticate", () => readCaller(journey, gate));
}

async function readCaller(
  journey: Journey,
  gate: Pick<Gate, "authenticate" | "impersonate">,
): Promise<Caller> {
  const { rawHeaders, signal } = journey.context;
  const { token, subprotocols } = readCredential(rawHeaders);
  const owner = await gate.authenticate(token, signal);
  journey.learnIdentity({ user: owner });
  const identity = await gate.impersonate(owner, rawHeaders, signal);
  journey.learnIdentity(identity);
  return { user: identity.user, token, ...(subprotocols && { subprotocols }) };
}

/**
 * Finds the target and asks whether the caller may open such a session to it at all. What the cluster holds is told only to
 * those who may.
 *
 * @throws {Refusal}
 */
export async function admit(
  journey: Journey,
  gate: Gate,
  { user }: Caller,
  address: SessionAddress,
): Promise<Target> {
  const { context: { signal }, watch } = journey;
  const { kind, namespace, pod, container, form, node, uid } = address;
  const wanted = { namespace, pod, container, purpose: kind };
  const resolving = watch.phase("resolve", () => gate.resolve(wanted, signal));
  resolving.catch(() => {}); // told below, and only to those who may know
  await watch.phase("authorize", async () => {
    await gate.authorize(user, { namespace, pod, subresource: kind }, signal);
    // The API server asks for no more than this one, which is why it is a way around: here it comes on top.
    if (form === "node_proxy") await gate.authorizeNodeProxy(user, node!, signal);
  });
  const target = await resolving;
  journey.auditTarget = auditTarget(target);
  if (uid !== undefined && uid !== target.podUid) {
    throw new Refusal("NotFound", `pod "${pod}" has another UID than ${JSON.stringify(uid)}`, {
      rule: "uid",
    });
  }
  if (node !== undefined && !isNodeNamed(node, target.node, target.kubelet?.port ?? KUBELET_PORT)) {
    const message = `pod "${pod}" does not run on node ${JSON.stringify(node)}`;
    throw new Refusal("NotFound", message, { rule: "node" });
  }
  return target;
}

/** What was allowed, as it is being written down. */
export interface Permission {
  event: AuditEvent;
  /** Resolves when the decision is durable, before which nothing may open. @throws {Refusal} ServiceUnavailable */
  recorded: Promise<void>;
  obligations: readonly Obligation[];
}

/**
 * Asks the policy, and begins to write its answer down.
 *
 * @returns what was allowed, which is not durable yet
 * @throws {Refusal} Forbidden with the rule's own reason; ServiceUnavailable where it cannot be written down
 */
export async function decide(
  journey: Journey,
  gate: Gate,
  { user }: Caller,
  target: Target,
): Promise<Permission> {
  const { context: { signal }, watch } = journey;
  const decision = await watch.phase("decide", () => gate.decide(user, target, signal));
  const event = decisionEvent(journey.facts, auditTarget(target), decision);
  const recorded = recordStrictly(gate, event);
  if (decision.allowed) {
    recorded.catch(() => {}); // told to whoever waits for it
    return { event, recorded, obligations: decision.obligations };
  }
  await recorded;
  throw denied(target, decision);
}

/** A policy's denial, as the API server words its own. */
export function denied({ podName: name }: Target, { reason, rule }: Decision): Refusal {
  const details = { name, kind: "pods" };
  return new Refusal("Forbidden", `pods "${name}" is forbidden: ${reason}`, { details, rule });
}
