import assert from "node:assert/strict";
import type { V1Container, V1EphemeralContainer, V1Pod, V1PodSpec } from "@kubernetes/client-node";
import { guardedBy, privilegedContainer, type PrivilegedOptions } from "./privileged_container.ts";

const PLAIN: V1Container = { name: "app" };
const PRIVILEGED: V1Container = { name: "root", securityContext: { privileged: true } };
const TRACER: V1Container = { name: "tracer", securityContext: { capabilities: { add: ["SYS_PTRACE"] } } };
const DEBUGGER: V1EphemeralContainer = { name: "dbg", targetContainerName: "root" };
const LOOSE: PrivilegedOptions = { scope: "container", strict: false };
const STRICT: PrivilegedOptions = { scope: "container", strict: true };
const POD_WIDE: PrivilegedOptions = { scope: "pod", strict: false };

/** A pod of these containers, and of it the one that is asked for, by default the first. */
function target(spec: Partial<V1PodSpec>, name?: string) {
  const pod: V1Pod = { metadata: { name: "p" }, spec: { containers: [PLAIN], ...spec } };
  const all = [...pod.spec!.containers, ...spec.initContainers ?? [], ...spec.ephemeralContainers ?? []];
  const container = all.find((each) => each.name === (name ?? all[0]!.name))!;
  return { pod, container: { name: container.name, spec: container } };
}

const only = (container: Partial<V1Container>) => target({ containers: [{ name: "app", ...container }] });
const adding = (capability: string) => only({ securityContext: { capabilities: { add: [capability] } } });
const mounting = (readOnly: boolean, hostPath: { path: string; type?: string } = { path: "/etc" }) => ({
  volumes: [{ name: "host", hostPath }],
  containers: [{ name: "app", volumeMounts: [{ name: "host", mountPath: "/host", readOnly }] }],
});

const CASES: {
  name: string;
  target: ReturnType<typeof target>;
  options?: PrivilegedOptions;
  field?: string;
}[] = [
  { name: "a plain container", target: only({}) },
  {
    name: "privileged: true",
    target: only({ securityContext: { privileged: true } }),
    field: "securityContext.privileged",
  },
  { name: "privileged: false", target: only({ securityContext: { privileged: false } }) },
  {
    name: "a privileged init container",
    target: target({ initContainers: [PRIVILEGED] }, "root"),
    field: "securityContext.privileged",
  },
  {
    name: "a privileged ephemeral container",
    target: target({ ephemeralContainers: [PRIVILEGED] }, "root"),
    field: "securityContext.privileged",
  },
  {
    name: "escape: an ephemeral container that was added to see a privileged one's processes",
    target: target({ containers: [PLAIN, PRIVILEGED], ephemeralContainers: [DEBUGGER] }, "dbg"),
    field: "securityContext.privileged",
  },
  {
    name: "escape: one that was added to see those of a container with an added capability",
    target: target({
      containers: [TRACER],
      ephemeralContainers: [{ ...DEBUGGER, targetContainerName: "tracer" }],
    }, "dbg"),
    options: STRICT,
    field: "securityContext.capabilities.add SYS_PTRACE",
  },
  {
    name: "an ephemeral container that was added to see a plain one's processes",
    target: target({ ephemeralContainers: [{ ...DEBUGGER, targetContainerName: "app" }] }, "dbg"),
  },
  { name: "a plain container beside a privileged one", target: target({ containers: [PLAIN, PRIVILEGED] }) },
  {
    name: "the same, pod-wide",
    target: target({ containers: [PLAIN, PRIVILEGED] }),
    options: POD_WIDE,
    field: "securityContext.privileged",
  },
  { name: "hostPID", target: target({ hostPID: true }), field: "hostPID" },
  { name: "hostIPC", target: target({ hostIPC: true }), field: "hostIPC" },
  { name: "hostNetwork", target: target({ hostNetwork: true }), field: "hostNetwork" },
  {
    name: "a pod of host processes",
    target: target({ securityContext: { windowsOptions: { hostProcess: true } } }),
    field: "securityContext.windowsOptions.hostProcess",
  },
  {
    name: "a container of host processes",
    target: only({ securityContext: { windowsOptions: { hostProcess: true } } }),
    field: "securityContext.windowsOptions.hostProcess",
  },
  { name: "SYS_ADMIN where nothing is strict", target: adding("SYS_ADMIN") },
  {
    name: "SYS_ADMIN",
    target: adding("SYS_ADMIN"),
    options: STRICT,
    field: "securityContext.capabilities.add SYS_ADMIN",
  },
  {
    name: "cap_sys_ptrace",
    target: adding("cap_sys_ptrace"),
    options: STRICT,
    field: "securityContext.capabilities.add cap_sys_ptrace",
  },
  { name: "ALL", target: adding("ALL"), options: STRICT, field: "securityContext.capabilities.add ALL" },
  { name: "NET_BIND_SERVICE", target: adding("NET_BIND_SERVICE"), options: STRICT },
  {
    name: "an unmasked /proc",
    target: only({ securityContext: { procMount: "Unmasked" } }),
    options: STRICT,
    field: "securityContext.procMount",
  },
  {
    name: "a writable host path",
    target: target(mounting(false)),
    options: STRICT,
    field: "volumeMounts /host (writable hostPath /etc)",
  },
  {
    name: "a writable host path that only a neighbour mounts",
    target: target({
      ...mounting(false),
      containers: [PLAIN, ...mounting(false).containers.map((each) => ({ ...each, name: "b" }))],
    }),
    options: STRICT,
  },
  {
    name: "escape: the runtime's socket, mounted to read",
    target: target(mounting(true, { path: "/run/containerd", type: "Socket" })),
    options: STRICT,
    field: "volumeMounts /host (writable hostPath /run/containerd)",
  },
  {
    name: "escape: a socket by its name, mounted to read",
    target: target(mounting(true, { path: "/var/run/docker.sock" })),
    options: STRICT,
    field: "volumeMounts /host (writable hostPath /var/run/docker.sock)",
  },
  {
    name: "escape: a disk of the node, mounted to read",
    target: target(mounting(true, { path: "/dev/sda", type: "BlockDevice" })),
    options: STRICT,
    field: "volumeMounts /host (writable hostPath /dev/sda)",
  },
  { name: "a host path to read", target: target(mounting(true)), options: STRICT },
  {
    name: "shared processes beside a privileged container",
    target: target({ containers: [PLAIN, PRIVILEGED], shareProcessNamespace: true }),
    options: STRICT,
    field: "securityContext.privileged",
  },
  {
    name: "shared processes beside plain ones",
    target: target({ shareProcessNamespace: true }),
    options: STRICT,
  },
];
for (const { name, target, options = LOOSE, field } of CASES) {
  Deno.test(`guardedBy ${field === undefined ? "passes" : "finds"} ${name}${options.strict ? " (strict)" : ""}`, () => {
    assert.equal(guardedBy({ ...target, options })?.field, field);
  });
}

