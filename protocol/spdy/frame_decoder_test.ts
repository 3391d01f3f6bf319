import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import fc from "fast-check";
import { ProtocolError } from "../errors.ts";
import type { ControlFrame, Frame } from "./frame.ts";
import { FrameDecoder } from "./frame_decoder.ts";
import { dataFrame, FrameEncoder } from "./frame_encoder.ts";

const hex = (text: string) => Buffer.from(text.replace(/\s/g, ""), "hex");

/** Frames as text, pieces of one DATA frame joined, so that differently cut input compares equal. */
function brief(frames: readonly Frame[]): string[] {
  const lines: string[] = [];
  let open: string | undefined;
  for (const frame of frames) {
    if (frame.type === "data") {
      const text = Buffer.from(frame.bytes).toString("hex");
      if (open !== undefined && lines.at(-1)!.startsWith(`data ${frame.id} `)) {
        lines[lines.length - 1] += text + (frame.fin ? " fin" : "");
      } else {
        lines.push(`data ${frame.id} ${text}${frame.fin ? " fin" : ""}`);
      }
      open = frame.fin ? undefined : "open";
      continue;
    }
    open = undefined;
    const { type, ...fields } = frame;
    lines.push(`${type} ${JSON.stringify(fields, (_, value) => value instanceof Map ? [...value] : value)}`);
  }
  return lines;
}

const syn = (id: number, name: string) =>
  `syn_stream {"id":${id},"associatedId":0,"priority":0,"slot":0,"fin":false,"unidirectional":false,"headers":[["streamtype","${name}"]]}`;

// Bytes taken from a client-go connection and from draft-mbelshe-httpbis-spdy-00; not made by our own encoder.
const VECTORS: { name: string; bytes: string; want: string[] }[] = [
  {
    name: "four SYN_STREAMs in one compression context",
    bytes:
      `80030001 00000028 00000001 00000000 0000 78f9e3c6a7c202a62346703a2b294a4dcc851625aca9a08006000000ffff
            80030001 00000017 00000003 00000000 0000 c22e555c02cc2e00000000ffff
            80030001 00000019 00000005 00000000 0000 c22a054ce729f9a52500000000ffff
            80030001 00000014 00000007 00000000 0000 c229073414000000ffff`,
    want: [syn(1, "error"), syn(3, "stdin"), syn(5, "stdout"), syn(7, "stderr")],
  },
  {
    name: "SYN_REPLYs of a server",
    bytes:
      `80030002 00000014 00000001 78f9e3c6a7c202a6230600000000ffff 80030002 0000000c 00000003 020100000000ffff`,
    want: ['syn_reply {"id":1,"fin":false,"headers":[]}', 'syn_reply {"id":3,"fin":false,"headers":[]}'],
  },
  {
    name: "E-40 stored blocks and no dictionary",
    bytes:
      `80030002 0000000f 00000001 7801 000400fbff 00000000 80030002 0000000d 00000003 000400fbff 00000000`,
    want: ['syn_reply {"id":1,"fin":false,"headers":[]}', 'syn_reply {"id":3,"fin":false,"headers":[]}'],
  },
  { name: "DATA", bytes: "00000003 00000003 6c730a", want: ["data 3 6c730a"] },
  { name: "E-44 DATA with FIN and payload", bytes: "00000003 01000002 6869", want: ["data 3 6869 fin"] },
  { name: "half-close", bytes: "00000003 01000000", want: ["data 3  fin"] },
  { name: "DATA on the last id", bytes: "7fffffff 00000001 61", want: ["data 2147483647 61"] },
  { name: "a flood of DATA that says nothing", bytes: "00000003 00000000".repeat(64), want: [] },
  {
    name: "RST_STREAM CANCEL",
    bytes: "80030003 00000008 00000005 00000005",
    want: ['rst_stream {"id":5,"status":5}'],
  },
  { name: "PING", bytes: "80030006 00000004 00000001", want: ['ping {"id":1}'] },
  {
    name: "GOAWAY",
    bytes: "80030007 00000008 00000007 00000000",
    want: ['goaway {"lastGoodId":7,"status":0}'],
  },
  {
    name: "E-31 WINDOW_UPDATE of the session",
    bytes: "80030009 00000008 00000000 00010000",
    want: ['window_update {"id":0,"delta":65536}'],
  },
  {
    name: "E-31 SETTINGS",
    bytes: "80030004 0100000c 00000001 01000004 00000064",
    want: ['settings {"clear":true,"entries":[{"flags":1,"id":4,"value":100}]}'],
  },
];

