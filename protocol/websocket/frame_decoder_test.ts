import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import fc from "fast-check";
import { ProtocolError } from "../errors.ts";
import { MAX_CONTROL_BYTES, MAX_HEADER_BYTES, OPCODE, type Role } from "./frame.ts";
import { FrameDecoder } from "./frame_decoder.ts";
import { encodeClose, encodeFrame } from "./frame_encoder.ts";
import { WebSocketError } from "./websocket_error.ts";

const hex = (text: string) => Buffer.from(text.replace(/\s/g, ""), "hex");

/**
 * Events as text, pieces of one message joined, so that differently cut input compares equal. A fault is the last line.
 */
function read(decoder: FrameDecoder, chunks: readonly Uint8Array[]): string[] {
  const lines: string[] = [];
  let message = "";
  try {
    for (const chunk of chunks) {
      for (const event of decoder.push(chunk)) {
        if (event.type === "close") lines.push(`close ${event.code} ${event.reason}`);
        else if (event.type !== "data") {
          lines.push(`${event.type} ${Buffer.from(event.payload).toString("hex")}`);
        } else {
          if (event.start) message = `${event.kind} `;
          message += Buffer.from(event.bytes).toString("hex");
          if (event.end) lines.push(message);
          if (event.end) message = "";
        }
      }
    }
  } catch (error) {
    assert.ok(error instanceof ProtocolError, `threw ${error}`);
    assert.equal(error.by, "peer");
    return [...lines, message, `${error.code}`];
  }
  return [...lines, message];
}

/** `bytes` cut at these places. */
function cut(bytes: Uint8Array, places: readonly number[]): Uint8Array[] {
  const edges = [0, ...places.map((place) => place % (bytes.length + 1)).sort((a, b) => a - b), bytes.length];
  return edges.slice(1).map((edge, index) => bytes.subarray(edges[index], edge));
}

const HELLO = "48656c6c6f";
const MASKED_HELLO = "37fa213d 7f9f4d5158";

// RFC 6455, 5.7, and what Go's, Python's and JavaScript's clients send as protocols of Kubernetes describe it.
const VECTORS: { name: string; role: Role; bytes: string; want: string[] }[] = [
  { name: "5.7 unmasked text", role: "client", bytes: `8105 ${HELLO}`, want: [`text ${HELLO}`] },
  { name: "5.7 masked text", role: "server", bytes: `8185 ${MASKED_HELLO}`, want: [`text ${HELLO}`] },
  { name: "5.7 fragmented text", role: "client", bytes: "0103 48656c 8002 6c6f", want: [`text ${HELLO}`] },
  { name: "5.7 ping", role: "client", bytes: `8905 ${HELLO}`, want: [`ping ${HELLO}`] },
  { name: "5.7 masked pong", role: "server", bytes: `8a85 ${MASKED_HELLO}`, want: [`pong ${HELLO}`] },
  {
    name: "5.7 256 bytes",
    role: "client",
    bytes: `827e0100 ${"ab".repeat(256)}`,
    want: [`binary ${"ab".repeat(256)}`],
  },
  {
    name: "a ping between two fragments",
    role: "client",
    bytes: `0203 00616c 8900 8002 6c6f`,
    want: ["ping ", "binary 00616c6c6f"],
  },
  {
    name: "empty fragments at the start, inside and at the end",
    role: "client",
    bytes: "0200 0000 000141 0000 8000",
    want: ["binary 41"],
  },
  { name: "an empty message", role: "client", bytes: "8200", want: ["binary "] },
  { name: "two messages", role: "client", bytes: "820101 810132", want: ["binary 01", "text 32"] },
  { name: "text that is not UTF-8", role: "client", bytes: "8102 00ff", want: ["text 00ff"] },
  {
    name: "the largest control payload",
    role: "client",
    bytes: `897d ${"70".repeat(125)}`,
    want: [`ping ${"70".repeat(125)}`],
  },
  { name: "Close 1000 of Go and Python", role: "client", bytes: "8802 03e8", want: ["close 1000 "] },
  {
    name: "Close 1000 of fabric8",
    role: "client",
    bytes: "880c 03e8 436c6f73696e672e2e2e",
    want: ["close 1000 Closing..."],
  },
  {
    name: "Close without a code of JavaScript",
    role: "server",
    bytes: "8880 00000000",
    want: ["close 1005 "],
  },
  {
    name: "nothing after a Close",
    role: "client",
    bytes: "8802 03e9 8201 41 ffff",
    want: ["close 1001 "],
  },
  { name: "Close 3000", role: "client", bytes: "8802 0bb8", want: ["close 3000 "] },
];

