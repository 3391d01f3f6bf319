import assert from "node:assert/strict";
import fc from "fast-check";
import { ProtocolError } from "../errors.ts";
import { readChunkedBody } from "./chunked_body.ts";

const utf8 = (text: string) => new TextEncoder().encode(text);

const VECTORS = [
  { name: "two chunks", wire: "4\r\nWiki\r\n5\r\npedia\r\n0\r\n\r\n", body: "Wikipedia", isWhole: true }, // RFC 9112
  {
    name: "a size in capitals, with blanks",
    wire: "A \r\n0123456789\r\n0\r\n",
    body: "0123456789",
    isWhole: true,
  },
  { name: "an extension", wire: "2;a=b\r\nhi\r\n0\r\n\r\n", body: "hi", isWhole: true },
  { name: "trailers, which are not read", wire: "2\r\nhi\r\n0\r\nX: y\r\n\r\n", body: "hi", isWhole: true },
  { name: "line ends in its data", wire: "4\r\n\r\n\r\n\r\n0\r\n\r\n", body: "\r\n\r\n", isWhole: true },
  { name: "nothing", wire: "0\r\n\r\n", body: "", isWhole: true },
  { name: "a chunk that is not all there", wire: "5\r\npe", body: "pe", isWhole: false },
  { name: "no bytes yet", wire: "", body: "", isWhole: false },
];
for (const { name, wire, body, isWhole } of VECTORS) {
  Deno.test(`readChunkedBody reads ${name}`, () => {
    const read = readChunkedBody(utf8(wire));
    assert.deepEqual([new TextDecoder().decode(read.body), read.isWhole], [body, isWhole]);
  });
}

const MALFORMED = [
  { name: "no size", wire: "xyz\r\n" },
  { name: "a negative size", wire: "-1\r\nx\r\n" },
  { name: "a size that no memory holds", wire: "fffffffff\r\nx\r\n" },
  { name: "a size that does not fit its data", wire: "2\r\nabc\r\n0\r\n\r\n" },
  { name: "a line without end", wire: "1".repeat(2000) },
];
for (const { name, wire } of MALFORMED) {
  Deno.test(`readChunkedBody refuses ${name}`, () => {
    assert.throws(
      () => readChunkedBody(utf8(wire)),
      (thrown) => thrown instanceof ProtocolError && thrown.code === "body_malformed",
    );
  });
}

Deno.test("readChunkedBody, cut anywhere, gives the start of what it gives whole", () => {
  const chunks = fc.array(fc.uint8Array({ minLength: 1, maxLength: 40 }), { maxLength: 5 });
  fc.assert(fc.property(chunks, fc.nat(), (chunks, where) => {
    const wire = [...chunks, new Uint8Array()].flatMap((chunk) => [
      ...utf8(`${chunk.length.toString(16)}\r\n`),
      ...chunk,
      ...utf8("\r\n"),
    ]);
    const whole = chunks.flatMap((chunk) => [...chunk]);
    const all = readChunkedBody(Uint8Array.from(wire));
    assert.deepEqual([[...all.body], all.isWhole], [whole, true]);
    const { body } = readChunkedBody(Uint8Array.from(wire.slice(0, where % (wire.length + 1))));
    assert.deepEqual([...body], whole.slice(0, body.length));
  }));
});