for (const { name, bytes, want } of VECTORS) {
  Deno.test(`FrameDecoder reads ${name}, cut anywhere`, () => {
    const wire = hex(bytes);
    for (let cut = 0; cut <= wire.length; cut++) {
      const decoder = new FrameDecoder();
      const got = [...decoder.push(wire.subarray(0, cut)), ...decoder.push(wire.subarray(cut))];
      assert.deepEqual(brief(got), want, `cut at byte ${cut}`);
      assert.equal(decoder.isIdle, true);
    }
  });
}

Deno.test("E-52 FrameDecoder reads all vectors glued together and one byte at a time", () => {
  const plain = VECTORS.filter(({ name }) => !/SYN|stored|^DATA$/.test(name)); // one context; one DATA on 3
  const wire = hex(VECTORS[0]!.bytes + plain.map(({ bytes }) => bytes).join(""));
  const want = [...VECTORS[0]!.want, ...plain.flatMap((vector) => vector.want)];
  assert.deepEqual(brief(new FrameDecoder().push(wire)), want);
  const decoder = new FrameDecoder();
  assert.deepEqual(brief([...wire].flatMap((byte) => decoder.push(Uint8Array.of(byte)))), want);
});

const REFUSED: { name: string; bytes: string; code: string }[] = [
  {
    name: "a control frame of another version",
    bytes: "80020006 00000004 00000001",
    code: "version_unknown",
  },
  { name: "NOOP, which Go peers do not know", bytes: "80030005 00000000", code: "frame_unknown" },
  { name: "DATA on stream 0", bytes: "00000000 00000000", code: "stream_id_zero" },
  { name: "DATA with a flag that is not FIN", bytes: "00000003 02000000", code: "flags_unknown" },
  { name: "RST_STREAM with status 0", bytes: "80030003 00000008 00000005 00000000", code: "status_zero" },
  {
    name: "RST_STREAM of 12 bytes",
    bytes: "80030003 0000000c 00000005 00000005 00000000",
    code: "length_wrong",
  },
  { name: "RST_STREAM of stream 0", bytes: "80030003 00000008 00000000 00000005", code: "stream_id_zero" },
  { name: "E-34 PING with id 0", bytes: "80030006 00000004 00000000", code: "ping_id_zero" },
  { name: "E-34 PING with flags", bytes: "80030006 01000004 00000001", code: "flags_unknown" },
  { name: "E-53 GOAWAY of 4 bytes", bytes: "80030007 00000004 00000001", code: "length_wrong" },
  {
    name: "SETTINGS that say more entries than they hold",
    bytes: "80030004 00000004 40000000",
    code: "length_wrong",
  },
  { name: "a control frame larger than the bound", bytes: "80030001 00ffffff", code: "frame_too_large" },
  {
    name: "a header block that is no zlib",
    bytes: "80030002 00000006 00000001 0000",
    code: "header_block_corrupt",
  },
  {
    name: "another dictionary",
    bytes: "80030002 00000012 00000001 78f9e3c6a7c3 000400fbff 00000000",
    code: "header_block_corrupt",
  },
];

