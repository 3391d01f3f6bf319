import { isIPv4 } from "node:net";

/**
 * How many connections each source has open, so that one cannot take all the room there is.
 *
 * A source is an IPv4 address, or the /64 network of an IPv6 address: whoever is given one such address is given all
 * 2^64 of its network.
 */
export class SourceCounts {
  readonly #max: number;
  readonly #counts = new Map<string, number>();

  constructor(max: number) {
    this.#max = max;
  }

  /** Counts one more connection from `ip`. @returns whether it is one that the source may have */
  enter(ip: string): boolean {
    const source = sourceOf(ip);
    const count = (this.#counts.get(source) ?? 0) + 1;
    this.#counts.set(source, count);
    return count <= this.#max;
  }

  /** Counts one connection from `ip` less; one that was counted before. */
  leave(ip: string): void {
    const source = sourceOf(ip);
    const count = (this.#counts.get(source) ?? 0) - 1;
    if (count > 0) this.#counts.set(source, count);
    else this.#counts.delete(source);
  }

  /** Sources that have a connection open: what this holds memory for. */
  get sources(): number {
    return this.#counts.size;
  }
}

/** @param ip as the platform writes it: `192.0.2.1`, `2001:db8::1`, `::ffff:192.0.2.1`, `fe80::1%eth0` */
function sourceOf(ip: string): string {
  if (isIPv4(ip)) return ip;
  const [head = "", tail = ""] = ip.replace(/%.*/, "").split("::").map((half) => half.toLowerCase());
  const mapped = /^ffff:([\d.]+)$/.exec(tail);
  if (head === "" && mapped?.[1] !== undefined && isIPv4(mapped[1])) return mapped[1];
  const [before, after] = [groupsOf(head), groupsOf(tail)];
  const zeros = Array(Math.max(0, 8 - before.length - after.length)).fill("0");
  return [...before, ...zeros, ...after].slice(0, 4).map((group) => group.replace(/^0+(?=.)/, "")).join(":");
}

/** Groups of 16 bits. Dotted ends do not matter: they are in the last 32 bits of an address, which has 64 before. */
function groupsOf(half: string): string[] {
  return half === "" ? [] : half.split(":").flatMap((group) => group.includes(".") ? ["0", "0"] : [group]);
}
