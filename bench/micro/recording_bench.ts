/** `deno task bench:micro`: what recording a session costs by itself: copying, zstd, the links' SHA-256; and a digest of stdin. */

import { createHash } from "node:crypto";
import { CHUNK } from "../../recording/format/chunk.ts";
import { RecordingEncoder } from "../../recording/format/recording_encoder.ts";

const RECORD_BYTES = 16 * 1024;
const MEBIBYTE = 1024 * 1024;

const log = new TextEncoder().encode(
  Array.from(
    { length: 20_000 },
    (_, n) => `2026-11-21T11:${n % 60} INFO request ${n} status=200 ms=${(n * 31) % 977}\n`,
  )
    .join(""),
).subarray(0, MEBIBYTE);
const noise = new Uint8Array(MEBIBYTE);
for (let at = 0; at < MEBIBYTE; at += 65_536) crypto.getRandomValues(noise.subarray(at, at + 65_536));

for (const [name, payload] of Object.entries({ "lines of a log": log, noise })) {
  Deno.bench(`record 1 MiB of ${name}, a record at a time`, { group: "record" }, () => {
    const encoder = new RecordingEncoder({ signer: undefined });
    for (let at = 0; at < payload.length; at += RECORD_BYTES) {
      encoder.push({ atUs: at, stream: 0, kind: CHUNK.OUT, bytes: payload.subarray(at, at + RECORD_BYTES) });
    }
    encoder.take();
  });
}

Deno.bench("SHA-256 of 1 MiB, a record at a time", { group: "hash" }, () => {
  const hash = createHash("sha256");
  for (let at = 0; at < noise.length; at += RECORD_BYTES) hash.update(noise.subarray(at, at + RECORD_BYTES));
  hash.digest();
});
