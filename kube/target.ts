import type { V1Container, V1EphemeralContainer, V1Node, V1Pod } from "@kubernetes/client-node";

/** Which of a pod's three lists a container stands in. */
export type ContainerKind = "regular" | "init" | "ephemeral";

/**
 * What a session is opened to, as it was when it was checked. By its `podUid` a pod that was deleted and made again under the same
 * name is another target.
 */
export interface Target {
  namespace: string;
  podName: string;
  podUid: string;
  pod: V1Pod;
  /** Set for exec and attach; a port-forward has none. */
  container?: { kind: ContainerKind; name: string; spec: V1Container | V1EphemeralContainer };
  nodeName: string;
  /** Where nodes are not read: no more than the pod says of its node. */
  node: V1Node;
  /**
   * Where the kubelet listens: an address of the node by the configured order of types, and its port. Absent where nodes are not
   * read, as no kubelet is dialled.
   */
  kubelet?: { host: string; port: number };
}
