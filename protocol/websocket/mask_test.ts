import assert from "node:assert/strict";
import fc from "fast-check";
import { applyMask } from "./mask.ts";

Deno.test("applyMask is the exclusive or of RFC 6455, 5.3, at any length, position and alignment", () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ maxLength: 200, size: "max" }),
      fc.uint8Array({ minLength: 4, maxLength: 4 }),
      fc.nat({ max: 9 }),
      fc.nat({ max: 5 }),
      (payload, key, position, shift) => {
        const room = new Uint8Array(shift + payload.length + 1);
        const bytes = room.subarray(shift, shift + payload.length);
        bytes.set(payload);
        applyMask(bytes, key, position);
        assert.deepEqual(bytes, payload.map((byte, index) => byte ^ key[(position + index) % 4]!));
        assert.equal(room.at(-1), 0, "nothing behind is touched");
      },
    ),
    { numRuns: 300 },
  );
});
