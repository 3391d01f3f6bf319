import { parentPort } from "node:worker_threads";
import { type Batch, packBatch, type PackedBatch } from "./pack_batch.ts";

/** What the thread of a `PackingThread` is asked. */
export interface PackingRequest {
  id: number;
  buffer: Uint8Array<ArrayBuffer>;
  batch: Batch;
}

/** That it has begun to listen; a batch that is packed; or why it is not. */
export type PackingAnswer =
  | { id: 0 }
  | { id: number; packed: PackedBatch }
  | { id: number; error: string };

function answer(message: PackingAnswer, transferred: ArrayBuffer[] = []): void {
  parentPort?.postMessage(message, transferred);
}

parentPort?.on("message", ({ id, buffer, batch }: PackingRequest) => {
  try {
    const packed = packBatch(buffer, batch);
    answer({ id, packed }, [packed.buffer.buffer]);
  } catch (thrown) {
    answer({ id, error: thrown instanceof Error ? thrown.message : String(thrown) });
  }
});
answer({ id: 0 });
