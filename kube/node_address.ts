import { BlockList, isIP } from "node:net";
import type { V1Node } from "@kubernetes/client-node";
import { Refusal } from "./status.ts";

/** Port of a kubelet whose node does not say. */
const KUBELET_PORT = 10250;

/** How a node's kubelet is found. */
export interface NodeAddressOptions {
  /** Types of address, best first. */
  addressTypes: readonly string[];
  /** Port of every kubelet; `undefined`: as each node says. */
  port?: number | undefined;
}

/**
 * Where a node's kubelet listens.
 *
 * @throws {Refusal} BadRequest where the node has no address of these types
 */
export function kubeletAddress(node: V1Node, options: NodeAddressOptions): { host: string; port: number } {
  const addresses = node.status?.addresses ?? [];
  for (const type of options.addressTypes) {
    const host = addresses.find((address) => address.type === type)?.address;
    if (host !== undefined && HOST.test(host)) {
      // As the API is served, that is; the client library's types spell it with a small p.
      const endpoints: { kubeletEndpoint?: { Port?: number } } = node.status?.daemonEndpoints ?? {};
      return { host, port: options.port ?? endpoints.kubeletEndpoint?.Port ?? KUBELET_PORT };
    }
  }
  const message = `no preferred addresses found; known addresses: [${
    addresses.map(({ type }) => type).join(" ")
  }]`;
  throw new Refusal("BadRequest", message);
}

/** A host name or an IP address, and nothing that could end a header or a URL. */
const HOST = /^[A-Za-z0-9._:-]{1,253}$/;

/** Never where a kubelet is, but where a forged Node would point a gateway: the gateway itself, link-local services. */
const RESERVED: readonly (readonly [network: string, prefix: number])[] = [
  ["0.0.0.0", 8],
  ["127.0.0.0", 8],
  ["169.254.0.0", 16],
  ["224.0.0.0", 4],
  ["240.0.0.0", 4],
  ["::", 128],
  ["::1", 128],
  ["64:ff9b::", 96], // an IPv4 address behind a translator: which one is not for a Node to say
  ["fe80::", 10],
  ["ff00::", 8],
];

/**
 * Makes the check that every address passes before it is spoken to.
 *
 * @param ranges CIDRs that kubelets must lie in; empty: anywhere but in loopback, link-local and multicast ranges
 */
export function addressFilter(ranges: readonly string[]): (ip: string) => boolean {
  const list = new BlockList();
  const entries = ranges.length === 0 ? RESERVED : ranges.map(readRange);
  for (const [network, prefix] of entries) {
    list.addSubnet(network, prefix, isIP(network) === 6 ? "ipv6" : "ipv4");
  }
  return (ip) => {
    const plain = ip.replace(/^::ffff:(?=\d+\.)/i, ""); // IPv4 in IPv6 clothes is IPv4
    const family = isIP(plain);
    if (family === 0) return false;
    return list.check(plain, family === 6 ? "ipv6" : "ipv4") === (ranges.length > 0);
  };
}

function readRange(range: string): [string, number] {
  const [network = "", prefix] = range.split("/");
  return [network, prefix === undefined ? (isIP(network) === 6 ? 128 : 32) : Number(prefix)];
}
