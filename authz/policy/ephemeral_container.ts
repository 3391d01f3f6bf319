import type { V1EphemeralContainer, V1Pod } from "@kubernetes/client-node";
import type { Decision } from "./decision.ts";
import { type Finding, guardedBy, type PrivilegedOptions } from "./privileged_container.ts";

/** What the rule looks at. */
export interface EphemeralInput {
  /** As it would be, the added containers among its own. */
  pod: V1Pod;
  /** The ephemeral containers that were not in it before. */
  added: readonly V1EphemeralContainer[];
  options: PrivilegedOptions;
}

const RULE = "ephemeral-container";

/**
 * Ephemeral containers by which a guarded target would be made or entered are for cluster-admins.
 *
 * Guarded is what the privileged rule guards: the added container itself (its security context, its pod's host
 * namespaces, and with strict all that this adds), and the container whose processes it sees, `targetContainerName`.
 */
export function ephemeralContainer(input: EphemeralInput & { isClusterAdmin: boolean }): Decision {
  const { added, isClusterAdmin } = input;
  const what = guardedAddition(input);
  if (what === undefined) {
    const reason = added.length === 0
      ? "no ephemeral container is added"
      : "neither the ephemeral container nor its target is privileged";
    return { allowed: true, rule: RULE, reason, obligations: [] };
  }
  if (isClusterAdmin) {
    const reason = `${what}; the user is a cluster-admin`;
    return { allowed: true, rule: RULE, reason, obligations: [{ type: "record" }] };
  }
  return { allowed: false, rule: RULE, reason: `${what}: only cluster-admins may add it (rule ${RULE})` };
}

/** Why an addition is one for cluster-admins, as the start of a sentence; `undefined` where it is not. Pure. */
export function guardedAddition({ pod, added, options }: EphemeralInput): string | undefined {
  const podName = pod.metadata?.name ?? "";
  for (const container of added) {
    const name = `ephemeral container "${container.name}"`;
    const finding = guardedBy({ pod, container: { name: container.name, spec: container }, options });
    if (finding?.isTargeted) {
      return `${name} targets container "${finding.container}" of pod "${podName}", which sets ${finding.field}`;
    }
    if (finding !== undefined) return `${name} of pod "${podName}" ${describe(finding, container.name)}`;
    const { targetContainerName: targetName } = container;
    // The API server refuses it too. What cannot be looked at is not called harmless here.
    if (targetName && !hasContainer(pod, targetName)) {
      return `${name} targets container "${targetName}", which pod "${podName}" has not`;
    }
  }
  return undefined;
}

function describe({ field, container, isShared }: Finding, added: string): string {
  if (container === undefined) return `runs with the pod's ${field}`;
  if (container === added) return `sets ${field}`;
  if (isShared) {
    return `shares its processes (shareProcessNamespace) with container "${container}", which sets ${field}`;
  }
  return `stands beside container "${container}", which sets ${field}`;
}

function hasContainer({ spec }: V1Pod, name: string): boolean {
  const all = [
    ...spec?.containers ?? [],
    ...spec?.initContainers ?? [],
    ...spec?.ephemeralContainers ?? [],
  ];
  return all.some((container) => container.name === name);
}
