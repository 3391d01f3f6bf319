import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { child, readEnvelope, readMessage, textOf } from "./protobuf.ts";

// What kubectl 1.32 sent for `auth can-i create pods --subresource exec`.
const CAN_I =
  "6b3873000a320a17617574686f72697a6174696f6e2e6b38732e696f2f7631121753656c665375626a656374416363657373" +
  "52657669657712430a100a0012001a0022002a0032003800420012250a230a0764656661756c7412066372656174651a0022" +
  "002a04706f64733204657865633a001a08080012001a0020001a002200";

Deno.test("readEnvelope finds the attributes of a review that kubectl sent", () => {
  const spec = child(readEnvelope(Buffer.from(CAN_I, "hex")), 2)!;
  const attributes = child(spec, 1)!;
  assert.deepEqual([1, 2, 5, 6].map((number) => textOf(attributes, number)), [
    "default",
    "create",
    "pods",
    "exec",
  ]);
});

const BROKEN = ["08", "0a05", "0b", "0880808080808080808001"];
for (const hex of BROKEN) {
  Deno.test(`readMessage refuses ${hex}`, () => {
    assert.throws(() => readMessage(Buffer.from(hex, "hex")), RangeError);
  });
}
