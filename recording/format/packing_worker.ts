import { parentPort } from "node:worker_threads";
import { type Batch, packBatch, type PackedBatch } from "./pack_batch.ts";

/**
 * What the thread of a `PackingThread` is asked. Buffers travel without a view: the platform looks through every element of
 * a view for something to transfer, which takes half a second.
 */
export interface PackingRequest {
  id: number;
  buffer: ArrayBuffer;
  batch: Batch;
}

/** That it has begun to listen; a batch that is packed; or why it is not. */
export type PackingAnswer =
  | { id: 0 }
  | { id: number; buffer: ArrayBuffer; packed: Omit<PackedBatch, "buffer"> }
  | { id: number; error: string };

function answer(message: PackingAnswer, transferred: ArrayBuffer[] = []): void {
  parentPort?.postMessage(message, transferred);
}

parentPort?.on("message", ({ id, buffer, batch }: PackingRequest) => {
  try {
    const { length, state } = packBatch(new Uint8Array(buffer), batch);
    answer({ id, buffer, packed: { length, state } }, [buffer]);
  } catch (thrown) {
    answer({ id, error: thrown instanceof Error ? thrown.message : String(thrown) });
  }
});
answer({ id: 0 });
