import assert from "node:assert/strict";
import { packPayload, TAG_BYTES, unpackPayload } from "./payload.ts";
import { RecordingError } from "./recording_error.ts";

const KEY = new Uint8Array(32).fill(7);

for (const bytes of [1, 4, 12, TAG_BYTES - 1]) {
  Deno.test(`attack: an encrypted payload cut to ${bytes} of its tag's bytes is no empty payload`, () => {
    const { flags, payload } = packPayload(new Uint8Array(), 3, { key: KEY });
    assert.equal(payload.length, TAG_BYTES);
    assert.deepEqual(unpackPayload({ flags, payload }, 3, KEY).length, 0);
    const cut = { flags, payload: payload.subarray(0, bytes) };
    assert.throws(() => unpackPayload(cut, 3, KEY), RecordingError);
  });
}
