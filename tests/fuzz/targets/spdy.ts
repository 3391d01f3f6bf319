import assert from "node:assert/strict";
import { constants, deflateSync } from "node:zlib";
import { ProtocolError } from "../../../protocol/errors.ts";
import { DICTIONARY } from "../../../protocol/spdy/dictionary.ts";
import { decodeHeaderBlock, encodeHeaderBlock } from "../../../protocol/spdy/header_block.ts";
import {
  type ControlFrame,
  dataFrame,
  type Frame,
  FrameDecoder,
  FrameEncoder,
} from "../../../protocol/spdy/mod.ts";
import { concat } from "../mutate.ts";
import { cuts, hexOf, orRefuses } from "../oracle.ts";
import type { Random } from "../random.ts";
import type { Target } from "../target.ts";

const MAX_CONTROL_BYTES = 16 * 1024;

/** What a stream of frames says: pieces of DATA joined, and the fault that ended it. */
interface Said {
  frames: readonly unknown[];
  fault: string | undefined;
}

function read(chunks: readonly Uint8Array[]): Said {
  const decoder = new FrameDecoder({ maxControlBytes: MAX_CONTROL_BYTES });
  const frames: Frame[] = [];
  for (const chunk of chunks) {
    try {
      for (const frame of decoder.push(chunk)) {
        frames.push(frame.type === "data" ? { ...frame, bytes: frame.bytes.slice() } : frame);
      }
    } catch (thrown) {
      if (!(thrown instanceof ProtocolError)) throw thrown;
      assert.equal(thrown.by, "peer");
      // Which of the two it is, is up to the random bytes that seal a block.
      const code = thrown.code === "header_block_unfinished" ? "header_block_corrupt" : thrown.code;
      return { frames: joined(frames), fault: `${code} in frame ${thrown.frame}` };
    }
    assert.ok(decoder.heldBytes <= 8 + MAX_CONTROL_BYTES, `holds ${decoder.heldBytes} bytes`);
  }
  return { frames: joined(frames), fault: undefined };
}

/** DATA of one stream that follows DATA of the same, as one. */
function joined(frames: readonly Frame[]): unknown[] {
  const all: { id: number; fin: boolean; hex: string }[] = [];
  const out: unknown[] = [];
  for (const frame of frames) {
    if (frame.type !== "data") {
      out.push("headers" in frame ? { ...frame, headers: [...frame.headers] } : frame);
      all.length = 0;
      continue;
    }
    const last = all.at(-1);
    if (last !== undefined && last.id === frame.id && !last.fin) {
      last.hex += hexOf(frame.bytes);
      last.fin = frame.fin;
    } else {
      const data = { id: frame.id, fin: frame.fin, hex: hexOf(frame.bytes) };
      all.push(data);
      out.push(data);
    }
  }
  return out;
}

/** The same frames as we write them. */
function rewritten(bytes: Uint8Array): Uint8Array {
  const encoder = new FrameEncoder();
  const frames = new FrameDecoder({ maxControlBytes: MAX_CONTROL_BYTES }).push(bytes);
  return concat(
    ...frames.map((frame) =>
      frame.type === "data" ? dataFrame(frame.id, frame.bytes, frame.fin) : encoder.encode(frame)
    ),
  );
}

const ID_EDGES = [0, 1, 2, 3, 5, 0x7fff_ffff, 0x7fff_fffe];
const NAMES = ["streamtype", "port", "requestid", ":path", "host", "a", "streamType", ""];
const VALUES = ["stdin", "stdout", "error", "resize", "80", "a\0b", "x".repeat(300), ""];

function frameBy(random: Random, encoder: FrameEncoder): Uint8Array {
  const id = random.oneIn(3) ? random.pick(ID_EDGES) : 1 + random.below(12);
  const fin = random.oneIn(4);
  const headers = new Map(
    Array.from({ length: random.below(4) }, () => [random.pick(NAMES), random.pick(VALUES)] as const),
  );
  const frames: (ControlFrame | Uint8Array)[] = [
    dataFrame(id, random.bytes(random.below(40)), fin),
    {
      ...{ type: "syn_stream", id, fin, headers, associatedId: random.pick(ID_EDGES) },
      ...{ priority: random.below(8), slot: random.below(256), unidirectional: random.oneIn(4) },
    },
    { type: "syn_reply", id, fin, headers },
    { type: "headers", id, fin, headers },
    { type: "rst_stream", id, status: random.below(13) },
    {
      type: "settings",
      clear: fin,
      entries: Array.from({ length: random.below(4) }, () => ({
        flags: random.below(256),
        id: random.below(0x100_0000),
        value: random.next(),
      })),
    },
    { type: "ping", id },
    { type: "goaway", lastGoodId: id, status: random.below(4) },
    { type: "window_update", id, delta: random.next() & 0x7fff_ffff },
  ];
  const frame = random.pick(frames);
  return frame instanceof Uint8Array ? frame : encoder.encode(frame);
}

