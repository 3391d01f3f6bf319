import { isIPv4 } from "node:net";

/**
 * Where a client comes from, as far as it can be told apart from others: an IPv4 address, or the /64 network of an IPv6 address,
 * for whoever is given one such address is given all 2^64 of its network.
 *
 * @param ip as the platform writes it: `192.0.2.1`, `2001:db8::1`, `::ffff:192.0.2.1`, `fe80::1%eth0`
 * @returns `192.0.2.1`, or the first four groups of a network without leading zeros: `2001:db8:0:0::/64`
 */
export function sourceNetwork(ip: string): string {
  if (isIPv4(ip)) return ip;
  const [head = "", tail = ""] = ip.replace(/%.*/, "").split("::").map((half) => half.toLowerCase());
  const mapped = /^ffff:([\d.]+)$/.exec(tail);
  if (head === "" && mapped?.[1] !== undefined && isIPv4(mapped[1])) return mapped[1];
  const [before, after] = [groupsOf(head), groupsOf(tail)];
  const zeros = Array(Math.max(0, 8 - before.length - after.length)).fill("0");
  const groups = [...before, ...zeros, ...after].slice(0, 4).map((group) => group.replace(/^0+(?=.)/, ""));
  return `${groups.join(":")}::/64`;
}

/** Groups of 16 bits. Dotted ends do not matter: they are in the last 32 bits of an address, which has 64 before. */
function groupsOf(half: string): string[] {
  return half === "" ? [] : half.split(":").flatMap((group) => group.includes(".") ? ["0", "0"] : [group]);
}
