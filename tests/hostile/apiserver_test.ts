/** An API server that means no good, or what stands in its place: what becomes of sessions by WebSocket there, and of the others. */

import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { randomBytes } from "node:crypto";
import type { AuditEvent } from "../../audit/event.ts";
import { encodeClose, encodeFrame, FrameDecoder, OPCODE } from "../../protocol/websocket/mod.ts";
import { type WebSocketClient } from "../support/websocket_client.ts";
import {
  type Attack,
  HostileApiServer,
  type HostileExchange,
  switching,
} from "./support/hostile_api_server.ts";
import { ALICE, HostileScene, requestText, SPDY } from "./support/hostile_scene.ts";
import { FLOOD_BYTES, MAX_GROWTH_BYTES, SessionScene } from "./support/session_scene.ts";

const hex = (text: string) => Buffer.from(text.replaceAll(" ", ""), "hex");
const frame = (opcode: Parameters<typeof encodeFrame>[0], payload: Uint8Array, fin = true) =>
  encodeFrame(opcode, payload, { fin });
const binary = (...bytes: number[]) => frame(OPCODE.BINARY, Uint8Array.from(bytes));
const SUCCESS = frame(OPCODE.BINARY, Buffer.from('\x03{"metadata":{},"status":"Success"}'));

/** Sends this in place of an answer, and waits. */
const answering = (text: string): Attack => async ({ send, gone }) => {
  await send(text);
  await gone();
};

/** Switches with other headers, and waits. */
const switchingWith = (changed: Record<string, string>): Attack => async (exchange) => {
  await exchange.send(switching(exchange, changed));
  await exchange.gone();
};

/** The same, to SPDY. */
function switchingToSpdyWith(changed: Record<string, string>): Attack {
  return async ({ send, gone }) => {
    const lines = {
      Connection: "Upgrade",
      Upgrade: "SPDY/3.1",
      "X-Stream-Protocol-Version": "v4.channel.k8s.io",
      ...changed,
    };
    const present = Object.entries(lines).filter(([, value]) => value !== "");
    const text = present.map(([name, value]) => `${name}: ${value}\r\n`).join("");
    await send(`HTTP/1.1 101 Switching Protocols\r\n${text}\r\n`);
    await gone();
  };
}

/** Sends a piece for as long as it is taken, so many times. */
const endless = (start: string, piece: string): Attack => async ({ send }) => {
  await send(start);
  for (let sent = 0; sent < 64 << 20; sent += piece.length) await send(piece);
};

const MALFORMED = /response header cannot be read/;

/** An answer that opens nothing: why, as the client is told it after "the answer to the upgrade". */
interface BadAnswer {
  attack: string;
  run: Attack;
  why: RegExp;
  /** It lasts for as long as an answer is waited for: tried over one wire. */
  isSlow?: boolean;
}

/** Switches to something else than was asked for. */
const SWITCHES: readonly BadAnswer[] = [
  {
    attack: "a wrong Sec-WebSocket-Accept",
    run: switchingWith({ "Sec-WebSocket-Accept": "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" }),
    why: /Sec-WebSocket-Accept does not match/,
  },
  {
    attack: "no Sec-WebSocket-Accept",
    run: switchingWith({ "Sec-WebSocket-Accept": "" }),
    why: /Sec-WebSocket-Accept does not match/,
  },
  {
    attack: "another subprotocol",
    run: switchingWith({ "Sec-WebSocket-Protocol": "v3.channel.k8s.io" }),
    why: /subprotocol that was not offered/,
  },
  {
    attack: "no subprotocol",
    run: switchingWith({ "Sec-WebSocket-Protocol": "" }),
    why: /subprotocol that was not offered/,
  },
  {
    attack: "two subprotocols",
    run: switchingWith({
      "Sec-WebSocket-Protocol": "v5.channel.k8s.io\r\nSec-WebSocket-Protocol: v4.channel.k8s.io",
    }),
    why: /subprotocol that was not offered/,
  },
  {
    attack: "an extension",
    run: switchingWith({ "Sec-WebSocket-Extensions": "permessage-deflate" }),
    why: /extension/,
  },
  { attack: "a switch to SPDY", run: switchingWith({ Upgrade: "SPDY/3.1" }), why: /without websocket/ },
  { attack: "a switch to HTTP/2", run: switchingWith({ Upgrade: "h2c" }), why: /without websocket/ },
  { attack: "a switch without Connection", run: switchingWith({ Connection: "" }), why: /without websocket/ },
];

