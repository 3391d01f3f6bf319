import assert from "node:assert/strict";
import { generateKeyPairSync } from "node:crypto";
import fc from "fast-check";
import { CHUNK } from "./chunk.ts";
import type { RecordingHeader } from "./document.ts";
import { RecordingEncoder } from "./recording_encoder.ts";
import { Signer, Verifier } from "./signer.ts";
import { FACTS } from "../test_recording.ts";
import { RecordingVerifier } from "./verify.ts";

const { privateKey, publicKey } = generateKeyPairSync("ed25519");
const PRIVATE = privateKey.export({ type: "pkcs8", format: "pem" }).toString();
const PUBLIC = publicKey.export({ type: "spki", format: "pem" }).toString();

const HEADER: RecordingHeader = {
  ...FACTS,
  startedAt: "2026-03-01T10:00:00.000000Z",
  stdin: "content",
  streams: "content",
};

/** A recording of three data blocks with a seal between, whole. */
async function recording(): Promise<Uint8Array> {
  const encoder = new RecordingEncoder({ signer: new Signer(PRIVATE) });
  encoder.begin(HEADER);
  const parts = [(await encoder.take()).slice()];
  for (let index = 0; index < 3; index++) {
    const bytes = new TextEncoder().encode(`line ${index} `.repeat(20 * index + 1));
    encoder.push({ atUs: index * 1000, stream: 0, kind: CHUNK.OUT, bytes });
    parts.push((await encoder.take(Date.now())).slice());
  }
  const end = { reason: "command_ended", by: "upstream", message: "the command ended", exitCode: 0 };
  encoder.end({ endedAt: HEADER.startedAt, ...end, totals: { streams: 0, bytesIn: 0, bytesOut: 0 } });
  parts.push((await encoder.take(Date.now())).slice());
  return new Uint8Array(parts.flatMap((part) => [...part]));
}

function verify(bytes: Uint8Array, keys = [PUBLIC], pieceBytes = bytes.length) {
  const verifier = new RecordingVerifier(new Verifier(keys));
  for (let at = 0; at < bytes.length; at += pieceBytes) verifier.push(bytes.subarray(at, at + pieceBytes));
  return verifier.end();
}

const WHOLE = await recording();

Deno.test("a recording as it was written verifies, whatever pieces it is read in", () => {
  for (const pieceBytes of [1, 7, WHOLE.length]) {
    const { fault, seals, trailer } = verify(WHOLE, [PUBLIC], pieceBytes);
    assert.deepEqual([fault, seals, trailer?.exitCode], [undefined, 4, 0]);
  }
});

Deno.test("one flipped bit anywhere is found", () => {
  fc.assert(fc.property(fc.nat(WHOLE.length * 8 - 1), (bit) => {
    const bytes = WHOLE.slice();
    bytes[bit >> 3]! ^= 1 << (bit & 7);
    const { fault } = verify(bytes);
    assert.ok(fault !== undefined && fault.at.offset <= bit >> 3, `bit ${bit}: ${fault?.code}`);
  }));
});

Deno.test("a recording that is cut anywhere lacks its tail", () => {
  for (let length = 0; length < WHOLE.length; length++) {
    const { fault } = verify(WHOLE.subarray(0, length));
    assert.match(fault?.code ?? "", /^(tail_missing|seal_missing)$/, `${length} bytes`);
  }
});

Deno.test("bytes behind the end are found", () => {
  assert.equal(verify(new Uint8Array([...WHOLE, 0])).fault?.code, "order_wrong");
});

Deno.test("a recording that somebody else made whole is signed with a key that is not known", () => {
  const other = generateKeyPairSync("ed25519").publicKey.export({ type: "spki", format: "pem" }).toString();
  assert.equal(verify(WHOLE, [other]).fault?.code, "key_unknown");
});

Deno.test("without keys the chain is checked and no seal counts", () => {
  assert.deepEqual([verify(WHOLE, []).fault, verify(WHOLE, []).seals], [undefined, 0]);
});

Deno.test("what is no recording is said to be none", () => {
  assert.equal(verify(new TextEncoder().encode('{"kind":"Event"}')).fault?.code, "no_recording");
});
