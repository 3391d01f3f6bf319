/** Frames that are sent without end by who reads no answer, and what they are made of. */

import { Buffer } from "node:buffer";
import { randomBytes } from "node:crypto";
import { constants, deflateRawSync } from "node:zlib";
import { encodeHeaderBlock } from "../../../protocol/spdy/header_block.ts";
import { encodeFrame, OPCODE } from "../../../protocol/websocket/mod.ts";
import { ID } from "./session_scene.ts";

/** Bytes as they are written in specifications; blanks mean nothing. */
export function hex(text: string): Buffer {
  return Buffer.from(text.replaceAll(" ", ""), "hex");
}

/** A SYN_STREAM of any id whose block is deflated here; not the first of its connection. */
export function syn(id: number, plain: Uint8Array, finishFlush = constants.Z_SYNC_FLUSH): Uint8Array {
  const block = deflateRawSync(plain, { finishFlush });
  const head = Buffer.alloc(18);
  head.writeUInt32BE(0x8003_0001);
  head.writeUInt32BE(10 + block.length, 4);
  head.writeUInt32BE(id, 8);
  return Buffer.concat([head, block]);
}

/** A SYN_STREAM with these headers; not the first of its connection. */
export function named(id: number, headers: Record<string, string>): Uint8Array {
  return syn(id, encodeHeaderBlock(new Map(Object.entries(headers))));
}

/** A frame as clients send it. */
export function masked(
  opcode: Parameters<typeof encodeFrame>[0],
  payload: Uint8Array,
  fin = true,
): Uint8Array {
  return encodeFrame(opcode, payload, { fin, key: randomBytes(4) });
}

/** A message of these bytes, the first of which is its channel. */
export function binary(...bytes: number[]): Uint8Array {
  return masked(OPCODE.BINARY, Uint8Array.from(bytes));
}

/** By either side, where streams 1, 3 and 5 are open. `isRefused`: there is an end of it. */
export const SPDY_FLOODS: readonly { kind: string; piece: Uint8Array; isRefused?: boolean }[] = [
  { kind: "PING", piece: hex("80030006 00000004 00000001") },
  { kind: "PING of the other side's", piece: hex("80030006 00000004 00000002") },
  { kind: "SETTINGS", piece: hex("80030004 0000000c 00000001 01000004 00000064") },
  { kind: "RST_STREAM", piece: hex("80030003 00000008 00000063 00000001") },
  { kind: "empty DATA", piece: hex("00000003 00000000") },
  { kind: "empty DATA on no stream", piece: hex("00000063 00000000") },
  { kind: "WINDOW_UPDATE", piece: hex("80030009 00000008 00000000 00000001") },
  // The count 0 in a stored block, and the empty one of a flush.
  {
    kind: "HEADERS",
    piece: hex("80030008 00000012 00000003 000400fbff 00000000 000000ffff"),
    isRefused: true,
  },
  {
    kind: "SYN_REPLY",
    piece: hex("80030002 00000012 00000003 000400fbff 00000000 000000ffff"),
    isRefused: true,
  },
  { kind: "SYN_STREAM", piece: named(ID.stdin, { streamtype: "x" }), isRefused: true },
  {
    kind: "header blocks of 4 KB",
    piece: named(ID.stdin, { streamtype: "x".repeat(4_000) }),
    isRefused: true,
  },
];

/** By a client. `first` is what comes before them. */
export const WEBSOCKET_FLOODS: readonly { kind: string; first?: Uint8Array; piece: Uint8Array }[] = [
  { kind: "pings", piece: masked(OPCODE.PING, randomBytes(125)) },
  { kind: "pongs", piece: masked(OPCODE.PONG, Buffer.of()) },
  { kind: "empty messages", piece: masked(OPCODE.BINARY, Buffer.of()) },
  { kind: "messages of a byte on no channel", piece: binary(9, 65) },
  {
    kind: "empty fragments",
    first: masked(OPCODE.BINARY, Uint8Array.of(0, 65), false),
    piece: masked(OPCODE.CONTINUATION, Buffer.of(), false),
  },
];
