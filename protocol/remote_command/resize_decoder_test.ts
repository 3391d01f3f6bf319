import assert from "node:assert/strict";
import fc from "fast-check";
import { ResizeDecoder } from "./resize_decoder.ts";

const utf8 = (text: string) => new TextEncoder().encode(text);

/** Sizes as `80x24`; ` end` where decoding has ended for good. */
function read(chunks: readonly Uint8Array[]): string {
  const decoder = new ResizeDecoder();
  const sizes = chunks.flatMap((chunk) => [...decoder.push(chunk)]);
  return sizes.map(({ columns, rows }) => `${columns}x${rows}`).join(" ") + (decoder.hasEnded ? " end" : "");
}

// What a loop over Go 1.26's json.Decoder made of each, into a struct of two uint16; `end` is its error.
const VECTORS: [text: string, want: string][] = [
  ['{"Width":80,"Height":24}\n', "80x24"],
  ['{"width":5,"HEIGHT":6,"x":1}', "5x6"],
  [' \t\r\n{ "Width" : 80 , "Height" : 24 } ', "80x24"],
  ["{}", "0x0"],
  ['{}{"Width":3}', "0x0 3x0"],
  ['{"Width":1,"width":2,"Width":3}', "3x0"],
  ['{"Width":null}', "0x0"],
  ["null ", "0x0"],
  ["null{}", "0x0 0x0"],
  [String.raw`{"Wi\u0064th":7}`, "7x0"],
  [String.raw`{"a":"}\"{","Width":7}`, "7x0"],
  ['{"a":{"Width":9},"b":[{}],"Height":65535}', "0x65535"],
  ['{"Width":70000,"Height":1}{"Width":1,"Height":1}', " end"],
  ['{"Width":65536}', " end"],
  ['{"Width":80.0}', " end"],
  ['{"Width":8e1}', " end"],
  ['{"Width":-0}', " end"],
  ['{"Width":-1}', " end"],
  ['{"Width":"5"}', " end"],
  ['{"Width":true}', " end"],
  ['{"Width":05}', " end"],
  ['{"Width":70000,"Width":5}', " end"],
  ['{"Width":1,}', " end"],
  ['{"Width":1]', " end"],
  ["{} 5 {}", "0x0 end"],
  ["[]", " end"],
  ["x", " end"],
  ["nul{}", " end"],
  ['{"Width":5', ""],
];

for (const [text, want] of VECTORS) {
  Deno.test(`ResizeDecoder makes of ${JSON.stringify(text)} what Go does, cut anywhere (E-61, E-63, E-64)`, () => {
    const bytes = utf8(text);
    assert.equal(read([...bytes].map((byte) => Uint8Array.of(byte))), want, "bytewise");
    for (let place = 0; place <= bytes.length; place++) {
      assert.equal(read([bytes.subarray(0, place), bytes.subarray(place)]), want, `cut at ${place}`);
    }
  });
}

Deno.test("ResizeDecoder ends at an object beyond 4 KiB: a client cannot fill memory with one", () => {
  assert.equal(read([utf8(`{"a":"${"x".repeat(4088)}"}`)]), "0x0");
  assert.equal(read([utf8(`{"a":"${"x".repeat(4089)}"}`)]), " end");
});

Deno.test("ResizeDecoder ends at an object nested to its bound, without a deep stack", () => {
  assert.equal(read([utf8(`{"a":${"[".repeat(1500)}${"]".repeat(1500)}}`)]), " end");
});

Deno.test("ResizeDecoder reads any bytes and never throws, the same however they are cut", () => {
  const part = fc.constantFrom(
    '{"Width":',
    "80",
    "}",
    "{",
    '"',
    "\\",
    "null",
    ",",
    '"Height":1',
    " ",
    "[",
    "]",
    "\u0000",
  );
  fc.assert(
    fc.property(
      fc.array(fc.oneof(part, fc.constant('{"Width":1}')), { maxLength: 12 }),
      fc.array(fc.nat(), { maxLength: 4 }),
      (parts, places) => {
        const bytes = utf8(parts.join(""));
        const edges = [
          0,
          ...places.map((place) => place % (bytes.length + 1)).sort((a, b) => a - b),
          bytes.length,
        ];
        const chunks = edges.slice(1).map((edge, index) => bytes.subarray(edges[index], edge));
        assert.equal(read(chunks), read([bytes]));
      },
    ),
    { numRuns: 500 },
  );
});
