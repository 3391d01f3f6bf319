/** What is written to: as connections of the platform are. */
export interface ByteSink {
  /** Resolves with how many of the bytes were taken, at least 1. */
  write(bytes: Uint8Array): Promise<number>;
}

/** Writes to a connection, one after the other, in the order of the calls. One that fails holds up none behind it. */
export class WriteQueue {
  readonly #sink: ByteSink;
  #last: Promise<void> | undefined;
  #pending = 0;

  constructor(sink: ByteSink) {
    this.#sink = sink;
  }

  /** Writes that have not come to their end. */
  get pending(): number {
    return this.#pending;
  }

  /** Writes all of `bytes`: they are in use until then. */
  write(bytes: Uint8Array): Promise<void> {
    return this.run(() => this.#writeAll(bytes));
  }

  /** Does something that has its place among the writes. */
  async run(act: () => Promise<void>): Promise<void> {
    const done = this.#last === undefined ? act() : this.#last.then(act);
    const settled = done.then(nothing, nothing);
    this.#last = settled;
    this.#pending++;
    try {
      await done;
    } finally {
      this.#pending--;
      if (this.#last === settled) this.#last = undefined;
    }
  }

  async #writeAll(bytes: Uint8Array): Promise<void> {
    let offset = await this.#sink.write(bytes);
    while (offset < bytes.length) offset += await this.#sink.write(bytes.subarray(offset));
  }
}

function nothing(): void {}
