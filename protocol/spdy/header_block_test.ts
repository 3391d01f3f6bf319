import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { createHash, randomBytes } from "node:crypto";
import { constants, createDeflate, deflateRawSync } from "node:zlib";
import { ProtocolError } from "../errors.ts";
import { DICTIONARY } from "./dictionary.ts";
import { decodeHeaderBlock, encodeHeaderBlock, HeaderDeflater, HeaderInflater } from "./header_block.ts";

const ZLIB_HEADER = Buffer.from("78f9e3c6a7c2", "hex");
const hex = (text: string) => Buffer.from(text.replace(/\s/g, ""), "hex");
const refusal = (code: string) => (thrown: unknown) =>
  thrown instanceof ProtocolError && thrown.code === code;

Deno.test("DICTIONARY is that of the specification", () => {
  assert.equal(
    createHash("sha256").update(DICTIONARY).digest("hex"),
    "51d27341373f923f3cd88e1eb7162aeaa3723d7585ff2399201dc06498407f02",
  );
});

Deno.test("decodeHeaderBlock reads the block of a forwarded port", () => {
  const plain = hex(
    `00000003 0000000a 73747265616d74797065 00000005 6572726f72 00000004 706f7274 00000002 3830
    00000009 726571756573746964 00000001 30`,
  );
  assert.deepEqual([...decodeHeaderBlock(plain)], [["streamtype", "error"], ["port", "80"], [
    "requestid",
    "0",
  ]]);
});

const REFUSED = [
  { name: "an empty block", plain: "", code: "header_block_truncated" },
  { name: "a length that leaves the block", plain: "00000001 ffffffff", code: "header_block_truncated" },
  { name: "a count larger than the block", plain: "ffffffff", code: "header_block_truncated" },
  { name: "bytes behind the last header", plain: "00000000 00", code: "header_block_trailing" },
  { name: "E-38 a capital in a name", plain: "00000001 00000001 54 00000000", code: "header_name_invalid" },
  { name: "an empty name", plain: "00000001 00000000 00000000", code: "header_name_invalid" },
  { name: "E-39 host", plain: "00000001 00000004 686f7374 00000001 78", code: "header_forbidden" },
  {
    name: "a name that comes twice",
    plain: "00000002 00000001 61 00000000 00000001 61 00000000",
    code: "header_twice",
  },
  { name: "a value that is not UTF-8", plain: "00000001 00000001 61 00000001 ff", code: "header_not_utf8" },
];
for (const { name, plain, code } of REFUSED) {
  Deno.test(`decodeHeaderBlock refuses ${name}`, () => {
    assert.throws(() => decodeHeaderBlock(hex(plain)), refusal(code));
  });
}

Deno.test("E-39 decodeHeaderBlock accepts :host", () => {
  assert.deepEqual([...decodeHeaderBlock(hex("00000001 00000005 3a686f7374 00000001 78"))], [[":host", "x"]]);
});

Deno.test("HeaderInflater reads 2,000 blocks of one connection, past the 32 KiB that zlib remembers", () => {
  const deflater = new HeaderDeflater();
  const inflater = new HeaderInflater(65_536);
  for (let request = 0; request < 2_000; request++) {
    const headers = new Map([["streamtype", "data"], ["port", "8080"], ["requestid", String(request)]]);
    assert.deepEqual(
      decodeHeaderBlock(inflater.inflate(deflater.deflate(encodeHeaderBlock(headers)))),
      headers,
    );
  }
});

Deno.test("HeaderInflater stops a block that inflates without end at its bound", () => {
  const bomb = deflateRawSync(Buffer.alloc(10_000_000), {
    dictionary: DICTIONARY,
    finishFlush: constants.Z_SYNC_FLUSH,
  });
  assert.throws(
    () => new HeaderInflater(65_536).inflate(Buffer.concat([ZLIB_HEADER, bomb])),
    refusal("header_block_too_large"),
  );
});

const UNFINISHED = [
  { name: "is cut inside its last deflate block", cut: 3, flush: constants.Z_SYNC_FLUSH },
  { name: "ends the zlib stream", cut: 0, flush: constants.Z_FINISH },
];
for (const { name, cut, flush } of UNFINISHED) {
  Deno.test(`HeaderInflater refuses a block that ${name}, which would hide headers in the next frame`, () => {
    const plain = encodeHeaderBlock(new Map([["streamtype", "error"], ["port", "80"]]));
    const deflated = deflateRawSync(plain, { dictionary: DICTIONARY, finishFlush: flush });
    const block = Buffer.concat([ZLIB_HEADER, deflated.subarray(0, deflated.length - cut)]);
    assert.throws(
      () => new HeaderInflater(65_536).inflate(block),
      (thrown) => thrown instanceof ProtocolError,
    );
  });
}

Deno.test("HeaderInflater follows a peer that compresses all blocks as one stream, however far they look back", async () => {
  const peer = createDeflate({ dictionary: DICTIONARY });
  const inflater = new HeaderInflater(4096);
  const sent: Buffer[] = [];
  for (let index = 0; index < 300; index++) {
    // Bytes that repeat nothing, but for every third block: that is one from up to 200 before, some 20 KB back.
    const again = index % 3 === 0 ? sent[Math.max(0, index - 1 - (index * 7) % 200)] : undefined;
    const plain = again ?? randomBytes(100);
    sent.push(plain);
    const deflated: Buffer[] = [];
    const take = (bytes: Buffer) => deflated.push(bytes);
    peer.on("data", take);
    peer.write(plain);
    await new Promise<void>((resolve) => peer.flush(constants.Z_SYNC_FLUSH, () => setTimeout(resolve)));
    peer.off("data", take);
    assert.deepEqual(Buffer.from(inflater.inflate(Buffer.concat(deflated))), plain, `block ${index}`);
  }
  peer.close();
});
