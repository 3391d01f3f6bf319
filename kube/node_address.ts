import { BlockList, isIP } from "node:net";
import type { V1Node } from "@kubernetes/client-node";
import { Refusal } from "./status.ts";

/** Port of a kubelet whose node does not say. */
export const KUBELET_PORT = 10250;

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

/**
 * Never where a kubelet is, but where a forged Node would point a gateway: the gateway itself, services of the link, what stands for
 * an IPv4 address in disguise, and where clouds answer those who ask for a machine's credentials.
 */
const RESERVED: readonly string[] = [
  "0.0.0.0/8",
  "127.0.0.0/8",
  "169.254.0.0/16",
  "224.0.0.0/4",
  "240.0.0.0/4",
  "::/96", // loopback, nowhere, and IPv4 as it was once written in IPv6
  "64:ff9b::/96", // an IPv4 address behind a translator: which one is not for a Node to say
  "64:ff9b:1::/48",
  "2002::/16", // 6to4, likewise
  "fe80::/10",
  "ff00::/8",
  "100.100.100.200/32", // Alibaba Cloud
  "168.63.129.16/32", // Azure
  "192.0.0.192/32", // Oracle Cloud
  "fd00:ec2::254/128", // AWS
  "fd20:ce::254/128", // Google Cloud
];

/**
 * Makes the check that every address passes before it is spoken to.
 *
 * @param ranges CIDRs that kubelets must lie in; empty: anywhere but where no kubelet is
 */
export function addressFilter(ranges: readonly string[]): (ip: string) => boolean {
  const list = new BlockList();
  for (const [network, prefix] of (ranges.length === 0 ? RESERVED : ranges).map(readRange)) {
    list.addSubnet(network, prefix, isIP(network) === 6 ? "ipv6" : "ipv4");
  }
  return (ip) => {
    const plain = plainAddress(ip);
    const family = isIP(plain);
    if (family === 0) return false;
    return list.check(plain, family === 6 ? "ipv6" : "ipv4") === (ranges.length > 0);
  };
}

/** The one way to write an address: without a zone, and IPv4 that wears the clothes of IPv6 as IPv4. */
function plainAddress(ip: string): string {
  if (isIP(ip) !== 6) return ip;
  const host = URL.parse(`http://[${ip.replace(/%.*/, "")}]`)?.hostname.slice(1, -1) ?? "";
  const [, high, low] = /^::ffff:([0-9a-f]{1,4}):([0-9a-f]{1,4})$/.exec(host) ?? [];
  if (high === undefined || low === undefined) return host;
  return [high, low].map((half) => parseInt(half, 16)).map((half) => `${half >> 8}.${half & 255}`).join(".");
}

function readRange(range: string): [string, number] {
  const [network = "", prefix] = range.split("/");
  return [network, prefix === undefined ? (isIP(network) === 6 ? 128 : 32) : Number(prefix)];
}
