import { isIP } from "node:net";
import type { V1Node } from "@kubernetes/client-node";

/**
 * Whether `name` names this node, as a person or an older tool would write it: its name, one of its addresses, or the
 * first label of one of these (`node1` for `node1.example.com`). A longer name than the node has names another.
 *
 * @param name may be `name:port` or `https:name:port` as the API server takes it; the port must be the kubelet's
 */
export function isNodeNamed(name: string, node: V1Node, kubeletPort: number): boolean {
  const host = hostOf(name, kubeletPort);
  if (host === undefined) return false;
  const addresses = (node.status?.addresses ?? []).map(({ address }) => address);
  const names = [node.metadata?.name, ...addresses].flatMap((each) => each ? [each.toLowerCase()] : []);
  const wanted = host.toLowerCase();
  return names.some((each) => each === wanted || (isDnsName(each) && each.split(".")[0] === wanted));
}

/** @see k8s.io/apimachinery pkg/util/net, SplitSchemeNamePort */
function hostOf(name: string, kubeletPort: number): string | undefined {
  const parts = name.split(":");
  if (parts.length === 1 || isIP(name) === 6) return name;
  if (parts.length > 3) return undefined;
  const [scheme, host, port] = parts.length === 3 ? parts : ["https", ...parts];
  const isKubelet = scheme === "https" && (port === "" || port === String(kubeletPort));
  return isKubelet ? host : undefined;
}

function isDnsName(name: string): boolean {
  return isIP(name) === 0;
}
