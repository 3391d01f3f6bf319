/** What the watchdog's own thread is told when it begins. */
export interface Watched {
  /** Counts inputs, then the length of the current one, then its bytes. */
  memory: SharedArrayBuffer;
  /** How long one input may run. */
  hangMs: number;
}

/** Room for an input, in bytes; what is longer is cut. */
const MAX_INPUT_BYTES = 1 << 20;

/** Bytes before the input: two numbers. */
const HEAD_BYTES = 8;

/**
 * Watches from a thread of its own that no input runs for ever: such a one would hold up whoever counts the time. The input is then
 * written down and the process ended.
 */
export class Watchdog implements Disposable {
  readonly #worker: Worker;
  readonly #numbers: Int32Array;
  readonly #input: Uint8Array;

  constructor({ hangMs }: { hangMs: number }) {
    const memory = new SharedArrayBuffer(HEAD_BYTES + MAX_INPUT_BYTES);
    this.#numbers = new Int32Array(memory, 0, 2);
    this.#input = new Uint8Array(memory, HEAD_BYTES);
    this.#worker = new Worker(new URL("./watchdog_worker.ts", import.meta.url), { type: "module" });
    this.#worker.postMessage({ memory, hangMs } satisfies Watched);
  }

  /** Another input begins. */
  watch(input: Uint8Array): void {
    const seen = input.subarray(0, MAX_INPUT_BYTES);
    this.#input.set(seen);
    Atomics.store(this.#numbers, 1, seen.length);
    Atomics.add(this.#numbers, 0, 1);
  }

  [Symbol.dispose](): void {
    this.#worker.terminate();
  }
}
