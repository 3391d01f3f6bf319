import type { V1Node, V1Pod } from "@kubernetes/client-node";
import { ApiError, type KubeClient } from "./client.ts";
import { chooseContainer } from "./container.ts";
import { kubeletAddress, type NodeAddressOptions } from "./node_address.ts";
import type { NodeCache } from "./node_cache.ts";
import { Refusal } from "./status.ts";
import type { Target } from "./target.ts";

/** What a target is asked for by. */
export interface TargetRequest {
  namespace: string;
  pod: string;
  /** `undefined` where the request names none. */
  container: string | undefined;
  /** A port-forward has no container. */
  purpose: "exec" | "attach" | "portforward";
}

/** How targets are found. */
export interface ResolveOptions extends NodeAddressOptions {
  /** @see chooseContainer */
  defaultContainerAnnotation: boolean;
  /** Where nodes are remembered; `undefined`: none is read, as sessions go through the API server. */
  nodes: NodeCache | undefined;
}

/**
 * Finds the target of a session: the pod as it is now, its container, its node and where the kubelet listens. One GET, two
 * for a node that is read and was not lately, never a list, so the cost does not grow with the cluster.
 *
 * @throws {Refusal} NotFound and BadRequest in the API server's words; ServiceUnavailable where it cannot be asked
 */
export async function resolveTarget(
  client: Pick<KubeClient, "get">,
  request: TargetRequest,
  options: ResolveOptions,
  signal?: AbortSignal,
): Promise<Target> {
  const { namespace, pod: name } = request;
  const path = `/api/v1/namespaces/${encodeURIComponent(namespace)}/pods/${encodeURIComponent(name)}`;
  if (!isName(namespace) || !isName(name)) throw notFound("pods", name);
  const pod = await read(() => client.get<V1Pod>(path, signal), "pods", name);
  const uid = pod.metadata?.uid;
  if (uid === undefined || pod.metadata?.name !== name || pod.metadata.namespace !== namespace) {
    throw new Refusal("InternalError", "the API server answered with another pod");
  }
  // A session keeps its pod for as long as it lives, and who wrote which of its fields is up to half of it.
  pod.metadata.managedFields = undefined;
  const container = request.purpose === "portforward"
    ? undefined
    : chooseContainer(pod, request.container, options.defaultContainerAnnotation);
  const nodeName = pod.spec?.nodeName;
  if (!nodeName || !isName(nodeName)) {
    throw new Refusal("BadRequest", `pod ${name} does not have a host assigned`);
  }
  const { nodes } = options;
  const node = nodes === undefined
    ? nodeOf(nodeName, pod)
    : await read(() => nodes.get(nodeName, signal), "nodes", nodeName);
  return {
    namespace,
    podName: name,
    podUid: uid,
    pod,
    ...(container && { container }),
    nodeName,
    node,
    ...(nodes && { kubelet: kubeletAddress(node, options) }),
  };
}

/** What a pod says of its node: its name and addresses. */
function nodeOf(name: string, { status }: V1Pod): V1Node {
  // Servers before 1.30 tell one address alone.
  const ips = new Set([status?.hostIP, ...(status?.hostIPs ?? []).map(({ ip }) => ip)]);
  const addresses = [...ips].flatMap((address) => address ? [{ type: "InternalIP", address }] : []);
  return { metadata: { name }, status: { addresses } };
}

/**
 * Makes sure that the pod of this name is still the one that was checked. UIDs do not come again: if it is now, it was all the
 * time since it was checked.
 *
 * @returns it, as it is now
 * @throws {Refusal} NotFound where it is another or gone; ServiceUnavailable where that cannot be asked
 */
export async function requireSamePod(
  client: Pick<KubeClient, "get">,
  { namespace, podName: name, podUid }: Pick<Target, "namespace" | "podName" | "podUid">,
  signal?: AbortSignal,
): Promise<V1Pod> {
  const path = `/api/v1/namespaces/${encodeURIComponent(namespace)}/pods/${encodeURIComponent(name)}`;
  const pod = await read(() => client.get<V1Pod>(path, signal), "pods", name);
  if (pod.metadata?.uid !== podUid) throw notFound("pods", name);
  return pod;
}

/** A DNS subdomain (RFC 1123): what every pod, namespace and node is called, and nothing that means more in a path. */
function isName(name: string): boolean {
  return name.length <= 253 && /^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/.test(name) && !name.includes("..");
}

function notFound(kind: string, name: string): Refusal {
  return new Refusal("NotFound", `${kind} "${name}" not found`, { details: { name, kind } });
}

async function read<T>(get: () => Promise<T>, kind: "pods" | "nodes", name: string): Promise<T> {
  try {
    return await get();
  } catch (cause) {
    if (cause instanceof ApiError && cause.code === 404) throw notFound(kind, name);
    throw new Refusal("ServiceUnavailable", "the gateway cannot read the target from the API server", {
      cause,
    });
  }
}
