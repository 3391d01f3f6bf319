import { randomUUID } from "node:crypto";
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

/** A context of the demo's kubeconfig. */
export const PEOPLE = ["alice", "bob", "root"] as const;

/** Where the kubelet listens. */
export interface NodeAddress {
  host: string;
  port: number;
}

/** A document of the manifest, as far as it is read. */
interface Document {
  kind: string;
  metadata: { name: string; namespace?: string };
  rules?: PolicyRule[];
  subjects?: Subject[];
  roleRef?: Binding["roleRef"];
}

/**
 * Makes the cluster out of its manifest: adds what a real one would have added (UIDs, statuses, a node).
 *
 * @param users see {@linkcode createUsers}
 */
export async function readCluster(
  manifest: URL,
  kubelet: NodeAddress,
  users: ReadonlyMap<string, Requester>,
): Promise<ClusterState> {
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
  return {
    policy: { roles, bindings },
    pods: of("Pod").map((pod, index) => complete(pod, index, startedAt)),
    node: makeNode(kubelet, startedAt),
    namespaces: ["default", "kube-system", "postern-system"],
    users,
  };
}

/** New tokens for everyone. They live as long as the demo. */
export function createUsers(): Map<string, Requester> {
  const person = (username: string): Requester => ({
    username,
    uid: randomUUID(),
    groups: ["system:authenticated"],
  });
  const users = new Map<string, Requester>(PEOPLE.map((name) => [newToken(), person(name)]));
  const groups = ["system:serviceaccounts", "system:serviceaccounts:postern-system", "system:authenticated"];
  return users.set(newToken(), { username: GATEWAY_USER, uid: randomUUID(), groups });
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
function complete(pod: V1Pod, index: number, startedAt: string): ServedPod {
  const { name = "", namespace = "default" } = pod.metadata ?? {};
  const init = pod.spec?.initContainers ?? [];
  const isWaiting = init.length > 0;
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
    spec: { ...pod.spec, nodeName: "demo-node", restartPolicy: "Always", serviceAccountName: "default" },
    status: {
      phase: isWaiting ? "Pending" : "Running",
      hostIP: "127.0.0.1",
      podIP: `10.244.0.${index + 2}`,
      startTime: startedAt,
      qosClass: "BestEffort",
      conditions: ["Initialized", "Ready", "ContainersReady", "PodScheduled"].map((type) => {
        return {
          type,
          status: isWaiting && type !== "PodScheduled" ? "False" : "True",
          lastTransitionTime: startedAt,
        };
      }),
      initContainerStatuses: init.map((container) =>
        containerStatus(container, name, { running: { startedAt } }, false)
      ),
      containerStatuses: (pod.spec?.containers ?? []).map((container) => {
        const state = isWaiting ? { waiting: { reason: "PodInitializing" } } : { running: { startedAt } };
        return containerStatus(container, name, state, !isWaiting);
      }),
    },
  };
  return served as unknown as ServedPod;
}

function containerStatus({ name, image }: V1Container, pod: string, state: object, ready: boolean): object {
  return {
    name,
    image,
    imageID: `demo://${image}`,
    containerID: `demo://${pod}/${name}`,
    ready,
    started: ready,
    restartCount: 0,
    state,
    lastState: {},
  };
}

function makeNode({ host, port }: NodeAddress, startedAt: string): V1Node {
  const node = {
    apiVersion: "v1",
    kind: "Node",
    metadata: { name: "demo-node", uid: randomUUID(), resourceVersion: "1", creationTimestamp: startedAt },
    spec: {},
    status: {
      addresses: [{ type: "InternalIP", address: host }, { type: "Hostname", address: "demo-node" }],
      daemonEndpoints: { kubeletEndpoint: { Port: port } },
      conditions: [{ type: "Ready", status: "True", reason: "KubeletReady", lastTransitionTime: startedAt }],
      nodeInfo: { kubeletVersion: VERSION.gitVersion, operatingSystem: "linux", architecture: "amd64" },
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