for (const { name, role, bytes, want } of VECTORS) {
  Deno.test(`FrameDecoder reads ${name}, cut anywhere`, () => {
    const whole = hex(bytes);
    assert.deepEqual(read(new FrameDecoder({ role }), [...whole].map((byte) => Uint8Array.of(byte))), [
      ...want,
      "",
    ], "bytewise");
    for (let place = 0; place <= whole.length; place++) {
      assert.deepEqual(read(new FrameDecoder({ role }), cut(whole, [place])), [...want, ""], `at ${place}`);
    }
  });
}

Deno.test("FrameDecoder reads the 65,536 bytes of RFC 6455, 5.7", () => {
  const payload = Buffer.alloc(65536, 0x61);
  const bytes = Buffer.concat([hex("827f 0000000000010000"), payload]);
  const want = [`binary ${payload.toString("hex")}`, ""];
  assert.deepEqual(read(new FrameDecoder({ role: "client" }), [bytes]), want);
  assert.deepEqual(read(new FrameDecoder({ role: "client" }), cut(bytes, [1, 2, 5, 9, 10, 11, 40000])), want);
});

const FAULTS: { name: string; role: Role; bytes: string; code: string; closeCode: number }[] = [
  { name: "RSV1 (compression)", role: "client", bytes: "c1", code: "reserved_bits", closeCode: 1002 },
  { name: "RSV3", role: "client", bytes: "91", code: "reserved_bits", closeCode: 1002 },
  { name: "opcode 3", role: "client", bytes: "83", code: "opcode_unknown", closeCode: 1002 },
  { name: "opcode 11", role: "client", bytes: "8b", code: "opcode_unknown", closeCode: 1002 },
  {
    name: "E-85 an unmasked client frame",
    role: "server",
    bytes: "8205",
    code: "mask_missing",
    closeCode: 1002,
  },
  { name: "a masked server frame", role: "client", bytes: "8285", code: "mask_unexpected", closeCode: 1002 },
  { name: "a fragmented ping", role: "client", bytes: "09", code: "control_fragmented", closeCode: 1002 },
  {
    name: "a ping of 126 bytes",
    role: "client",
    bytes: "897e",
    code: "control_too_large",
    closeCode: 1002,
  },
  {
    name: "a continuation of nothing",
    role: "client",
    bytes: "80",
    code: "continuation_unexpected",
    closeCode: 1002,
  },
  {
    name: "a continuation after the end",
    role: "client",
    bytes: "820141 80",
    code: "continuation_unexpected",
    closeCode: 1002,
  },
  {
    name: "a new message inside another",
    role: "client",
    bytes: "020141 82",
    code: "continuation_missing",
    closeCode: 1002,
  },
  {
    name: "125 in 16 bits",
    role: "client",
    bytes: "827e007d",
    code: "length_not_minimal",
    closeCode: 1002,
  },
  {
    name: "65,535 in 64 bits",
    role: "client",
    bytes: "827f000000000000ffff",
    code: "length_not_minimal",
    closeCode: 1002,
  },
  {
    name: "a negative length",
    role: "client",
    bytes: "827f8000000000000000",
    code: "length_invalid",
    closeCode: 1002,
  },
  {
    name: "E-84 a frame of 32 MiB and 1",
    role: "server",
    bytes: "82ff0000000002000001",
    code: "frame_too_large",
    closeCode: 1009,
  },
  {
    name: "a frame of 2^63-1",
    role: "client",
    bytes: "827f7fffffffffffffff",
    code: "frame_too_large",
    closeCode: 1009,
  },
  {
    name: "half a close code",
    role: "client",
    bytes: "880103",
    code: "close_payload_invalid",
    closeCode: 1002,
  },
  { name: "close code 999", role: "client", bytes: "880203e7", code: "close_code_invalid", closeCode: 1002 },
  { name: "close code 1005", role: "client", bytes: "880203ed", code: "close_code_invalid", closeCode: 1002 },
  { name: "close code 1015", role: "client", bytes: "880203f7", code: "close_code_invalid", closeCode: 1002 },
  { name: "close code 2999", role: "client", bytes: "88020bb7", code: "close_code_invalid", closeCode: 1002 },
  { name: "close code 5000", role: "client", bytes: "88021388", code: "close_code_invalid", closeCode: 1002 },
  {
    name: "a reason that is not UTF-8",
    role: "client",
    bytes: "880403e8c328",
    code: "close_reason_invalid",
    closeCode: 1007,
  },
];

