import assert from "node:assert/strict";
import type { V1Container, V1EphemeralContainer, V1PodSpec } from "@kubernetes/client-node";
import { ephemeralContainer } from "./ephemeral_container.ts";
import type { PrivilegedOptions } from "./privileged_container.ts";

const APP: V1Container = { name: "app" };
const ROOT: V1Container = { name: "root", securityContext: { privileged: true } };
const TRACER: V1Container = { name: "tracer", securityContext: { capabilities: { add: ["SYS_PTRACE"] } } };
const LOOSE: PrivilegedOptions = { scope: "container", strict: false };
const STRICT: PrivilegedOptions = { scope: "container", strict: true };
const POD_WIDE: PrivilegedOptions = { scope: "pod", strict: false };

/** What the rule says of `added`, in a pod of `spec`. */
function ask(
  { spec = {}, added, options = LOOSE, isClusterAdmin = false }: {
    spec?: Partial<V1PodSpec>;
    added: Partial<V1EphemeralContainer>[];
    options?: PrivilegedOptions;
    isClusterAdmin?: boolean;
  },
) {
  const containers = added.map((each) => ({ name: "dbg", ...each }));
  const pod = {
    metadata: { name: "web" },
    spec: {
      containers: [APP],
      ...spec,
      ephemeralContainers: [...spec.ephemeralContainers ?? [], ...containers],
    },
  };
  return ephemeralContainer({ pod, added: containers, options, isClusterAdmin });
}

const allowed: (Parameters<typeof ask>[0] & { name: string })[] = [
  { name: "nothing", added: [] },
  { name: "a plain container", added: [{}] },
  { name: "a plain target", added: [{ targetContainerName: "app" }] },
  { name: "no target, which some clients spell as an empty one", added: [{ targetContainerName: "" }] },
  { name: "a plain container beside a privileged one", added: [{}], spec: { containers: [APP, ROOT] } },
  {
    name: "a plain container beside a privileged ephemeral one that was there before",
    added: [{}],
    spec: { ephemeralContainers: [{ name: "old", securityContext: { privileged: true } }] },
  },
  {
    name: "kubectl debug --profile=netadmin where nothing is strict",
    added: [{ securityContext: { capabilities: { add: ["NET_ADMIN", "NET_RAW"] } } }],
  },
];
for (const { name, ...input } of allowed) {
  Deno.test(`ephemeralContainer lets everyone add ${name}`, () => {
    const decision = ask(input);
    assert.equal(decision.allowed, true, decision.reason);
    assert.deepEqual(decision.allowed && decision.obligations, []);
  });
}

const guarded: (Parameters<typeof ask>[0] & { name: string; what: string })[] = [
  {
    name: "kubectl debug --profile=sysadmin",
    added: [{ securityContext: { privileged: true } }],
    what: 'ephemeral container "dbg" of pod "web" sets securityContext.privileged',
  },
  {
    name: "a privileged one behind a plain one",
    added: [{}, { name: "second", securityContext: { privileged: true } }],
    what: 'ephemeral container "second" of pod "web" sets securityContext.privileged',
  },
  {
    name: "a container of host processes",
    added: [{ securityContext: { windowsOptions: { hostProcess: true } } }],
    what: 'ephemeral container "dbg" of pod "web" sets securityContext.windowsOptions.hostProcess',
  },
  ...["hostPID", "hostIPC", "hostNetwork"].map((field) => ({
    name: `one into a pod with ${field}`,
    added: [{}],
    spec: { [field]: true },
    what: `ephemeral container "dbg" of pod "web" runs with the pod's ${field}`,
  })),
  {
    name: "one that sees a privileged container's processes",
    added: [{ targetContainerName: "root" }],
    spec: { containers: [APP, ROOT] },
    what:
      'ephemeral container "dbg" targets container "root" of pod "web", which sets securityContext.privileged',
  },
  {
    name: "one that sees a privileged init container's processes",
    added: [{ targetContainerName: "root" }],
    spec: { initContainers: [ROOT] },
    what:
      'ephemeral container "dbg" targets container "root" of pod "web", which sets securityContext.privileged',
  },
  {
    name: "one whose target is not there",
    added: [{ targetContainerName: "nobody" }],
    what: 'ephemeral container "dbg" targets container "nobody", which pod "web" has not',
  },
  {
    name: "one beside a privileged container, pod-wide",
    added: [{}],
    options: POD_WIDE,
    spec: { containers: [APP, ROOT] },
    what:
      'ephemeral container "dbg" of pod "web" stands beside container "root", which sets securityContext.privileged',
  },
  {
    name: "one that shares its pod's processes with a privileged container, strict",
    added: [{}],
    options: STRICT,
    spec: { containers: [APP, ROOT], shareProcessNamespace: true },
    what:
      'ephemeral container "dbg" of pod "web" shares its processes (shareProcessNamespace) with container "root", ' +
      "which sets securityContext.privileged",
  },
  {
    name: "kubectl debug --profile=netadmin, strict",
    added: [{ securityContext: { capabilities: { add: ["NET_ADMIN", "NET_RAW"] } } }],
    options: STRICT,
    what: 'ephemeral container "dbg" of pod "web" sets securityContext.capabilities.add NET_ADMIN',
  },
  {
    name: "one that sees the processes of a container that may trace, strict",
    added: [{ targetContainerName: "tracer" }],
    options: STRICT,
    spec: { containers: [APP, TRACER] },
    what:
      'ephemeral container "dbg" targets container "tracer" of pod "web", which sets securityContext.capabilities.add SYS_PTRACE',
  },
  {
    name: "one that mounts the node's files to write, strict",
    added: [{ volumeMounts: [{ name: "host", mountPath: "/host" }] }],
    options: STRICT,
    spec: { volumes: [{ name: "host", hostPath: { path: "/" } }] },
    what: 'ephemeral container "dbg" of pod "web" sets volumeMounts /host (writable hostPath /)',
  },
];
for (const { name, what, ...input } of guarded) {
  Deno.test(`ephemeralContainer keeps ${name} for cluster-admins`, () => {
    assert.deepEqual(ask(input), {
      allowed: false,
      rule: "ephemeral-container",
      reason: `${what}: only cluster-admins may add it (rule ephemeral-container)`,
    });
    assert.deepEqual(ask({ ...input, isClusterAdmin: true }), {
      allowed: true,
      rule: "ephemeral-container",
      reason: `${what}; the user is a cluster-admin`,
      obligations: [{ type: "record" }],
    });
  });
}