/** The same of SPDY, which kubelets are asked for in the same way. */
const SPDY_SWITCHES: readonly BadAnswer[] = [
  {
    attack: "a switch to WebSocket",
    run: switchingToSpdyWith({ Upgrade: "websocket" }),
    why: /to another protocol/,
  },
  {
    attack: "a switch without Connection",
    run: switchingToSpdyWith({ Connection: "" }),
    why: /to another protocol/,
  },
  {
    attack: "a stream protocol that was not offered",
    run: switchingToSpdyWith({ "X-Stream-Protocol-Version": "v1.channel.k8s.io" }),
    why: /protocol that was not offered/,
  },
  {
    attack: "no stream protocol",
    run: switchingToSpdyWith({ "X-Stream-Protocol-Version": "" }),
    why: /protocol that was not offered/,
  },
  {
    attack: "two stream protocols",
    run: switchingToSpdyWith({
      "X-Stream-Protocol-Version": "v4.channel.k8s.io\r\nX-Stream-Protocol-Version: v3.channel.k8s.io",
    }),
    why: /protocol that was not offered/,
  },
];

/** Answers that none should give, whatever was asked for. */
const ANSWERS: readonly BadAnswer[] = [
  {
    attack: "headers without an end",
    run: endless("HTTP/1.1 101 Switching Protocols\r\n", `A: ${"a".repeat(16_000)}\r\n`),
    why: /response head exceeds 65536 bytes/,
  },
  {
    attack: "a header line without an end",
    run: endless("HTTP/1.1 101 Switching Protocols\r\nA: ", "a".repeat(16_000)),
    why: /response head exceeds 65536 bytes/,
  },
  {
    attack: "headers of a byte each now and then",
    run: async ({ send }) => {
      for (;;) {
        await send("A");
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
    },
    why: /timed out/,
    isSlow: true,
  },
  { attack: "no answer", run: ({ gone }) => gone(), why: /timed out/, isSlow: true },
  { attack: "an end without a word", run: () => Promise.resolve(), why: /connection (closed|lost)/ },
  {
    attack: "bare line feeds",
    run: answering("HTTP/1.1 101 X\nUpgrade: websocket\n\n\r\n\r\n"),
    why: /status line/,
  },
  { attack: "a folded header", run: answering("HTTP/1.1 101 X\r\nA: b\r\n c\r\n\r\n"), why: MALFORMED },
  { attack: "NUL in a header", run: answering("HTTP/1.1 101 X\r\nA: b\0c\r\n\r\n"), why: MALFORMED },
  { attack: "HTTP/1.0", run: answering("HTTP/1.0 101 X\r\n\r\n"), why: /status line/ },
  { attack: "frames of HTTP/2", run: answering("\0\0\0\x04\0\0\0\0\0\r\n\r\n"), why: /status line/ },
  {
    attack: "404 with a chunk of 4 GB",
    run: endless("HTTP/1.1 404 X\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\n", "a".repeat(16_000)),
    why: /chunk/,
  },
  { attack: "status 99", run: answering("HTTP/1.1 099 X\r\n\r\n"), why: /status line/ },
];

/** Answers that are none, as what they say of themselves goes on to the client. */
const REFUSALS: readonly (Omit<BadAnswer, "why"> & { code: number; message: RegExp })[] = [
  {
    attack: "100 Continue without an end",
    run: endless("", "HTTP/1.1 100 Continue\r\n\r\n".repeat(1000)),
    code: 500,
    message: /invalid upgrade response: status code 100$/,
  },
  {
    attack: "103 Early Hints and silence",
    run: answering("HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n"),
    code: 500,
    message: /invalid upgrade response: status code 103$/,
    isSlow: true,
  },
  {
    attack: "200 with a body without an end",
    run: endless("HTTP/1.1 200 OK\r\n\r\n", "a".repeat(16_000)),
    code: 500,
    message: /invalid upgrade response: status code 200$/,
  },
  {
    attack: "a redirect to another host",
    run: answering("HTTP/1.1 307 X\r\nLocation: https://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"),
    code: 500,
    message: /invalid upgrade response: status code 307$/,
  },
  {
    attack: "404 with a body without an end",
    run: endless("HTTP/1.1 404 X\r\n\r\n", "a".repeat(16_000)),
    code: 404,
    message: /^a{4000}/,
  },
  {
    attack: "404 in chunks without an end",
    run: endless("HTTP/1.1 404 X\r\nTransfer-Encoding: chunked\r\n\r\n", "1\r\na\r\n".repeat(1000)),
    code: 404,
    message: /^a{4000}/,
  },
  {
    attack: "404 with a length that is none",
    run: answering("HTTP/1.1 404 X\r\nContent-Length: -1\r\n\r\n"),
    code: 404,
    message: /^the upstream answered 404$/,
  },
  {
    attack: "404 with a body that stops coming",
    run: answering("HTTP/1.1 404 X\r\nContent-Length: 100\r\n\r\nhalf of i"),
    code: 404,
    message: /^half of i$/,
    isSlow: true,
  },
  {
    attack: "404 whose words are for a terminal",
    run: answering("HTTP/1.1 404 X\r\nContent-Length: 12\r\n\r\n\x1b]0;gotcha\x07x"),
    code: 404,
    message: /^\\u001b\]0;gotcha\\u0007x$/,
  },
];