Deno.test("a port-forward has no container: host namespaces count, and privileged neighbours pod-wide", () => {
  const { pod } = target({ containers: [PRIVILEGED] });
  assert.equal(guardedBy({ pod, container: undefined, options: LOOSE }), undefined);
  assert.equal(guardedBy({ pod, container: undefined, options: POD_WIDE })?.container, "root");
  const host = target({ hostNetwork: true });
  assert.equal(guardedBy({ pod: host.pod, container: undefined, options: LOOSE })?.field, "hostNetwork");
});

const SENTENCES = [
  {
    target: target({ containers: [PRIVILEGED], ephemeralContainers: [DEBUGGER] }, "dbg"),
    options: LOOSE,
    reason:
      'container "dbg" of pod "p" sees the processes (targetContainerName) of container "root", which sets securityContext.privileged: only cluster-admins may open it (rule privileged-container)',
  },
  {
    target: only({ securityContext: { privileged: true } }),
    options: LOOSE,
    reason:
      'container "app" of pod "p" sets securityContext.privileged: only cluster-admins may open it (rule privileged-container)',
  },
  {
    target: target({ hostPID: true }),
    options: LOOSE,
    reason:
      'container "app" of pod "p" runs with hostPID: only cluster-admins may open it (rule privileged-container)',
  },
  {
    target: target({ containers: [PLAIN, PRIVILEGED] }),
    options: POD_WIDE,
    reason:
      'container "app" of pod "p" stands beside container "root", which sets securityContext.privileged: only cluster-admins may open it (rule privileged-container)',
  },
  {
    target: target({ containers: [PLAIN, PRIVILEGED], shareProcessNamespace: true }),
    options: STRICT,
    reason:
      'container "app" of pod "p" shares its processes (shareProcessNamespace) with container "root", which sets securityContext.privileged: only cluster-admins may open it (rule privileged-container)',
  },
  {
    target: adding("SYS_ADMIN"),
    options: STRICT,
    reason:
      'container "app" of pod "p" sets securityContext.capabilities.add SYS_ADMIN: only cluster-admins may open it (rule privileged-container)',
  },
  {
    target: target(mounting(false)),
    options: STRICT,
    reason:
      'container "app" of pod "p" sets volumeMounts /host (writable hostPath /etc): only cluster-admins may open it (rule privileged-container)',
  },
];
for (const { target, options, reason } of SENTENCES) {
  Deno.test(`a refusal names rule, field and container: ${reason.slice(0, 50)}…`, () => {
    assert.deepEqual(privilegedContainer({ ...target, options, isClusterAdmin: false }), {
      allowed: false,
      rule: "privileged-container",
      reason,
    });
  });
}

Deno.test("a cluster-admin may, and is recorded", () => {
  const decision = privilegedContainer({
    ...only({ securityContext: { privileged: true } }),
    options: LOOSE,
    isClusterAdmin: true,
  });
  assert.ok(decision.allowed);
  assert.deepEqual(decision.obligations, [{ type: "record" }]);
});
