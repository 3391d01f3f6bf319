import { randomUUID } from "node:crypto";
import type { V1Deployment, V1Node, V1Pod, V1Service } from "@kubernetes/client-node";
import { parseAllDocuments } from "yaml";
import { now, podStatus, running } from "./pod_status.ts";
import { PodStore, type ServedPod } from "./pod_store.ts";
import type { Binding, Policy, PolicyRule, Role, Subject } from "./rbac/evaluate.ts";

/** What the embedded cluster consists of. Nothing but its pods changes while it runs. */
export interface ClusterState {
  policy: Policy;
  pods: PodStore;
  services: readonly V1Service[];
  deployments: readonly V1Deployment[];
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
  const startedAt = now();
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
  const pods = of("Pod").map((pod, index) => {
    const created = createPod(pod, `10.244.0.${index + 2}`, startedAt);
    return { ...created, status: podStatus(created, new Map(startedWith(created, startedAt))) };
  });
  return {
    policy: { roles, bindings },
    pods: new PodStore(pods),
    services: of("Service").map((service) => keep(service, startedAt) as unknown as V1Service),
    deployments: of("Deployment").map((deployment) => keepDeployment(deployment, startedAt)),
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

/** A pod with what API server and scheduler add to it; nothing of it has begun. */
export function createPod(pod: V1Pod, podIP: string, createdAt: string): ServedPod {
  const { name = "", namespace = "default", labels, annotations } = pod.metadata ?? {};
  const created = {
    apiVersion: "v1",
    kind: "Pod",
    metadata: {
      ...{ name, namespace, uid: randomUUID(), creationTimestamp: createdAt },
      ...(labels && { labels }),
      ...(annotations && { annotations }),
    },
    spec: {
      restartPolicy: "Always",
      serviceAccountName: "default",
      automountServiceAccountToken: false,
      terminationGracePeriodSeconds: 30,
      ...pod.spec,
      nodeName: NODE_NAME,
    },
    status: { podIP },
  };
  const served = created as unknown as ServedPod; // its times are text
  return { ...served, status: podStatus(served, new Map()) };
}

/** What runs where everything does that can: the first of the init containers, or the containers. */
function startedWith({ spec }: ServedPod, startedAt: string) {
  const { initContainers = [], containers = [] } = spec ?? {};
  const begun = initContainers.length > 0 ? initContainers.slice(0, 1) : containers;
  return begun.map(({ name }) => [name, running(startedAt)] as const);
}

/** An object that nobody changes. */
function keep(object: Document, creationTimestamp: string): object {
  const { metadata } = object;
  return { ...object, metadata: { ...metadata, uid: randomUUID(), resourceVersion: "1", creationTimestamp } };
}

function keepDeployment(object: Document, creationTimestamp: string): V1Deployment {
  const status = {
    observedGeneration: 1,
    replicas: 1,
    updatedReplicas: 1,
    readyReplicas: 1,
    availableReplicas: 1,
  };
  return { ...keep(object, creationTimestamp), status } as unknown as V1Deployment;
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