for (const { name, bytes, code } of REFUSED) {
  Deno.test(`FrameDecoder refuses ${name}, cut anywhere`, () => {
    const wire = hex(bytes);
    for (let cut = 0; cut <= wire.length; cut++) {
      const decoder = new FrameDecoder();
      assert.throws(() => {
        decoder.push(wire.subarray(0, cut));
        decoder.push(wire.subarray(cut));
      }, (thrown) => thrown instanceof ProtocolError && thrown.code === code && thrown.by === "peer");
    }
  });
}

Deno.test("FrameDecoder says which frame broke the protocol, however frames are cut", () => {
  const wire = hex(
    "00000003 00000002 6869  80030006 00000004 00000001  00000003 04000000  00000003 00000000",
  );
  for (let cut = 0; cut <= wire.length; cut++) {
    const decoder = new FrameDecoder();
    assert.throws(() => {
      decoder.push(wire.subarray(0, cut));
      decoder.push(wire.subarray(cut));
    }, (thrown) => thrown instanceof ProtocolError && thrown.frame === 3 && thrown.code === "flags_unknown");
  }
});

const EMPTY_BLOCK = "000400fbff00000000000000ffff";
const WASTE = [
  { name: "HEADERS", type: "08", options: {}, most: 64, code: "headers_too_many" },
  { name: "SYN_REPLY", type: "02", options: { maxReplies: 3 }, most: 3, code: "replies_too_many" },
];
for (const { name, type, options, most, code } of WASTE) {
  Deno.test(`attack: a flood of ${name}, which is written faster than read, is refused within one read`, () => {
    const frame = (block: string) =>
      hex(`800300${type} 000000${(4 + block.length / 2).toString(16)} 00000003 ${block}`);
    const first = frame(`789c${EMPTY_BLOCK}`);
    const flood = Array.from({ length: most - 1 }, () => frame(EMPTY_BLOCK));
    const decoder = new FrameDecoder(options);
    assert.equal(decoder.push(Buffer.concat([first, ...flood])).length, most);
    const refused = (thrown: unknown) => thrown instanceof ProtocolError && thrown.code === code;
    assert.throws(() => decoder.push(frame(EMPTY_BLOCK)), refused);
  });
}

Deno.test("E-54 FrameDecoder passes a 16 MB DATA frame on in pieces and holds nothing", () => {
  const decoder = new FrameDecoder();
  let passed = 0;
  const take = (frames: Frame[]) => {
    for (const frame of frames) if (frame.type === "data") passed += frame.bytes.length;
  };
  take(decoder.push(hex("00000003 00ffffff")));
  const piece = new Uint8Array(65_536);
  while (passed < 0xff_ffff) {
    take(decoder.push(piece.subarray(0, Math.min(piece.length, 0xff_ffff - passed))));
    assert.equal(decoder.heldBytes, 0);
  }
  assert.equal(decoder.isIdle, true);
});

const streamId = fc.integer({ min: 1, max: 0x7fff_ffff });
const word = fc.integer({ min: 0, max: 0xffff_ffff });
const record = <T>(fields: { [Key in keyof T]: fc.Arbitrary<T[Key]> }) =>
  fc.record(fields, { noNullPrototype: true });
