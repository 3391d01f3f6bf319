/** Numbers that a seed decides, so that a run can be repeated. Not for secrets. */
export class Random {
  #state: number;

  /** @param seed any 32 bits */
  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** 0 to 2³² - 1. @see Tommy Ettinger's mulberry32 */
  next(): number {
    this.#state = (this.#state + 0x6d2b_79f5) >>> 0;
    let bits = this.#state;
    bits = Math.imul(bits ^ (bits >>> 15), bits | 1);
    bits ^= bits + Math.imul(bits ^ (bits >>> 7), bits | 61);
    return (bits ^ (bits >>> 14)) >>> 0;
  }

  /** 0 to `limit` - 1. @param limit at least 1 */
  below(limit: number): number {
    return this.next() % limit;
  }

  /** True once in `count` times. */
  oneIn(count: number): boolean {
    return this.below(count) === 0;
  }

  /** @param items at least one */
  pick<T>(items: readonly T[]): T {
    const item = items[this.below(items.length)];
    if (item === undefined) throw new RangeError("nothing to pick from");
    return item;
  }

  bytes(length: number): Uint8Array {
    return Uint8Array.from({ length }, () => this.next() & 0xff);
  }
}

/** A seed that bytes decide: who checks an input twice checks the same thing. */
export function seedOf(bytes: Uint8Array): number {
  let hash = 0x811c_9dc5; // FNV-1a
  for (const byte of bytes) hash = Math.imul(hash ^ byte, 0x0100_0193);
  return hash >>> 0;
}
