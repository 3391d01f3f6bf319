/** Bytes on their way to a process, with a bound: who puts more waits until some are taken. */
export class Inbox {
  readonly #maxBytes: number;
  readonly #chunks: Uint8Array[] = [];
  #heldBytes = 0;
  #state: "open" | "ended" | "discarding" = "open";
  #changed = Promise.withResolvers<void>();

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  get isFull(): boolean {
    return this.#heldBytes >= this.#maxBytes;
  }

  /** Takes a copy of the bytes. Resolves when there is room for more. */
  async put(bytes: Uint8Array): Promise<void> {
    if (this.#state !== "open" || bytes.length === 0) return;
    this.#chunks.push(bytes.slice());
    this.#heldBytes += bytes.length;
    this.#notify();
    while (this.isFull) await this.#changed.promise;
  }

  /** Nothing follows. */
  end(): void {
    if (this.#state === "open") this.#state = "ended";
    this.#notify();
  }

  /** Nobody takes anything any more: what is held and what follows is dropped. */
  discard(): void {
    this.#state = "discarding";
    this.#chunks.length = 0;
    this.#heldBytes = 0;
    this.#notify();
  }

  /** The next bytes; `undefined` at the end. */
  async take(): Promise<Uint8Array | undefined> {
    for (;;) {
      const chunk = this.#chunks.shift();
      if (chunk !== undefined) {
        this.#heldBytes -= chunk.length;
        this.#notify();
        return chunk;
      }
      if (this.#state !== "open") return undefined;
      await this.#changed.promise;
    }
  }

  #notify(): void {
    this.#changed.resolve();
    this.#changed = Promise.withResolvers<void>();
  }
}
