import { Refusal } from "../kube/status.ts";
import type { RequestTarget } from "./request_target.ts";

/** The kinds of session, as the API calls them. */
export type SessionKind = "exec" | "attach" | "portforward";

/** Whether a subresource is one of them. */
export function isSessionKind(subresource: string | undefined): subresource is SessionKind {
  return subresource === "exec" || subresource === "attach" || subresource === "portforward";
}

/** Which pod and container a session is asked for, whichever form of path says so. */
export interface SessionAddress {
  kind: SessionKind;
  namespace: string;
  pod: string;
  /** `undefined` where the request names none. */
  container: string | undefined;
  /** The pod's UID, where the path names it: no other pod of that name will do. */
  uid?: string;
  /** The node that the path names; the pod must run there. */
  node?: string;
  /**
   * By which form of path: a subresource of the pod; a kubelet's path through the node's `proxy` subresource; or one of
   * the OpenShift documents.
   */
  form: "pod" | "node_proxy" | "legacy";
}

/** A kubelet's path that is a session, and the `run` that is one in all but its protocol. */
export interface KubeletAddress extends SessionAddress {
  /** `run`: the command's output comes as the answer to a POST. */
  isRun: boolean;
  node: string;
}

/** `…/api/v1/namespaces/{namespace}/pods/{pod}/{kind}?container=…` */
export function readPodAddress({ segments, query }: RequestTarget, kind: SessionKind): SessionAddress {
  const container = query.find(([name]) => name === "container")?.[1] || undefined;
  return { kind, namespace: segments[3]!, pod: segments[5]!, container, form: "pod" };
}

/** What a kubelet calls its sessions. The case counts, as it does for a kubelet. */
const ACTIONS = {
  exec: "exec",
  run: "exec",
  attach: "attach",
  portForward: "portforward",
} as const satisfies Record<string, SessionKind>;

/**
 * Reads a path that leads to a kubelet's sessions:
 *
 *     /proxy/{nodes|minions}/{node}/{action}/{namespace}/{pod}[/{uid}]/{container}     also under /api/v1
 *     /proxy/{nodes|minions}/{node}/portForward/{namespace}/{pod}[/{uid}]              also under /api/v1
 *     /api/v1/nodes/{node}/proxy/…                                                     the same behind it
 *
 * @returns `undefined` where the path leads elsewhere
 * @see the OpenShift documents on remote commands and port forwarding; k8s.io/kubernetes pkg/kubelet/server/server.go
 */
export function readKubeletAddress(segments: readonly string[]): KubeletAddress | undefined {
  const split = splitNode(segments);
  if (split === undefined) return undefined;
  const [action = "", namespace, pod, ...rest] = split.path;
  if (!Object.hasOwn(ACTIONS, action) || namespace === undefined || pod === undefined) return undefined;
  const kind = ACTIONS[action as keyof typeof ACTIONS];
  // The uid stands before the container, which a port-forward has not.
  const container = kind === "portforward" ? undefined : rest.pop();
  const [uid, ...more] = rest;
  if (more.length > 0 || (kind !== "portforward" && container === undefined)) return undefined;
  const { form, node } = split;
  const isRun = action === "run";
  return { kind, namespace, pod, container, form, node, isRun, ...(uid !== undefined && { uid }) };
}

function splitNode(segments: readonly string[]) {
  const [api, version, resource, name, subresource] = segments;
  if (api === "api" && version === "v1" && resource === "nodes" && subresource === "proxy") {
    return { form: "node_proxy" as const, node: name!, path: segments.slice(5) };
  }
  const [proxy, nodes, node, ...path] = api === "api" && version === "v1" ? segments.slice(2) : segments;
  if (proxy !== "proxy" || (nodes !== "nodes" && nodes !== "minions") || node === undefined) return undefined;
  return { form: "legacy" as const, node, path };
}

/** The API has no such path. */
export function noSuchPath(): Refusal {
  return new Refusal("NotFound", "the server could not find the requested resource");
}
