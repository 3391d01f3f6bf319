/** Edge cases of WebSocket framing: E-73 to E-93, and what clients depend on there. */

import { Buffer } from "node:buffer";
import { OPCODE } from "../../../protocol/websocket/mod.ts";
import { frameOf } from "../clients/websocket_session.ts";
import { podTarget, webSocketUpgrade } from "../clients/request.ts";
import { WebSocketSession } from "../clients/websocket_session.ts";
import type { Case } from "./case.ts";
import { execTarget, overWebSocket, V4, V5 } from "./sessions.ts";

/** Reads a line, and says what it was. */
const LINE = 'echo ready; read -r line; echo "got $line"';
const CHANNELS = "channel.k8s.io";
const BASE64 = "base64.channel.k8s.io";

const first = [
  { flags: ["stdout", "stderr"], want: /^01$/ },
  { flags: ["stderr"], want: /^02$/ },
  { flags: ["stdin"], want: /^03$/ },
];

/** Messages that are no stdin, each before the line that is. */
const ignored: readonly {
  number: Case["number"];
  what: string;
  protocol: string;
  bytes: readonly number[];
}[] = [
  { number: "E-77", what: "[255,0] on v4", protocol: V4, bytes: [255, 0] },
  { number: "E-80", what: "an unknown channel", protocol: V5, bytes: [7, 1] },
  { number: "E-80a", what: "an empty message", protocol: V5, bytes: [] },
  { number: "E-80b", what: "an unknown channel on v4", protocol: V4, bytes: [7, 1] },
  { number: "E-80c", what: "a message on stdout", protocol: V4, bytes: [1, 65] },
];

const fatal: readonly { what: string; bytes: readonly number[] }[] = [
  { what: "[255]", bytes: [255] },
  { what: "[255,0,0]", bytes: [255, 0, 0] },
  { what: "[255,9]", bytes: [255, 9] },
];

const nameOf = (protocol: string) => `WebSocket ${protocol.replace(/\.?channel\.k8s\.io$/, "") || "v1"}`;