for (const { name, role, bytes, code, closeCode } of FAULTS) {
  Deno.test(`FrameDecoder refuses ${name} at its last byte and not before`, () => {
    const whole = hex(bytes);
    const decoder = new FrameDecoder({ role });
    for (const byte of whole.subarray(0, -1)) Array.from(decoder.push(Uint8Array.of(byte)));
    assert.throws(
      () => Array.from(decoder.push(whole.subarray(-1))),
      (error) => error instanceof WebSocketError && error.code === code && error.closeCode === closeCode,
    );
  });
}

Deno.test("FrameDecoder says which frame broke the protocol, however frames are cut", () => {
  const wire = hex("8900 02026869 8001ff c1");
  for (let cut = 0; cut <= wire.length; cut++) {
    const decoder = new FrameDecoder({ role: "client" });
    assert.throws(() => {
      Array.from(decoder.push(wire.subarray(0, cut)));
      Array.from(decoder.push(wire.subarray(cut)));
    }, (thrown) => thrown instanceof WebSocketError && thrown.frame === 4 && thrown.code === "reserved_bits");
  }
});

Deno.test("FrameDecoder tells the frame of the event that it yielded last", () => {
  const decoder = new FrameDecoder({ role: "client" });
  const numbers: number[] = [];
  for (const _ of decoder.push(hex("8900 82026869 8900"))) numbers.push(decoder.frameNumber);
  assert.deepEqual(numbers, [1, 2, 3]);
});

Deno.test("FrameDecoder takes a frame of exactly 32 MiB and holds none of it (E-84)", () => {
  const decoder = new FrameDecoder({ role: "client" });
  const chunk = new Uint8Array(1024 * 1024);
  assert.deepEqual([...decoder.push(hex("827f0000000002000000"))], []);
  let bytes = 0;
  for (let count = 0; count < 32; count++) {
    for (const event of decoder.push(chunk)) {
      assert.equal(event.type === "data" && event.end, count === 31);
      bytes += event.type === "data" ? event.bytes.length : 0;
      assert.equal(decoder.heldBytes, 0);
    }
  }
  assert.equal(bytes, 32 * 1024 * 1024);
});

Deno.test("FrameDecoder passes on the part of a frame that has arrived", () => {
  const decoder = new FrameDecoder({ role: "client" });
  const [first] = [...decoder.push(hex("8205 00616c"))];
  assert.deepEqual(first, { type: "data", kind: "binary", start: true, end: false, bytes: hex("00616c") });
  const [last] = [...decoder.push(hex("6c6f"))];
  assert.deepEqual(last, { type: "data", kind: "binary", start: false, end: true, bytes: hex("6c6f") });
});

Deno.test("FrameDecoder yields what stood before a fault", () => {
  const decoder = new FrameDecoder({ role: "client" });
  const events = decoder.push(hex("820141 ff"));
  assert.equal(events.next().value?.type, "data");
  assert.throws(() => events.next(), { code: "reserved_bits" });
});

Deno.test("FrameDecoder leaves the chunk as it was", () => {
  const chunk = hex(`8185 ${MASKED_HELLO}`);
  const before = Buffer.from(chunk);
  assert.equal([...new FrameDecoder({ role: "server" }).push(chunk)].length, 1);
  assert.deepEqual(chunk, before);
});

Deno.test("FrameDecoder makes no event of a flood of empty fragments", () => {
  const decoder = new FrameDecoder({ role: "client" });
  const flood = Buffer.concat([hex("0200"), Buffer.alloc(20_000)]);
  assert.equal([...decoder.push(flood)].length, 1);
  assert.equal([...decoder.push(flood.subarray(2))].length, 0);
});