/** What breaks the protocol of a session that is open. */
const FATAL: readonly { attack: string; bytes: Uint8Array; code: string }[] = [
  { attack: "a frame that is masked", bytes: hex("828200000000 0141"), code: "mask_unexpected" },
  { attack: "a reserved bit", bytes: hex("c202 0141"), code: "reserved_bits" },
  { attack: "a reserved opcode", bytes: hex("8302 0141"), code: "opcode_unknown" },
  { attack: "a frame of 32 MiB and a byte", bytes: hex("827f0000000002000001"), code: "frame_too_large" },
  { attack: "a frame of 2⁶³ bytes", bytes: hex("827f8000000000000000"), code: "length_invalid" },
  { attack: "a length that is longer than need be", bytes: hex("827e0005"), code: "length_not_minimal" },
  { attack: "a ping of 126 bytes", bytes: hex("897e007e"), code: "control_too_large" },
  { attack: "a ping in fragments", bytes: hex("0900"), code: "control_fragmented" },
  { attack: "a continuation of nothing", bytes: hex("800141"), code: "continuation_unexpected" },
  {
    attack: "a message in the middle of another",
    bytes: Buffer.concat([frame(OPCODE.BINARY, Uint8Array.of(1, 65), false), binary(1, 66)]),
    code: "continuation_missing",
  },
  { attack: "a Close of one byte", bytes: hex("880103"), code: "close_payload_invalid" },
  { attack: "a Close of code 1005", bytes: hex("880203ed"), code: "close_code_invalid" },
  { attack: "a Close whose reason is no UTF-8", bytes: hex("880303e8ff"), code: "close_reason_invalid" },
];