const headers = fc.dictionary(
  fc.stringMatching(/^[a-z][a-z0-9-]{0,12}$/),
  fc.string({ unit: "grapheme", maxLength: 40 }),
  {
    maxKeys: 5,
  },
).map((entries) =>
  new Map(Object.entries(entries).filter(([name]) => !["host", "connection", "keep-alive"].includes(name)))
);
const controlFrame: fc.Arbitrary<ControlFrame> = fc.oneof(
  record({
    type: fc.constant("syn_stream" as const),
    id: streamId,
    associatedId: fc.integer({ min: 0, max: 0x7fff_ffff }),
    priority: fc.integer({ min: 0, max: 7 }),
    slot: fc.integer({ min: 0, max: 255 }),
    fin: fc.boolean(),
    unidirectional: fc.boolean(),
    headers,
  }),
  record({
    type: fc.constantFrom("syn_reply" as const, "headers" as const),
    id: streamId,
    fin: fc.boolean(),
    headers,
  }),
  record({
    type: fc.constant("rst_stream" as const),
    id: streamId,
    status: fc.integer({ min: 1, max: 0xffff_ffff }),
  }),
  record({
    type: fc.constant("settings" as const),
    clear: fc.boolean(),
    entries: fc.array(
      record({
        flags: fc.integer({ min: 0, max: 255 }),
        id: fc.integer({ min: 0, max: 0xff_ffff }),
        value: word,
      }),
      { maxLength: 4 },
    ),
  }),
  record({ type: fc.constant("ping" as const), id: fc.integer({ min: 1, max: 0xffff_ffff }) }),
  record({
    type: fc.constant("goaway" as const),
    lastGoodId: fc.integer({ min: 0, max: 0x7fff_ffff }),
    status: word,
  }),
  record({
    type: fc.constant("window_update" as const),
    id: fc.integer({ min: 0, max: 0x7fff_ffff }),
    delta: fc.integer({ min: 0, max: 0x7fff_ffff }),
  }),
);
const anyFrame = fc.oneof(
  controlFrame,
  record({ id: streamId, bytes: fc.uint8Array({ maxLength: 50 }), fin: fc.boolean() }),
);

/** `wire` cut into pieces of the given sizes, then the rest. */
function cut(wire: Uint8Array, sizes: readonly number[]): Uint8Array[] {
  const pieces: Uint8Array[] = [];
  let offset = 0;
  for (const size of sizes) pieces.push(wire.subarray(offset, offset += size));
  return [...pieces, wire.subarray(offset)];
}

Deno.test("decode after encode is identity, and any split of the bytes gives the same frames", () => {
  fc.assert(
    fc.property(
      fc.array(anyFrame, { maxLength: 12 }),
      fc.array(fc.integer({ min: 0, max: 40 }), { maxLength: 30 }),
      (frames, sizes) => {
        const encoder = new FrameEncoder();
        const wire = Buffer.concat(
          frames.map((frame) =>
            "type" in frame ? encoder.encode(frame) : dataFrame(frame.id, frame.bytes, frame.fin)
          ),
        );
        const want = frames.flatMap((frame) => {
          if ("type" in frame) return [frame];
          return new FrameDecoder().push(dataFrame(frame.id, frame.bytes, frame.fin));
        });
        const got = new FrameDecoder().push(wire);
        assert.deepEqual(brief(got), brief(want));
        const decoder = new FrameDecoder();
        const pieces = cut(wire, sizes).flatMap((piece) => decoder.push(piece));
        assert.deepEqual(brief(pieces), brief(got));
        const whole = got.filter((frame) => frame.type === "data").map((frame) =>
          dataFrame(frame.id, frame.bytes, frame.fin)
        );
        const raw = got.filter((frame) => frame.type === "data").map((frame) => frame.raw);
        assert.deepEqual(raw.map((bytes) => Buffer.from(bytes!)), whole, "raw is the frame on the wire");
      },
    ),
    { numRuns: 300 },
  );
});

Deno.test("random bytes throw nothing but ProtocolError and hold no more than one control frame", () => {
  const garbage = fc.oneof(
    fc.uint8Array({ maxLength: 200 }),
    fc.tuple(fc.integer({ min: 0, max: 12 }), fc.uint8Array({ maxLength: 60 })).map(([type, rest]) =>
      Buffer.concat([Uint8Array.of(0x80, 3, 0, type, 0, 0, 0, rest.length), rest])
    ),
  );
  fc.assert(
    fc.property(fc.array(garbage, { maxLength: 6 }), (chunks) => {
      const decoder = new FrameDecoder({ maxControlBytes: 128 });
      try {
        for (const chunk of chunks) {
          decoder.push(chunk);
          assert.ok(decoder.heldBytes <= 8 + 128);
        }
      } catch (thrown) {
        assert.ok(thrown instanceof ProtocolError, String(thrown));
      }
    }),
    { numRuns: 2000 },
  );
});
