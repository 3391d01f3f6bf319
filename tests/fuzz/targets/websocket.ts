import assert from "node:assert/strict";
import { ProtocolError } from "../../../protocol/errors.ts";
import {
  encodeFrame,
  FrameDecoder,
  isUpgradeRequest,
  readUpgradeRequest,
  readUpgradeResponse,
  upgradeRequestHeaders,
  WebSocketError,
} from "../../../protocol/websocket/mod.ts";
import { concat } from "../mutate.ts";
import { headerLinesOf, hexOf, orRefuses, sameHoweverCut, textOf } from "../oracle.ts";
import type { Random } from "../random.ts";
import type { Target } from "../target.ts";

/** What a WebSocket says: messages joined, and the fault that ended it. */
function read(role: "server" | "client", chunks: readonly Uint8Array[]): string[] {
  const decoder = new FrameDecoder({ role, maxFrameBytes: 70_000 });
  const said: string[] = [];
  let message: string | undefined;
  try {
    for (const chunk of chunks) {
      for (const event of decoder.push(chunk)) {
        if (event.type !== "data") {
          said.push(
            event.type === "close"
              ? `close ${event.code} ${event.reason}`
              : `${event.type} ${hexOf(event.payload)}`,
          );
          continue;
        }
        assert.equal(event.start, message === undefined, "a message begins where the last has ended");
        message = (message ?? `${event.kind} `) + hexOf(event.bytes);
        if (!event.end) continue;
        said.push(message);
        message = undefined;
      }
      assert.ok(decoder.heldBytes <= 14 + 125, `holds ${decoder.heldBytes} bytes`);
    }
  } catch (thrown) {
    if (!(thrown instanceof WebSocketError)) throw thrown;
    said.push(`${thrown.code} ${thrown.closeCode} in frame ${thrown.frame}`);
  }
  return message === undefined ? said : [...said, `${message}…`];
}

const KEY = Uint8Array.of(0xde, 0xad, 0xbe, 0xef);
const OPCODES = [0, 1, 2, 8, 9, 10] as const;

export function webSocketFrames(random: Random, isMasked: boolean): Uint8Array {
  return concat(...Array.from({ length: 1 + random.below(5) }, () => {
    const opcode = random.pick(OPCODES);
    const payload = random.bytes(random.pick([0, 1, 2, 3, 125, 126, 200]));
    if (random.oneIn(2) && payload.length > 0) payload[0] = random.pick([0, 1, 2, 3, 4, 7, 255, 0x30]);
    if (opcode === 8 && payload.length > 1) payload.set([3, 0xe8 + random.below(16)]);
    return encodeFrame(opcode, payload.subarray(0, opcode >= 8 ? 125 : 200), {
      fin: opcode >= 8 || !random.oneIn(3),
      ...(isMasked && { key: KEY }),
    });
  }));
}

function decoderTarget(role: "server" | "client"): Target {
  const isMasked = role === "server";
  return {
    name: `websocket-${role}`,
    promise: `however cut a ${role} reads the same messages and the same fault, and holds a header at most`,
    seeds: [
      "",
      encodeFrame(2, new TextEncoder().encode("\0hello"), isMasked ? { key: KEY } : {}),
      Uint8Array.fromHex("88821122334412ca"),
      Uint8Array.fromHex("82ff0000000000010000"),
      Uint8Array.fromHex("827e007e"),
    ],
    words: [
      Uint8Array.fromHex("828011223344"),
      Uint8Array.fromHex("008011223344"),
      Uint8Array.fromHex("8280"),
      Uint8Array.fromHex("0200"),
    ],
    generate: (random) => webSocketFrames(random, isMasked),
    check: (input) => void sameHoweverCut(input, (chunks) => read(role, chunks)),
  };
}

const KEY_LINE = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
const REQUEST = `Connection: Upgrade\nUpgrade: websocket\n${KEY_LINE}\nSec-WebSocket-Version: 13\n` +
  "Sec-WebSocket-Protocol: v5.channel.k8s.io, v4.channel.k8s.io";
const RESPONSE =
  "Connection: Upgrade\nUpgrade: websocket\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\n" +
  "Sec-WebSocket-Protocol: v5.channel.k8s.io";

export const WEBSOCKET_TARGETS: readonly Target[] = [
  decoderTarget("server"),
  decoderTarget("client"),
  {
    name: "websocket-handshake",
    promise:
      "a request is refused with Go's words or accepted for its one key; an answer must be to what was asked",
    seeds: [REQUEST, RESPONSE],
    words: [
      ...REQUEST.split("\n"),
      ...RESPONSE.split("\n"),
      "Sec-WebSocket-Extensions: permessage-deflate",
      ", ",
    ],
    check(input) {
      const lines = headerLinesOf(textOf(input));
      const asked = readUpgradeRequest("GET", lines);
      if (asked.ok) {
        assert.ok(isUpgradeRequest(lines));
        assert.match(asked.accept, /^[A-Za-z0-9+/]{27}=$/);
        assert.equal(lines.filter(([name]) => name.toLowerCase() === "sec-websocket-key").length, 1);
      } else assert.equal(asked.status, 400);
      const sent = { key: "dGhlIHNhbXBsZSBub25jZQ==", protocols: ["v5.channel.k8s.io", "v4.channel.k8s.io"] };
      const chosen = orRefuses(() => readUpgradeResponse(101, lines, sent), ProtocolError);
      if (chosen !== undefined) assert.ok(sent.protocols.includes(chosen));
      assert.ok(readUpgradeRequest("GET", upgradeRequestHeaders(sent.key, sent.protocols)).ok);
    },
  },
];
