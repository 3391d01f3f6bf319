import { Worker } from "node:worker_threads";
import { type Batch, packBatch, type PackedBatch } from "./pack_batch.ts";
import type { PackingAnswer, PackingRequest } from "./packing_worker.ts";
import { RecordingError } from "./recording_error.ts";

/** Batches from this size on go to the thread, in bytes: a smaller one is packed sooner than sent. */
const THREAD_FROM_BYTES = 64 * 1024;

/**
 * Compresses and hashes bulk beside the thread that all sessions share: a gigabyte takes it one to two seconds, in which no
 * key of another session should wait. Started with the first bulk; where it has not started, or cannot, batches are packed
 * where they are asked for.
 */
export class PackingThread {
  #worker: Worker | undefined;
  #isReady = false;
  #isClosed = false;
  readonly #asked = new Map<number, PromiseWithResolvers<PackedBatch>>();
  #asks = 0;

  /**
   * @param buffer is the thread's until the batch is packed
   * @param bytes of it that are in use
   * @throws {RecordingError} `packing_failed`
   */
  pack(buffer: Uint8Array<ArrayBuffer>, bytes: number, batch: Batch): PackedBatch | Promise<PackedBatch> {
    // What is only hashed is done before the thread has woken up.
    const isQuick = bytes < THREAD_FROM_BYTES || batch.state.leftAlone > 0;
    if (isQuick || this.#isClosed) return packBatch(buffer, batch);
    const worker = this.#worker ??= this.#start();
    if (!this.#isReady) return packBatch(buffer, batch);
    const id = ++this.#asks;
    const asked = Promise.withResolvers<PackedBatch>();
    this.#asked.set(id, asked);
    const request: PackingRequest = { id, buffer: buffer.buffer, batch };
    worker.postMessage(request, [buffer.buffer]);
    return asked.promise;
  }

  /** Ends the thread, and what it was asked for with it. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#worker?.terminate();
    this.#failed("closed");
  }

  #start(): Worker {
    const worker = new Worker(new URL("./packing_worker.ts", import.meta.url));
    worker.on("message", (answer: PackingAnswer) => this.#answered(answer));
    worker.on(
      "error",
      (cause: unknown) => this.#failed(cause instanceof Error ? cause.message : String(cause)),
    );
    worker.on("exit", () => this.#failed("its thread has ended"));
    return worker;
  }

  #answered(answer: PackingAnswer): void {
    if (answer.id === 0) this.#isReady = true;
    const asked = this.#asked.get(answer.id);
    this.#asked.delete(answer.id);
    if ("packed" in answer) asked?.resolve({ buffer: new Uint8Array(answer.buffer), ...answer.packed });
    else if ("error" in answer) asked?.reject(packingFailed(answer.error));
  }

  /** What it held is lost; from now on batches are packed where they are asked for. */
  #failed(why: string): void {
    this.#isReady = false;
    for (const asked of this.#asked.values()) asked.reject(packingFailed(why));
    this.#asked.clear();
  }
}

function packingFailed(why: string): RecordingError {
  return new RecordingError("packing_failed", `the recording cannot be made: ${why}`);
}