Deno.test("FrameDecoder says so where events were left behind", () => {
  const decoder = new FrameDecoder({ role: "client" });
  decoder.push(hex("820141 820142")).next();
  assert.throws(() => decoder.push(hex("820143")).next(), { code: "decoder_busy", by: "us" });
});

const frame = fc.record({
  opcode: fc.constantFrom(OPCODE.TEXT, OPCODE.BINARY),
  pieces: fc.array(fc.uint8Array({ maxLength: 300, size: "max" }), { minLength: 1, maxLength: 4 }),
  ping: fc.option(fc.uint8Array({ maxLength: MAX_CONTROL_BYTES, size: "max" }), { nil: undefined }),
  key: fc.uint8Array({ minLength: 4, maxLength: 4 }),
});

Deno.test("FrameDecoder gives back what was encoded, however it is cut", () => {
  fc.assert(
    fc.property(
      fc.array(frame, { maxLength: 5 }),
      fc.constantFrom<Role>("server", "client"),
      fc.array(fc.nat(), { maxLength: 8 }),
      (frames, role, places) => {
        const wire: Uint8Array[] = [];
        const want: string[] = [];
        for (const { opcode, pieces, ping, key } of frames) {
          const masking = role === "server" ? { key } : {};
          pieces.forEach((piece, index) => {
            const fin = index === pieces.length - 1;
            wire.push(encodeFrame(index === 0 ? opcode : OPCODE.CONTINUATION, piece, { fin, ...masking }));
            if (ping && index === 0) wire.push(encodeFrame(OPCODE.PING, ping, masking));
          });
          const message = `${opcode === OPCODE.TEXT ? "text" : "binary"} ${
            Buffer.concat(pieces).toString("hex")
          }`;
          const pinged = ping ? [`ping ${Buffer.from(ping).toString("hex")}`] : [];
          want.push(...(pieces.length === 1 ? [message, ...pinged] : [...pinged, message]));
        }
        wire.push(encodeClose(1000, "", role === "server" ? { key: Uint8Array.of(1, 2, 3, 4) } : {}));
        want.push("close 1000 ", "");
        assert.deepEqual(read(new FrameDecoder({ role }), cut(Buffer.concat(wire), places)), want);
      },
    ),
    { numRuns: 300 },
  );
});

/** Bytes that are often a frame: random ones are refused at the first. */
const noise = fc.array(
  fc.oneof(
    fc.uint8Array({ maxLength: 20 }),
    fc.constantFrom("8205", "0203", "0002", "8000", "8900", "827e0080", "880203e8", "8185", "0281").map(hex),
  ),
  { maxLength: 20 },
).map((parts) => Buffer.concat(parts));

Deno.test("FrameDecoder reads any bytes, or throws a ProtocolError, the same however they are cut", () => {
  fc.assert(
    fc.property(
      noise,
      fc.constantFrom<Role>("server", "client"),
      fc.array(fc.nat()),
      (bytes, role, places) => {
        const decoder = new FrameDecoder({ role });
        const got = read(decoder, cut(bytes, places));
        assert.deepEqual(got, read(new FrameDecoder({ role }), [bytes]));
        assert.ok(decoder.heldBytes <= MAX_HEADER_BYTES + MAX_CONTROL_BYTES);
      },
    ),
    { numRuns: 1000 },
  );
});

Deno.test("FrameDecoder keeps no room of a large chunk once small ones come", () => {
  const decoder = new FrameDecoder({ role: "server" });
  const roomBytes = (payloadBytes: number) => {
    const frame = encodeFrame(OPCODE.BINARY, new Uint8Array(payloadBytes), {
      key: Uint8Array.of(1, 2, 3, 4),
    });
    const [event] = [...decoder.push(frame)];
    return event?.type === "data" ? event.bytes.buffer.byteLength : assert.fail();
  };
  assert.ok(roomBytes(65_536) >= 65_536);
  assert.ok(roomBytes(10_000) >= 65_536, "about as large: room is kept");
  assert.ok(roomBytes(10) < 1024);
});