/** Some frames of any kind. */
export function spdyFrames(random: Random, encoder: FrameEncoder): Uint8Array {
  return concat(...Array.from({ length: 1 + random.below(6) }, () => frameBy(random, encoder)));
}

/** A SYN_STREAM whose block another peer deflates in its own way. */
function synStreamOf(block: Uint8Array): Uint8Array {
  const length = 10 + block.length;
  return concat(
    Uint8Array.of(0x80, 3, 0, 1, 0, length >> 16, length >> 8, length, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0),
    block,
  );
}

const finishFlush = constants.Z_SYNC_FLUSH;

/** Small, and a megabyte of zeros where it is inflated. */
export const HEADER_BOMB = synStreamOf(
  deflateSync(new Uint8Array(1 << 20), { dictionary: DICTIONARY, finishFlush, level: 9 }),
);

/** Says that 4 billion headers follow. */
export const COUNT_BOMB = synStreamOf(
  deflateSync(Uint8Array.of(0xff, 0xff, 0xff, 0xff), { dictionary: DICTIONARY, finishFlush }),
);

export const SPDY_TARGETS: readonly Target[] = [
  {
    name: "spdy-frames",
    promise: "however cut the same frames or the same fault; what is read is read again as it is written",
    seeds: [
      "",
      HEADER_BOMB,
      COUNT_BOMB,
      Uint8Array.fromHex(
        "80030001000000280000000100000000000078f9e3c6a7c202a62346703a2b294a4dcc851625aca9a08006000000ffff",
      ),
      Uint8Array.fromHex("8003000600000004000000010000000301000002616280030007000000080000000100000000"),
    ],
    words: [
      Uint8Array.fromHex("80030001"),
      Uint8Array.fromHex("80030004"),
      Uint8Array.fromHex("0000000001"),
      Uint8Array.fromHex("78f9e3c6a7c2"),
      Uint8Array.fromHex("000000ffff"),
    ],
    maxBytes: 32 * 1024,
    generate: (random) => spdyFrames(random, new FrameEncoder()),
    check(input) {
      const whole = read([input.slice()]);
      for (const chunks of cuts(input)) {
        const cut = read(chunks);
        assert.equal(cut.fault, whole.fault, `cut into ${chunks.length} pieces it fails otherwise`);
        // A fault takes with it the frames that came in its own chunk: they go nowhere, and no tap has seen them.
        if (whole.fault === undefined) assert.deepEqual(cut.frames, whole.frames);
      }
      if (whole.fault !== undefined) return;
      const again = rewritten(input);
      // An open frame at the end is none yet.
      const last = read([again]);
      assert.equal(last.fault, undefined, "what we write cannot be read");
      if (new FrameDecoder().push(input.slice()).length > 0) assert.deepEqual(last.frames, whole.frames);
    },
  },
  {
    name: "spdy-header-block",
    promise: "a block is refused, or is what we write of what we read in it, byte for byte",
    seeds: [
      encodeHeaderBlock(new Map([["streamtype", "stdin"], ["port", "80"], ["requestid", "a\0b"]])),
      Uint8Array.of(0, 0, 0, 0),
    ],
    words: ["host", "connection", ":path", "streamtype", Uint8Array.of(0, 0, 0, 4)],
    generate: (random) =>
      encodeHeaderBlock(
        new Map(Array.from({ length: random.below(5) }, () => [random.pick(NAMES), random.pick(VALUES)])),
      ),
    check(input) {
      const headers = orRefuses(() => decodeHeaderBlock(input), ProtocolError);
      if (headers !== undefined) assert.equal(hexOf(encodeHeaderBlock(headers)), hexOf(input));
    },
  },
];
