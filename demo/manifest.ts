import { randomBytes, randomUUID } from "node:crypto";
import type { V1Container, V1Node, V1Pod } from "@kubernetes/client-node";
import { parseAllDocuments } from "yaml";
import type { Binding, Policy, PolicyRule, Role, Subject } from "./rbac/evaluate.ts";

/** A pod as the API serves it: JSON, whose times are strings, where the client library's types have dates. */
export type ServedPod = V1Pod & { metadata: { name: string; namespace: string; uid: string } };

/** What the embedded cluster consists of. Nothing changes while it runs. */
export interface ClusterState {
  policy: Policy;
  pods: readonly ServedPod[];
  node: V1Node;
  namespaces: readonly string[];
  /** RFC 3339. */
  startedAt: string;
  /** Tokens and whom they belong to. */
  users: ReadonlyMap<string, Requester>;
}

export interface Requester {
  username: string;
  uid: string;
  groups: readonly string[];
}

/** The gateway's identity. */
export const GATEWAY_USER = "system:serviceaccount:postern-system:postern";

/** The node, and the identity of its kubelet. */
export const NODE_NAME = "demo-node";
export const NODE_USER = `system:node:${NODE_NAME}`;

/** A context of the demo's kubeconfig. */
export const PEOPLE = ["alice", "bob", "root"] as const;

/** What is known only once things run. */
export interface ClusterFacts {
  /** Where the kubelet listens. */
  kubelet: { host: string; port: number };
  /** Where the HTTP server of the pod `web` listens, which shares this machine's network. */
  webPort: number;
  /** See {@linkcode createUsers}. */
  users: ReadonlyMap<string, Requester>;
}

/** A document of the manifest, as far as it is read. */
interface Document {
  kind: string;
  metadata: { name: string; namespace?: string };
  rules?: PolicyRule[];
  subjects?: Subject[];
  roleRef?: Binding["roleRef"];
}

/** Makes the cluster out of its manifest: adds what a real one would have added (UIDs, statuses, a node). */
export async function readCluster(manifest: URL, facts: ClusterFacts): Promise<ClusterState> {
  const text = await Deno.readTextFile(manifest);
  const documents = parseAllDocuments(text).map((document) => document.toJS() as Document & V1Pod);
  const of = (...kinds: string[]) => documents.filter(({ kind }) => kinds.includes(kind));
  const startedAt = new Date().toISOString().replace(/\.\d+/, "");
  const roles: Role[] = of("Role", "ClusterRole").map(({ metadata, rules }) => {
    return { name: metadata.name, namespace: metadata.namespace, rules: rules ?? [] };
  });
  const bindings = of("RoleBinding", "ClusterRoleBinding").map(({ metadata, subjects, roleRef }): Binding => {
    return {
      name: metadata.name,
      namespace: metadata.namespace,
      subjects: subjects ?? [],
      roleRef: roleRef!,
    };
  });
  const pods = of("Pod").map((pod, index) => complete(pod, index, facts.webPort, startedAt));
  return {
    policy: { roles, bindings },
    pods: pods.sort((one, other) => one.metadata.name < other.metadata.name ? -1 : 1),
    node: makeNode(facts.kubelet, startedAt),
    namespaces: ["default", "kube-node-lease", "kube-public", "kube-system", "postern-system"],
    startedAt,
    users: facts.users,
  };
}

/** New tokens for everyone. They live as long as the demo. */
export function createUsers(): Map<string, Requester> {
  const accounts = ["system:serviceaccounts", "system:serviceaccounts:postern-system"];
  const identities: [username: string, groups: string[]][] = [
    ...PEOPLE.map((name): [string, string[]] => [name, []]),
    [GATEWAY_USER, accounts],
    [NODE_USER, ["system:nodes"]],
  ];
  return new Map(identities.map(([username, groups]) => {
    return [newToken(), { username, uid: randomUUID(), groups: [...groups, "system:authenticated"] }];
  }));
}

/** The token of a user. */
export function tokenOf(users: ReadonlyMap<string, Requester>, username: string): string {
  for (const [token, user] of users) if (user.username === username) return token;
  throw new RangeError(`no user ${username}`);
}

function newToken(): string {
  return crypto.getRandomValues(new Uint8Array(24)).toBase64({ alphabet: "base64url" });
}

