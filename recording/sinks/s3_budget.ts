/** Lets work begin, in the order that it came, as long as what it holds together stays below a bound. */
export class MemoryBudget {
  #freeBytes: number;
  readonly #waiting: { bytes: number; go: () => void }[] = [];

  constructor(readonly totalBytes: number) {
    this.#freeBytes = totalBytes;
  }

  /** @param bytes what the work holds; more than all counts as all */
  async spend<T>(bytes: number, work: () => Promise<T>): Promise<T> {
    const share = Math.min(bytes, this.totalBytes);
    await new Promise<void>((go) => {
      this.#waiting.push({ bytes: share, go });
      this.#next();
    });
    try {
      return await work();
    } finally {
      this.#freeBytes += share;
      this.#next();
    }
  }

  #next(): void {
    for (let first = this.#waiting[0]; first && first.bytes <= this.#freeBytes; first = this.#waiting[0]) {
      this.#waiting.shift();
      this.#freeBytes -= first.bytes;
      first.go();
    }
  }
}
