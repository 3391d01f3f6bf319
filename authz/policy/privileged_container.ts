import type { V1Container, V1EphemeralContainer, V1Pod } from "@kubernetes/client-node";
import type { Decision } from "./decision.ts";

/** How far the rule reaches. */
export interface PrivilegedOptions {
  /** `container`: what the container asked for sets. `pod`: what any container of its pod sets. Host namespaces always count. */
  scope: "container" | "pod";
  /** Also guard what is not called privileged, yet reaches the node. */
  strict: boolean;
}

/** What the rule looks at. */
export interface PrivilegedInput {
  pod: V1Pod;
  /** The container asked for; a port-forward has none. */
  container: { name: string; spec: V1Container | V1EphemeralContainer } | undefined;
  options: PrivilegedOptions;
}

/** Why a target is guarded. */
export interface Finding {
  /** The field, as it stands in the manifest. */
  field: string;
  /** The container that sets it; `undefined` where the pod does. */
  container: string | undefined;
  /** The target sees that container's processes, because all of its pod do. */
  isShared?: boolean;
  /** The target is an ephemeral container that was added to see that container's processes. */
  isTargeted?: boolean;
}

const RULE = "privileged-container";

/**
 * Capabilities with which root in a container is root on its node, or as good as:
 * SYS_ADMIN mounts; SYS_MODULE and SYS_RAWIO change the kernel or its memory; SYS_PTRACE, PERFMON and BPF read other
 * processes; DAC_READ_SEARCH opens files of the node by handle; MKNOD makes its devices, where the runtime does not
 * give it to everyone anyway; SYS_BOOT and SYS_TIME stop it or lie to it; SYSLOG shows its addresses; AUDIT_CONTROL
 * silences its audit; NET_ADMIN and MAC_ADMIN change its rules where namespaces are shared.
 * NET_RAW, CHOWN, SETUID and the like, which runtimes give to every container, act inside it alone.
 */
const NODE_CAPABILITIES: ReadonlySet<string> = new Set([
  "ALL",
  "AUDIT_CONTROL",
  "BPF",
  "DAC_READ_SEARCH",
  "MAC_ADMIN",
  "MAC_OVERRIDE",
  "MKNOD",
  "NET_ADMIN",
  "PERFMON",
  "SYSLOG",
  "SYS_ADMIN",
  "SYS_BOOT",
  "SYS_MODULE",
  "SYS_PTRACE",
  "SYS_RAWIO",
  "SYS_TIME",
]);

type Container = V1Container | V1EphemeralContainer;

/**
 * Sessions into a privileged container are for cluster-admins.
 *
 * Reads `hostPID`, `hostIPC`, `hostNetwork` and `securityContext.windowsOptions.hostProcess` of the pod, and
 * `securityContext.privileged` and `.windowsOptions.hostProcess` of the regular, init or ephemeral container, and of the one
 * whose processes an ephemeral container was added to see (`targetContainerName`), however it was added.
 * Unset is not privileged. Strict reads more: writable host paths, capabilities, an unmasked /proc, shared processes.
 * What a pod does not say it cannot see: the path behind a PersistentVolumeClaim, or what the runtime adds by itself.
 *
 * A port-forward opens no container: what counts is the pod's host namespaces and, pod-wide, each of its containers.
 */
export function privilegedContainer(input: PrivilegedInput & { isClusterAdmin: boolean }): Decision {
  const finding = guardedBy(input);
  if (finding === undefined) {
    return { allowed: true, rule: RULE, reason: "the target is not privileged", obligations: [] };
  }
  const what = describe(input, finding);
  if (input.isClusterAdmin) {
    return {
      allowed: true,
      rule: RULE,
      reason: `${what}; the user is a cluster-admin`,
      obligations: [{ type: "record" }],
    };
  }
  return { allowed: false, rule: RULE, reason: `${what}: only cluster-admins may open it (rule ${RULE})` };
}