/** The pod with what scheduler and kubelet would have added. */
function complete(pod: V1Pod, index: number, webPort: number, startedAt: string): ServedPod {
  const { name = "", namespace = "default" } = pod.metadata ?? {};
  const init = (pod.spec?.initContainers ?? []).map((container) => withPort(container, webPort));
  const containers = (pod.spec?.containers ?? []).map((container) => withPort(container, webPort));
  const isWaiting = init.length > 0;
  const ip = `10.244.0.${index + 2}`;
  const started = { running: { startedAt } };
  const served = {
    apiVersion: "v1",
    kind: "Pod",
    metadata: {
      ...pod.metadata,
      name,
      namespace,
      uid: randomUUID(),
      resourceVersion: "1",
      creationTimestamp: startedAt,
    },
    spec: {
      ...(init.length > 0 && { initContainers: init }),
      containers,
      nodeName: NODE_NAME,
      restartPolicy: "Always",
      serviceAccountName: "default",
      automountServiceAccountToken: false,
    },
    status: {
      phase: isWaiting ? "Pending" : "Running",
      hostIP: "127.0.0.1",
      podIP: ip,
      podIPs: [{ ip }],
      startTime: startedAt,
      qosClass: "BestEffort",
      conditions: conditions(init, containers, startedAt),
      ...(init.length > 0 && {
        initContainerStatuses: init.map((container) => containerStatus(container, started, false)),
      }),
      containerStatuses: containers.map((container) => {
        return isWaiting
          ? containerStatus(container, { waiting: { reason: "PodInitializing" } }, false)
          : containerStatus(container, started, true);
      }),
    },
  };
  return served as unknown as ServedPod;
}

/** A port named `http` is the one that the demo's HTTP server found free; its container is told by `PORT`. */
function withPort(container: V1Container, webPort: number): V1Container {
  if (container.ports?.some(({ name }) => name === "http") !== true) return container;
  const ports = container.ports.map((port) =>
    port.name === "http" ? { ...port, containerPort: webPort } : port
  );
  return { ...container, ports, env: [...container.env ?? [], { name: "PORT", value: String(webPort) }] };
}

function conditions(
  init: readonly V1Container[],
  containers: readonly V1Container[],
  startedAt: string,
): object[] {
  const names = (list: readonly V1Container[]) => list.map(({ name }) => name).join(" ");
  const notInitialized = {
    reason: "ContainersNotInitialized",
    message: `containers with incomplete status: [${names(init)}]`,
  };
  const notReady = {
    reason: "ContainersNotReady",
    message: `containers with unready status: [${names(containers)}]`,
  };
  const isWaiting = init.length > 0;
  const condition = (type: string, why: object | undefined) => {
    return { type, status: why === undefined ? "True" : "False", lastTransitionTime: startedAt, ...why };
  };
  return [
    condition("PodReadyToStartContainers", undefined),
    condition("Initialized", isWaiting ? notInitialized : undefined),
    condition("Ready", isWaiting ? notReady : undefined),
    condition("ContainersReady", isWaiting ? notReady : undefined),
    condition("PodScheduled", undefined),
  ];
}

function containerStatus(
  { name, image }: V1Container,
  state: { running: object } | { waiting: object },
  ready: boolean,
): object {
  const hasStarted = "running" in state;
  return {
    name,
    image,
    imageID: hasStarted ? `demo://${image}` : "",
    ...(hasStarted && { containerID: `demo://${randomBytes(32).toString("hex")}` }),
    ready,
    started: hasStarted,
    restartCount: 0,
    state,
    lastState: {},
  };
}

function makeNode({ host, port }: ClusterFacts["kubelet"], startedAt: string): V1Node {
  const { os, arch } = Deno.build;
  const architecture = arch === "aarch64" ? "arm64" : "amd64";
  const condition = (type: string, status: string, reason: string, message: string) => {
    return { type, status, reason, message, lastHeartbeatTime: startedAt, lastTransitionTime: startedAt };
  };
  const { total } = Deno.systemMemoryInfo();
  const capacity = {
    cpu: String(navigator.hardwareConcurrency),
    memory: `${Math.floor(total / 1024)}Ki`,
    pods: "110",
  };
  const node = {
    apiVersion: "v1",
    kind: "Node",
    metadata: {
      name: NODE_NAME,
      uid: randomUUID(),
      resourceVersion: "1",
      creationTimestamp: startedAt,
      labels: {
        "kubernetes.io/arch": architecture,
        "kubernetes.io/hostname": NODE_NAME,
        "kubernetes.io/os": os,
      },
    },
    spec: {},
    status: {
      capacity,
      allocatable: capacity,
      addresses: [{ type: "InternalIP", address: host }, { type: "Hostname", address: NODE_NAME }],
      daemonEndpoints: { kubeletEndpoint: { Port: port } },
      conditions: [condition("Ready", "True", "KubeletReady", "kubelet is posting ready status")],
      nodeInfo: {
        kubeletVersion: VERSION.gitVersion,
        operatingSystem: os,
        architecture,
        osImage: "this machine",
        kernelVersion: Deno.osRelease(),
        containerRuntimeVersion: "demo://1",
        machineID: "",
        systemUUID: "",
        bootID: "",
        kubeProxyVersion: "",
      },
    },
  };
  return node as unknown as V1Node;
}

/** The Kubernetes that the embedded API is modelled on. */
export const VERSION = {
  major: "1",
  minor: "34",
  gitVersion: "v1.34.4",
  gitCommit: "",
  gitTreeState: "clean",
  buildDate: "2026-01-01T00:00:00Z",
  goVersion: "none",
  compiler: "none",
  platform: "linux/amd64",
};
