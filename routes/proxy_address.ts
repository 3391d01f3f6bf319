import { Refusal } from "../kube/status.ts";

/** What the API server proxies to. */
export type ProxyResource = "nodes" | "pods" | "services";

/** What a proxy path leads to. */
export interface ProxyAddress {
  resource: ProxyResource;
  /** Of a pod or service. */
  namespace?: string;
  /** As the path has it, `scheme:name:port`: what permissions are asked for, as the API server does. */
  id: string;
  name: string;
  scheme: string;
  /** Empty where the path names none. */
  port: string;
  /** What stands behind `proxy`, decoded. */
  rest: readonly string[];
}

const SINGULAR = { nodes: "node", pods: "pod", services: "service" } as const;

/**
 * Reads `/api/v1/nodes/{node}/proxy[/…]` and `/api/v1/namespaces/{namespace}/{pods|services}/{name}/proxy[/…]`, where each
 * name may be `name`, `name:port` or `scheme:name:port`.
 *
 * @throws {Refusal} BadRequest in the API server's words; NotFound for any other path
 * @see k8s.io/apimachinery pkg/util/net/port_split.go
 */
export function readProxyAddress(segments: readonly string[]): ProxyAddress {
  const isNamespaced = segments[2] === "namespaces";
  const [resource, id, subresource, ...rest] = segments.slice(isNamespaced ? 4 : 2);
  const isKnown = isNamespaced ? resource === "pods" || resource === "services" : resource === "nodes";
  if (!isKnown || id === undefined || subresource !== "proxy") {
    throw new Refusal("NotFound", "the server could not find the requested resource");
  }
  const known = resource as ProxyResource;
  const parts = id.split(":");
  const [scheme = "", name = "", port = ""] = parts.length === 1
    ? ["", id]
    : parts.length === 2
    ? ["", ...parts]
    : parts;
  if (parts.length > 3 || name === "" || !["", "http", "https"].includes(scheme)) {
    throw new Refusal("BadRequest", `invalid ${SINGULAR[known]} request ${JSON.stringify(id)}`);
  }
  return { resource: known, id, name, scheme, port, rest, ...(isNamespaced && { namespace: segments[3]! }) };
}