/** What makes the target one for cluster-admins; `undefined` where nothing does. Pure. */
export function guardedBy({ pod, container, options }: PrivilegedInput): Finding | undefined {
  const all = containersOf(pod);
  const reached = options.scope === "pod" ? all : container === undefined ? [] : [container.spec];
  const podFinding = hostFinding(pod);
  if (podFinding !== undefined) return podFinding;
  const fieldOf = (each: Container) =>
    privilegedField(each) ?? (options.strict ? strictField(pod, each) : undefined);
  for (const each of reached) {
    const field = fieldOf(each);
    if (field !== undefined) return { field, container: each.name };
  }
  const targeted = all.find(({ name }) => name === targetOf(container?.spec));
  const targetField = targeted && fieldOf(targeted);
  if (targetField !== undefined) return { field: targetField, container: targeted!.name, isTargeted: true };
  if (!options.strict || !pod.spec?.shareProcessNamespace) return undefined;
  for (const neighbour of all) {
    const field = privilegedField(neighbour);
    if (field !== undefined) return { field, container: neighbour.name, isShared: true };
  }
  return undefined;
}

function describe({ pod, container }: PrivilegedInput, finding: Finding): string {
  const podName = pod.metadata?.name ?? "";
  const target = container === undefined
    ? `pod "${podName}"`
    : `container "${container.name}" of pod "${podName}"`;
  if (finding.container === undefined) return `${target} runs with ${finding.field}`;
  if (finding.container === container?.name) return `${target} sets ${finding.field}`;
  if (finding.isTargeted) {
    return `${target} sees the processes (targetContainerName) of container "${finding.container}", which sets ${finding.field}`;
  }
  if (finding.isShared) {
    return `${target} shares its processes (shareProcessNamespace) with container "${finding.container}", which sets ${finding.field}`;
  }
  return `${target} stands beside container "${finding.container}", which sets ${finding.field}`;
}

/** A pod that shares what belongs to its node does so for each of its containers. */
function hostFinding({ spec }: V1Pod): Finding | undefined {
  const fields = {
    hostPID: spec?.hostPID,
    hostIPC: spec?.hostIPC,
    hostNetwork: spec?.hostNetwork,
    "securityContext.windowsOptions.hostProcess": spec?.securityContext?.windowsOptions?.hostProcess,
  };
  const set = Object.entries(fields).find(([, value]) => value === true);
  return set && { field: set[0], container: undefined };
}

function privilegedField({ securityContext }: Container): string | undefined {
  if (securityContext?.privileged === true) return "securityContext.privileged";
  if (securityContext?.windowsOptions?.hostProcess === true) {
    return "securityContext.windowsOptions.hostProcess";
  }
  return undefined;
}

/** What reaches the node without being called privileged: a writable host path, a capability, an unmasked /proc. */
function strictField({ spec }: V1Pod, { securityContext, volumeMounts }: Container): string | undefined {
  const capability = securityContext?.capabilities?.add?.find((name) => {
    return NODE_CAPABILITIES.has(name.toUpperCase().replace(/^CAP_/, ""));
  });
  if (capability !== undefined) return `securityContext.capabilities.add ${capability}`;
  if (securityContext?.procMount === "Unmasked") return "securityContext.procMount";
  for (const { name, hostPath } of spec?.volumes ?? []) {
    if (hostPath === undefined || hostPath === null) continue;
    const mounts = volumeMounts?.filter((mount) => mount.name === name) ?? [];
    const mount = isConnectable(hostPath) ? mounts[0] : mounts.find(({ readOnly }) => readOnly !== true);
    if (mount !== undefined) return `volumeMounts ${mount.mountPath} (writable hostPath ${hostPath.path})`;
  }
  return undefined;
}

/** A socket or a device takes what is written to it through a read-only mount too: the container runtime's, for one. */
function isConnectable({ type, path }: { type?: string; path: string }): boolean {
  return ["Socket", "CharDevice", "BlockDevice"].includes(type ?? "") || path.endsWith(".sock");
}

/** Whose processes an ephemeral container sees; no other kind has such a field. */
function targetOf(container: Container | undefined): string | undefined {
  return container && "targetContainerName" in container ? container.targetContainerName : undefined;
}

function containersOf({ spec }: V1Pod): Container[] {
  return [...spec?.initContainers ?? [], ...spec?.containers ?? [], ...spec?.ephemeralContainers ?? []];
}
