/** What each request may hold without asking, in bytes: more than clients of Kubernetes send, but for very long commands. */
export const FREE_HEADER_BYTES = 16 * 1024;

/**
 * The memory that headers of requests may take together, beyond the first {@linkcode FREE_HEADER_BYTES} of each.
 *
 * One request may have a megabyte of headers, as at the API server. A thousand strangers who send one each, slowly or
 * without an end, must not have a gigabyte: they contend for this, and who sends what clients usually send does not.
 */
export class HeaderBudget {
  #leftBytes: number;

  constructor(maxBytes: number) {
    this.#leftBytes = maxBytes;
  }

  /** What one request holds. */
  account(): HeaderAccount {
    return new HeaderAccount(this);
  }

  /** @returns whether there was so much left */
  take(bytes: number): boolean {
    if (bytes > this.#leftBytes) return false;
    this.#leftBytes -= bytes;
    return true;
  }

  give(bytes: number): void {
    this.#leftBytes += bytes;
  }
}

/** The headers of one request at a time. */
export class HeaderAccount {
  readonly #budget: HeaderBudget;
  #bytes = 0;
  #taken = 0;

  constructor(budget: HeaderBudget) {
    this.#budget = budget;
  }

  /** Counts bytes that came in. @returns whether there is room for them */
  add(bytes: number): boolean {
    this.#bytes += bytes;
    const wanted = this.#bytes - FREE_HEADER_BYTES - this.#taken;
    if (wanted <= 0) return true;
    if (!this.#budget.take(wanted)) return false;
    this.#taken += wanted;
    return true;
  }

  /** The request is over: what it held is free again. */
  clear(): void {
    this.#budget.give(this.#taken);
    this.#bytes = 0;
    this.#taken = 0;
  }
}