export const WEBSOCKET_CASES: readonly Case[] = [
  ...first.flatMap(({ flags, want }) =>
    [V4, V5].map((protocol): Case => ({
      number: "E-73",
      command: `exec: the first message of ${flags.join(" and ")}`,
      protocol: nameOf(protocol),
      given: `a request for ${flags.join(" and ")}`,
      when: "the WebSocket stands",
      then: "an empty message opens it",
      play: (at) => overWebSocket(at, "sleep 0.2", { flags, protocols: [protocol] }),
      directly: { "first message": want },
    }))
  ),
  ...["echo out; exit 3", "true"].flatMap((script) =>
    [BASE64, "v4.base64.channel.k8s.io", CHANNELS].map((protocol): Case => ({
      command: `exec: ${script}`,
      protocol: nameOf(protocol),
      given: "an older protocol",
      when: `\`${script}\` runs`,
      then: "output and end in its own form",
      play: (at) => overWebSocket(at, script, { protocols: [protocol] }),
      directly: { end: /^Close 1000$/ },
    }))
  ),
  {
    number: "E-74",
    command: "exec: Base64",
    protocol: nameOf(BASE64),
    given: "channels in Base64",
    when: "stdin comes, first without its padding, then with",
    then: "the first is dropped",
    play: (at) =>
      overWebSocket(at, LINE, { protocols: [BASE64] }, async (session) => {
        await session.shows(1, "ready");
        await session.frame(OPCODE.TEXT, "0Zm9vCg");
        await session.frame(OPCODE.TEXT, "0YmFyCg==");
      }),
    directly: { "channel 1": /got bar/, messages: /^text$/ },
  },
  {
    number: "E-75",
    command: "exec: no subprotocol",
    protocol: "WebSocket",
    given: "a client that offers no subprotocol",
    when: "a command ends with 3",
    then: "101 with an empty line, and the errors of v1",
    play: (at) => overWebSocket(at, "echo out; exit 3", { protocols: [] }),
    directly: { answer: /^101 [^]*sec-websocket-protocol: ?$/m, "channel 1": /out/ },
  },
  {
    number: "E-76",
    command: "exec: [255,0]",
    protocol: "WebSocket v5",
    given: "a command that reads to the end",
    when: "[255,0] comes",
    then: "its stdin ends; output and status still come",
    play: (at) =>
      overWebSocket(at, "cat; sleep 0.3; echo after; exit 3", { protocols: [V5] }, async (session) => {
        await session.channel(0, "in\n");
        await session.message(255, 0);
      }),
    directly: { "channel 1": /in\nafter\n/, "channel 3": /"message":"3"/ },
  },
  ...ignored.map(({ number, what, protocol, bytes }): Case => ({
    ...(number && { number }),
    command: `exec: ${what}`,
    protocol: nameOf(protocol),
    given: "a command that reads a line",
    when: `${what} comes first`,
    then: "it is ignored",
    play: (at) =>
      overWebSocket(at, LINE, { protocols: [protocol] }, async (session) => {
        await session.shows(1, "ready");
        await session.message(...bytes);
        await session.channel(0, "typed\n");
      }),
    directly: { "channel 1": /got typed/ },
  })),
  ...fatal.map(({ what, bytes }): Case => ({
    number: "E-78",
    command: `exec: ${what}`,
    protocol: "WebSocket v5",
    given: "a command that reads a line",
    when: `${what} comes`,
    then: "the server closes with 1000",
    play: (at) =>
      overWebSocket(at, LINE, { protocols: [V5] }, async (session) => {
        await session.shows(1, "ready");
        await session.message(...bytes);
      }),
    directly: { end: /^Close 1000$/ },
  })),
  {
    number: "E-79",
    command: "exec: stdin after [255,0]",
    protocol: "WebSocket v5",
    given: "a stdin that was ended",
    when: "more comes",
    then: "it is dropped, and the session goes on",
    play: (at) =>
      overWebSocket(at, "cat; sleep 0.5; echo end", { protocols: [V5] }, async (session) => {
        await session.channel(0, "first\n");
        await session.message(255, 0);
        await session.channel(0, "second\n");
      }),
    directly: { "channel 1": /^first\nend\n$/ },
  },
  {
    number: "E-81",
    command: "exec: stdin that was not asked for",
    protocol: "WebSocket v4",
    given: "a request without stdin",
    when: "a message on channel 0 comes",
    then: "it is ignored",
    play: (at) =>
      overWebSocket(at, "echo ready; sleep 0.5; wc -c", { flags: ["stdout"] }, async (session) => {
        await session.shows(1, "ready");
        await session.channel(0, "A");
      }),
    directly: { "channel 1": /^ready\n0\n$/ },
  },
  {
    number: "E-82",
    command: "exec: stdin as text",
    protocol: "WebSocket v4",
    given: "the Python client, which sends text",
    when: "a text message comes",
    then: "it is stdin",
    play: (at) =>
      overWebSocket(at, LINE, {}, async (session) => {
        await session.shows(1, "ready");
        await session.frame(OPCODE.TEXT, "\x00ls\n");
      }),
    directly: { "channel 1": /got ls/ },
  },
  {
    number: "E-83",
    command: "exec: a message in fragments",
    protocol: "WebSocket v4",
    given: "Go's WebSocket server, which takes each frame for a message",
    when: "stdin comes in two fragments",
    then: "the second one's first byte is taken for a channel",
    play: (at) =>
      overWebSocket(at, LINE, {}, async (session) => {
        await session.shows(1, "ready");
        await session.frame(OPCODE.BINARY, "\x00one", { fin: false });
        await session.frame(OPCODE.CONTINUATION, "\x01two\n");
        await session.channel(0, "\n");
      }),
    directly: { "channel 1": /got one\n/ },
  },
  {
    number: "E-84",
    command: "exec: a frame of 32 MiB and one byte",
    protocol: "WebSocket v4",
    given: "a limit of 32 MiB for a frame",
    when: "one byte more is announced",
    then: "the server closes",
    play: (at) =>
      overWebSocket(at, LINE, {}, async (session) => {
        await session.shows(1, "ready");
        const head = Buffer.from("82ff000000000200000100000000", "hex");
        await session.wire.send(head);
        await session.wire.send(new Uint8Array(65_536));
      }),
    directly: { end: /^Close|^closed/ },
  },
  {
    number: "E-85",
    command: "exec: a frame that is not masked",
    protocol: "WebSocket v4",
    given: "clients, which mask",
    when: "a frame is not masked",
    then: "the server closes",
    play: (at) =>
      overWebSocket(at, LINE, {}, async (session) => {
        await session.shows(1, "ready");
        await session.wire.send(Buffer.from("8202000a", "hex"));
      }),
    directly: { end: /^Close 100[02]$/ },
  },
  {
    number: "E-86",
    command: "exec: a ping",
    protocol: "WebSocket v5",
    given: "a session",
    when: "a ping with `x` comes",
    then: "a pong with `x` comes back",
    play: (at) =>
      overWebSocket(at, LINE, { protocols: [V5] }, async (session) => {
        await session.shows(1, "ready");
        await session.frame(OPCODE.PING, "x");
        await session.until(() => session.pongs.length > 0);
        await session.channel(0, "typed\n");
      }),
    directly: { pongs: /^x$/, "channel 1": /got typed/ },
  },
  {
    number: "E-86a",
    command: "exec: a ping behind a stdin that nobody reads",
    protocol: "WebSocket v4",
    given: "a command that does not read, and 48 MiB for it",
    when: "a ping comes behind them",
    then: "no pong comes: nothing is read any more",
    play: async (at) => {
      const target = execTarget("echo started; sleep 4", {});
      using session = await WebSocketSession.open(at, { target, headers: webSocketUpgrade(V4) });
      await session.shows(1, "started");
      const message = frameOf(OPCODE.BINARY, new Uint8Array(32_769));
      const sending = (async () => {
        for (let sent = 0; sent < 1536; sent++) await session.wire.send(message);
        await session.frame(OPCODE.PING, "x");
      })();
      await session.until(() => session.pongs.length > 0, 1_500);
      const pongs = session.pongs.join(" ") || "none";
      session.close();
      await sending;
      return { pongs };
    },
    directly: { pongs: /^none$/ },
  },
  {
    number: "E-91",
    command: "exec: Close while output is pending",
    protocol: "WebSocket v4",
    given: "a command that writes without end",
    when: "the client says Close",
    then: "the server answers with 1000",
    play: (at) =>
      overWebSocket(at, "while :; do echo x; sleep 0.01; done", {}, async (session) => {
        await session.shows(1, "x\nx\n");
        await session.sendClose();
      }).then(({ end }) => ({ end: end! })),
    directly: { end: /^Close 1000/ },
  },
  {
    number: "E-92",
    command: "exec: v4, then v5",
    protocol: "WebSocket",
    given: "a client that knows both",
    when: "it offers v4 before v5",
    then: "v5 is chosen: the API server serves it itself",
    play: (at) => overWebSocket(at, "exit 3", { protocols: [V4, V5] }),
    directly: { answer: /sec-websocket-protocol: v5\.channel\.k8s\.io/ },
  },
  ...[V5, V4].map((protocol): Case => ({
    number: "E-96",
    command: "exec: exit 3",
    protocol: nameOf(protocol),
    given: "a command",
    when: "it ends with 3",
    then: protocol === V5 ? "the API server's words" : "the runtime's words",
    play: (at) => overWebSocket(at, "exit 3", { protocols: [protocol] }),
    directly: { "channel 3": /"message":"3"/ },
  })),
  ...["a pod that is not there", "an unknown container"].flatMap((what) =>
    [V4, V5].map((protocol): Case => ({
      command: `exec of ${what}`,
      protocol: nameOf(protocol),
      given: "a request that cannot be met",
      when: `it is about ${what}`,
      then: "an HTTP answer, and no WebSocket",
      play: async (at) => {
        const [pod, container] = what === "an unknown container"
          ? ["shell", "nosuch"]
          : ["nosuch", undefined];
        const target = podTarget(pod, "exec", { command: "true", stdout: "1", container });
        using session = await WebSocketSession.open(at, { target, headers: webSocketUpgrade(protocol) });
        return await session.seen();
      },
      directly: { answer: /^40[04] / },
    }))
  ),
  ...[
    { what: "a reserved bit", hex: "c28100000000 00" },
    { what: "an unknown opcode", hex: "838100000000 00" },
    { what: "a ping of 126 bytes", hex: `89fe007e00000000${"00".repeat(126)}` },
    { what: "a ping in fragments", hex: "098000000000" },
  ].map(({ what, hex }): Case => ({
    command: `exec: ${what}`,
    protocol: "WebSocket v4",
    given: "a command that reads a line",
    when: `a frame has ${what}`,
    then: "what Go's WebSocket server makes of it",
    play: (at) =>
      overWebSocket(at, LINE, {}, async (session) => {
        await session.shows(1, "ready");
        await session.wire.send(Buffer.from(hex.replaceAll(" ", ""), "hex"));
        await session.channel(0, "typed\n");
      }),
  })),
  {
    command: "exec: one byte at a time",
    protocol: "WebSocket v5",
    given: "a command that reads a line",
    when: "each byte of each frame comes by itself",
    then: "nothing is different",
    play: (at) =>
      overWebSocket(at, "cat", { protocols: [V5] }, async (session) => {
        await session.wire.sendSplit(session.channelFrame(0, "hello\n"));
        await session.wire.sendSplit(frameOf(OPCODE.BINARY, Buffer.from([255, 0])));
      }),
    directly: { "channel 1": /^hello\n$/ },
  },
  {
    command: "exec: all in one write",
    protocol: "WebSocket v5",
    given: "a command that reads to the end",
    when: "stdin, a ping and the end of stdin come in one write",
    then: "nothing is different",
    play: (at) =>
      overWebSocket(at, "cat", { protocols: [V5] }, async (session) => {
        const frames = [session.channelFrame(0, "one\n"), session.channelFrame(0, "two\n")];
        const ping = frameOf(OPCODE.PING, "p");
        await session.wire.send(
          Buffer.concat([...frames, ping, frameOf(OPCODE.BINARY, Buffer.from([255, 0]))]),
        );
      }),
    directly: { "channel 1": /^one\ntwo\n$/, pongs: /^p$/ },
  },
];
