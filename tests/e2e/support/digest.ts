import { createHash } from "node:crypto";

/** Counts and hashes what passes, so that no test holds hundreds of megabytes. */
export class Digest {
  bytes = 0;
  readonly #hash = createHash("sha256");

  readonly take = (chunk: Uint8Array): void => {
    this.bytes += chunk.length;
    this.#hash.update(chunk);
  };

  /** SHA-256 in hexadecimal; once. */
  hex(): string {
    return this.#hash.digest("hex");
  }
}

const BLOCK_BYTES = 64 << 10;

/**
 * A stream of bytes in which a lost, doubled or swapped block changes the digest, made as it is read.
 *
 * @param digest takes what was read
 */
export function pattern(totalBytes: number, digest: Digest): ReadableStream<Uint8Array> {
  const block = new Uint8Array(BLOCK_BYTES);
  crypto.getRandomValues(block);
  const counter = new DataView(block.buffer);
  let sent = 0;
  return new ReadableStream({
    pull(controller) {
      if (sent >= totalBytes) return controller.close();
      counter.setUint32(0, sent / BLOCK_BYTES);
      const chunk = block.slice(0, Math.min(BLOCK_BYTES, totalBytes - sent));
      sent += chunk.length;
      digest.take(chunk);
      controller.enqueue(chunk);
    },
  });
}