/** Ends that are none of the command's: its client must be told a failure. */
const LOSSES: readonly { attack: string; bytes: Uint8Array }[] = [
  { attack: "a Close before any status", bytes: encodeClose(1000, "") },
  {
    attack: "a Close with code 1011 behind a status of success",
    bytes: Buffer.concat([SUCCESS, encodeClose(1011, "")]),
  },
  { attack: "an end without Close behind a status of success", bytes: SUCCESS },
  {
    attack: "a status that is a megabyte long",
    bytes: Buffer.concat([
      frame(OPCODE.BINARY, Buffer.concat([Uint8Array.of(3), Buffer.alloc(1 << 20, " ")])),
      SUCCESS,
      encodeClose(1000, ""),
    ]),
  },
];

/** What says nothing: it is dropped, and the session goes on. */
const HARMLESS: readonly { attack: string; bytes: Uint8Array }[] = [
  {
    attack: "channels that are none",
    bytes: Buffer.concat([5, 9, 100, 254].map((channel) => binary(channel, 65))),
  },
  { attack: "channels that are the client's", bytes: Buffer.concat([binary(0, 65), binary(4, 65)]) },
  { attack: "ends of channels", bytes: Buffer.concat([binary(255, 0), binary(255, 1), binary(255)]) },
  {
    attack: "empty messages",
    bytes: Buffer.concat([frame(OPCODE.BINARY, Buffer.of()), frame(OPCODE.TEXT, Buffer.of())]),
  },
  {
    attack: "pongs that nobody asked for",
    bytes: Buffer.concat([
      frame(OPCODE.PONG, Buffer.of()),
      frame(OPCODE.PONG, hex("00000002")),
      frame(OPCODE.PONG, hex("ffffffff")),
      frame(OPCODE.PONG, randomBytes(125)),
    ]),
  },
  {
    attack: "a ping between the fragments of a message on no channel",
    bytes: Buffer.concat([
      frame(OPCODE.BINARY, Uint8Array.of(7), false),
      frame(OPCODE.PING, Buffer.from("p")),
      frame(OPCODE.CONTINUATION, Uint8Array.of(65)),
    ]),
  },
];

const FLOODS: readonly { kind: string; first?: Uint8Array; piece: Uint8Array }[] = [
  { kind: "pings", piece: frame(OPCODE.PING, randomBytes(125)) },
  { kind: "pongs that look like answers", piece: frame(OPCODE.PONG, hex("00000002")) },
  { kind: "empty messages", piece: frame(OPCODE.BINARY, Buffer.of()) },
  {
    kind: "empty fragments",
    first: frame(OPCODE.BINARY, Uint8Array.of(1, 65), false),
    piece: frame(OPCODE.CONTINUATION, Buffer.of(), false),
  },
  { kind: "messages of a byte on no channel", piece: binary(9, 65) },
  {
    kind: "output that nobody reads",
    piece: frame(OPCODE.BINARY, Buffer.concat([Uint8Array.of(1), randomBytes(8000)])),
  },
  { kind: "status", piece: frame(OPCODE.BINARY, Buffer.concat([Uint8Array.of(3), Buffer.alloc(8000, " ")])) },
];

