import { sourceNetwork } from "../audit/source_network.ts";

/**
 * How many connections each source has open, so that one cannot take all the room there is. A source is an IPv4 address, or a /64
 * of IPv6.
 */
export class SourceCounts {
  readonly #max: number;
  readonly #counts = new Map<string, number>();

  constructor(max: number) {
    this.#max = max;
  }

  /** Counts one more connection from `ip`. @returns whether it is one that the source may have */
  enter(ip: string): boolean {
    const source = sourceNetwork(ip);
    const count = (this.#counts.get(source) ?? 0) + 1;
    this.#counts.set(source, count);
    return count <= this.#max;
  }

  /** Counts one connection from `ip` less; one that was counted before. */
  leave(ip: string): void {
    const source = sourceNetwork(ip);
    const count = (this.#counts.get(source) ?? 0) - 1;
    if (count > 0) this.#counts.set(source, count);
    else this.#counts.delete(source);
  }

  /** Sources that have a connection open: what this holds memory for. */
  get sources(): number {
    return this.#counts.size;
  }
}