Deno.test("a hostile API server", { sanitizeOps: true, sanitizeResources: true }, async (t) => {
  await using apiServer = await HostileApiServer.start();
  apiServer.expect("good", cat);
  await using scene = await SessionScene.start({
    before: (url) => apiServer.before(url),
    upstream: { mode: "apiserver", apiserver: { transport: "websocket", dialTimeoutSeconds: 1 } },
  });
  const { hostile } = scene;
  let pods = 0;
  const pod = (attack: Attack) => {
    const name = `attacked-${pods++}`;
    apiServer.expect(name, attack);
    return name;
  };

  await answers(t, hostile, pod, [...SWITCHES, ...ANSWERS]);
  await refusals(t, hostile, pod);
  await t.step("a good session beside these goes on", () => scene.goodGoesOn());

  for (const { attack, bytes, code } of FATAL) {
    await t.step(`${attack} ends the session, and its client is told`, async () => {
      const name = pod(saying(bytes));
      const { status } = await ended(await scene.openWebSocket(name));
      const sentence = await scene.endOf(name);
      assert.match(sentence, new RegExp(`^protocol_error upstream: .*\\(${code}\\)$`));
      assert.equal(status.status, "Failure");
      assert.ok(status.message.includes(sentence.slice(sentence.indexOf(": ") + 2)), status.message);
    });
  }

  for (const { attack, bytes } of LOSSES) {
    await t.step(`${attack} is no success`, async () => {
      const name = pod(async (exchange) => {
        await exchange.send(switching(exchange));
        await exchange.send(bytes);
      });
      const { status } = await ended(await scene.openWebSocket(name));
      assert.equal(status.status, "Failure");
      assert.match(
        await scene.endOf(name),
        /^(upstream_vanished upstream|command_ended upstream: error stream protocol error: )/,
      );
    });
  }

  for (const { attack, bytes } of HARMLESS) {
    await t.step(`${attack}: dropped, and the session goes on`, async () => {
      const rest = [frame(OPCODE.BINARY, Buffer.from("\x01goes on")), SUCCESS, encodeClose(1000, "")];
      const name = pod(saying(Buffer.concat([bytes, ...rest])));
      const { status, stdout } = await ended(await scene.openWebSocket(name));
      assert.deepEqual([status.status, stdout], ["Success", "goes on"]);
      assert.match(await scene.endOf(name), /^command_ended upstream/);
    });
  }

  await t.step(
    "output that is glued to the 101, a 101 with a length too, is the session's first",
    async () => {
      const name = pod(async (exchange) => {
        const head = switching(exchange, { "Content-Length": "5" });
        const output = [frame(OPCODE.BINARY, Buffer.from("\x01glued")), SUCCESS, encodeClose(1000, "")];
        await exchange.send(Buffer.concat([Buffer.from(head), ...output]));
        await exchange.gone();
      });
      const { status, stdout } = await ended(await scene.openWebSocket(name));
      assert.deepEqual([status.status, stdout], ["Success", "glued"]);
    },
  );

  for (const { kind, first, piece } of FLOODS) {
    await t.step(`a flood of ${kind} costs no memory and nobody else`, async () => {
      const before = await scene.residentBytes();
      const flooded = Promise.withResolvers<number>();
      const name = pod(async (exchange) => {
        await exchange.send(switching(exchange));
        if (first) await exchange.send(first);
        flooded.resolve(await flood(exchange, piece));
        await exchange.gone();
      });
      const client = await scene.openWebSocket(name);
      await scene.goodGoesOn();
      assert.ok(await flooded.promise > 0);
      const growth = await scene.residentBytes() - before;
      client.close();
      if (Deno.env.has("POSTERN_FLOOD_MB")) {
        await Deno.stderr.write(Buffer.from(`API server's ${kind}: ${growth >> 20} MB\n`));
      }
      assert.ok(growth < MAX_GROWTH_BYTES, `${growth} bytes more`);
      assert.match(await scene.endOf(name), /^(client_vanished client|protocol_error upstream)/);
    });
  }

  await t.step("a good session beside all of them goes on", () => scene.goodGoesOn());
});

Deno.test("hostile answers to SPDY, as a kubelet may give them too", {
  sanitizeOps: true,
  sanitizeResources: true,
}, async (t) => {
  await using apiServer = await HostileApiServer.start();
  await using hostile = await HostileScene.start({
    before: (url) => apiServer.before(url),
    upstream: { mode: "apiserver", apiserver: { transport: "spdy", dialTimeoutSeconds: 1 } },
  });
  let pods = 0;
  const pod = (attack: Attack) => {
    const name = `attacked-${pods++}`;
    apiServer.expect(name, attack);
    return name;
  };
  await answers(t, hostile, pod, [...SPDY_SWITCHES, ...ANSWERS].filter(({ isSlow }) => !isSlow));
  await refusals(t, hostile, pod, REFUSALS.filter(({ isSlow }) => !isSlow));
});

/** Each opens nothing, and the client is told why. */
async function answers(
  t: Deno.TestContext,
  hostile: HostileScene,
  pod: (attack: Attack) => string,
  bad: readonly BadAnswer[],
): Promise<void> {
  for (const { attack, run, why } of bad) {
    await t.step(`${attack}: nothing is opened, and the client is told why`, async () => {
      const { code, told, event } = await refused(hostile, pod(run));
      assert.equal(code, 500, told);
      const { message } = JSON.parse(told);
      assert.match(message, /^error dialing backend: the answer to the upgrade: /);
      assert.match(message, why);
      assert.equal(event.responseStatus?.message, message);
    });
  }
}

/** Each is told to the client. */
async function refusals(
  t: Deno.TestContext,
  hostile: HostileScene,
  pod: (attack: Attack) => string,
  rows = REFUSALS,
): Promise<void> {
  for (const { attack, run, code, message } of rows) {
    await t.step(`${attack}: the client is told ${code}`, async () => {
      const { code: answered, told, event } = await refused(hostile, pod(run));
      assert.equal(answered, code);
      assert.match(event.responseStatus?.message ?? "", message);
      assert.equal(event.responseStatus?.code, code);
      assert.doesNotMatch(told.replaceAll("\n", ""), /\p{Cc}/u, "what a terminal must not be shown");
    });
  }
}

/** Asks for a session that does not open. */
async function refused(
  hostile: HostileScene,
  name: string,
): Promise<{ code: number; told: string; event: AuditEvent }> {
  const target = `/api/v1/namespaces/default/pods/${name}/exec?command=cat&stdin=1&stdout=1&container=main`;
  const { code, body } = await hostile.exchange(requestText(`POST ${target}`, [...ALICE, ...SPDY]));
  const event = await hostile.eventOf(({ objectRef, annotations }) =>
    objectRef?.name === name && annotations["postern.dev/event"] === "refusal"
  );
  assert.equal(event.user.username, "alice");
  return { code, told: body, event };
}

/** What the client was told to the end. */
async function ended(
  client: WebSocketClient,
): Promise<{ status: { status: string; message: string }; stdout: string }> {
  const { channels } = await client.receiveAll();
  client.close();
  const text = (channel: number) => Buffer.from(channels.get(channel) ?? []).toString();
  return { status: JSON.parse(text(3)), stdout: text(1) };
}

/** Switches as it should, then says something, and waits. */
function saying(bytes: Uint8Array): Attack {
  return async (exchange) => {
    await exchange.send(switching(exchange));
    await exchange.send(bytes);
    await exchange.gone();
  };
}

/** Runs `cat`. */
async function cat(exchange: HostileExchange): Promise<void> {
  await exchange.send(switching(exchange));
  const decoder = new FrameDecoder({ role: "server" });
  const buffer = new Uint8Array(16_384);
  for (let count = await exchange.connection.read(buffer); count !== null;) {
    for (const event of decoder.push(buffer.slice(0, count))) {
      if (event.type === "data" && event.bytes[0] === 0) {
        await exchange.send(frame(OPCODE.BINARY, Buffer.concat([Uint8Array.of(1), event.bytes.subarray(1)])));
      }
    }
    count = await exchange.connection.read(buffer);
  }
}

/** Sends pieces until a flood is over, or no more is taken. @returns bytes */
async function flood({ send }: HostileExchange, piece: Uint8Array): Promise<number> {
  const chunk = Buffer.concat(
    Array.from({ length: Math.max(1, Math.floor(65_536 / piece.length)) }, () => piece),
  );
  let sent = 0;
  for (let isStuck = false; sent < FLOOD_BYTES && !isStuck; sent += chunk.length) {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const stuck = new Promise<true>((resolve) => timer = setTimeout(() => resolve(true), 500));
    isStuck = await Promise.race([send(chunk).then(() => false, () => true), stuck]);
    clearTimeout(timer);
  }
  return sent;
}
