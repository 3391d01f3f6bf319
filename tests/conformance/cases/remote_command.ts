/** Edge cases of remote commands, whatever they are framed by: E-55 to E-72. */

import { Buffer } from "node:buffer";
import { OPCODE } from "../../../protocol/websocket/mod.ts";
import type { Case } from "./case.ts";
import { overSpdy, overWebSocket, V4, V5, withStreams } from "./sessions.ts";

const SPDY = "SPDY v4";

/** Says the terminal's size as often as it changes, and ends with the row count 50. */
const SIZES =
  "last=; for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do now=$(stty size 2>/dev/null); " +
  '[ "$now" = "$last" ] || echo "$now"; last=$now; case $now in 50*) exit 0;; esac; sleep 0.1; done';

const TTY = { tty: true, flags: ["stdin", "stdout"] };

export const REMOTE_COMMAND_CASES: readonly Case[] = [
  {
    number: "E-55",
    command: "exec: a terminal and stderr",
    protocol: SPDY,
    given: "a request for a terminal and for stderr",
    when: "the client opens error, stdin, stdout and resize",
    then: "the session starts: a terminal has no stderr",
    play: (at) =>
      overSpdy(
        at,
        "tty > /dev/null && echo yes",
        { tty: true },
        (session) => session.open("error", "stdin", "stdout", "resize"),
      ),
    directly: { "stream 5 stdout": /yes/ },
  },
  {
    number: "E-56",
    command: "exec: a resize stream without a terminal",
    protocol: SPDY,
    given: "a command without a terminal, whose four streams are awaited",
    when: "the client opens resize before stderr",
    then: "the set is complete without stderr, which is never answered",
    play: (at) =>
      overSpdy(at, "echo out; echo err >&2; sleep 1", { quietMs: 2_500 }, async (session) => {
        await session.open("error", "stdin", "stdout");
        await session.openStream({ streamtype: "resize" }, { waitMs: 1_000 });
        await session.openStream({ streamtype: "stderr" }, { waitMs: 1_000 });
      }),
  },
  {
    number: "E-57",
    command: "exec: one stream too few",
    protocol: SPDY,
    given: "a command whose four streams are awaited",
    when: "the client opens three",
    then: "the kubelet gives up after 30 s, tells nobody, and keeps the connection",
    play: (at) =>
      overSpdy(at, "echo out", { quietMs: 7_500 }, (session) => session.open("error", "stdin", "stdout")),
    directly: { end: /^stays open$/ },
  },
  {
    number: "E-58",
    command: "exec: a stream of type foo",
    protocol: SPDY,
    given: "a session",
    when: "a stream of an unknown type is opened first",
    then: "it is accepted, not counted, and never used",
    play: (at) =>
      overSpdy(at, "echo out", {}, (session) => session.open("foo", "error", "stdin", "stdout", "stderr")),
    directly: { "stream 1 foo": /^accepted; ; (?!FIN)/, "stream 7 stdout": /out/ },
  },
  {
    number: "E-59",
    command: "exec: success",
    protocol: SPDY,
    given: "a command",
    when: "it ends with 0",
    then: "the error stream holds the shortest Status",
    play: (at) => withStreams(at, ["true"], () => Promise.resolve()),
    directly: { "stream 1 error": /^accepted; \{"metadata":\{\},"status":"Success"\}; reset 5$/ },
  },
  ...["v2.channel.k8s.io", "v3.channel.k8s.io"].flatMap((protocol) =>
    [0, 3].map((code): Case => ({
      number: "E-59a",
      command: `exec: exit ${code}`,
      protocol: `SPDY ${protocol.slice(0, 2)}`,
      given: "a protocol before v4",
      when: `a command ends with ${code}`,
      then: code === 0 ? "the error stream holds nothing" : "the error stream holds a sentence",
      play: (at) => withStreams(at, `exit ${code}`, () => Promise.resolve(), { protocols: [protocol] }),
      directly: { "stream 1 error": code === 0 ? /^accepted; ; / : /^accepted; command terminated/ },
    }))
  ),
  ...[3, 137, 255].map((code): Case => ({
    number: "E-60",
    command: `exec: exit ${code}`,
    protocol: SPDY,
    given: "a command",
    when: `it ends with ${code}`,
    then: "the Status has the code among its causes",
    play: (at) => withStreams(at, `exit ${code}`, () => Promise.resolve()),
    directly: { "stream 1 error": new RegExp(`"reason":"ExitCode","message":"${code}"`) },
  })),
  {
    number: "E-61",
    command: "exec: a size that is none, and another",
    protocol: "WebSocket v4",
    given: "a terminal over WebSocket",
    when: "a width of 70000 comes, then another size, then keys",
    then: "the server's reading blocks for good: keys and Close go unheard",
    play: (at) =>
      overWebSocket(
        at,
        'echo ready; read -r line; echo "got $line"',
        { ...TTY, protocols: [V4] },
        async (session) => {
          await session.shows(1, "ready");
          await session.channel(4, '{"Width":70000,"Height":1}');
          await session.channel(4, '{"Width":80,"Height":24}');
          await session.channel(0, "typed\n");
          await session.shows(1, "got typed", 2_000);
        },
      ),
    directly: { end: /^stays open$/ },
  },
  {
    number: "E-62",
    command: "exec: sizes without a terminal",
    protocol: "WebSocket v5",
    given: "a command without a terminal",
    when: "two sizes come, then stdin",
    then: "the API server's reading blocks for good",
    play: (at) =>
      overWebSocket(
        at,
        'echo ready; read -r line; echo "got $line"',
        { protocols: [V5] },
        async (session) => {
          await session.shows(1, "ready");
          for (const width of [80, 90]) await session.channel(4, `{"Width":${width},"Height":24}`);
          await session.channel(0, "typed\n");
          await session.shows(1, "got typed", 2_000);
        },
      ),
    directly: { end: /^stays open$/ },
  },
  ...[
    { what: "other keys and cases", frames: ['{"width":91,"HEIGHT":50,"x":1}'], want: /50 91/ },
    { what: "none, which is ignored", frames: ["{}", '{"Width":92,"Height":50}'], want: /50 92/ },
  ].map(({ what, frames, want }): Case => ({
    number: "E-63",
    command: `exec: a size in ${what}`,
    protocol: SPDY,
    given: "a terminal",
    when: `a size comes in ${what}`,
    then: "the terminal has it",
    play: (at) =>
      overSpdy(at, SIZES, TTY, async (session) => {
        await session.open("error", "stdin", "stdout", "resize");
        for (const frame of frames) await session.data(7, frame);
      }),
    directly: { "stream 5 stdout": want },
  })),
  ...[
    { what: "two in one frame", frames: ['{"Width":90,"Height":20}{"Width":93,"Height":50}'] },
    { what: "one over three frames", frames: ['{"Wid', 'th":93,"He', 'ight":50}'] },
  ].map(({ what, frames }): Case => ({
    number: "E-64",
    command: `exec: sizes, ${what}`,
    protocol: SPDY,
    given: "a terminal",
    when: `sizes come, ${what}`,
    then: "both are read",
    play: (at) =>
      overSpdy(at, "sleep 0.3; stty size; sleep 0.2; stty size", TTY, async (session) => {
        await session.open("error", "stdin", "stdout", "resize");
        for (const frame of frames) await session.data(7, frame);
      }),
    directly: { "stream 5 stdout": /50 93/ },
  })),
  {
    number: "E-65",
    command: "exec: exit 3",
    protocol: "SPDY v1",
    given: "the first protocol",
    when: "a command ends with 3",
    then: "its error stream is reset at once, and what is written on it later is read by nobody",
    play: (at) =>
      withStreams(at, "echo out; exit 3", () => Promise.resolve(), { protocols: ["channel.k8s.io"] }),
    directly: { "stream 1 error": /reset 5$/, "stream 5 stdout": /out/ },
  },
  {
    number: "E-71",
    command: "exec: stdin that ends before any output",
    protocol: SPDY,
    given: "a command that is slow to start",
    when: "its stdin comes and ends at once",
    then: "all output comes, and success",
    play: (at) => withStreams(at, "sleep 0.5; cat", (session) => session.data(3, "x\n", true)),
    directly: { "stream 5 stdout": /^accepted; x\n/, "stream 1 error": /Success/ },
  },
  {
    number: "E-71a",
    command: "exec: stdin that ends before any output",
    protocol: "WebSocket v5",
    given: "a command that is slow to start",
    when: "its stdin comes and ends at once",
    then: "all output comes, and success",
    play: (at) =>
      overWebSocket(at, "sleep 0.5; cat", { protocols: [V5] }, async (session) => {
        await session.channel(0, "x\n");
        await session.message(255, 0);
      }),
    directly: { "channel 1": /^x\n$/, "channel 3": /Success/ },
  },
  ...[
    { protocol: SPDY, name: "SPDY" },
    { protocol: "WebSocket v5", name: V5 },
    { protocol: "WebSocket v4", name: V4 },
  ].map(({ protocol, name }): Case => ({
    number: "E-72",
    command: "exec: a command that is not there, with <&> in its name",
    protocol,
    given: "JSON as Go writes it",
    when: "a message has <, & and >",
    then: "they are escaped",
    play: (at) =>
      name === "SPDY"
        ? withStreams(at, ["no<&>such"], () => Promise.resolve())
        : overWebSocket(at, ["no<&>such"], { protocols: [name] }),
    directly: { [name === "SPDY" ? "stream 1 error" : "channel 3"]: /no\\u003c\\u0026\\u003esuch/ },
  })),
  {
    command: "exec: stdout alone of a command that reads",
    protocol: SPDY,
    given: "a request without stdin",
    when: "the command reads its own",
    then: "it reads the end",
    play: (at) => overSpdy(at, "wc -c", { flags: ["stdout"] }, (session) => session.open("error", "stdout")),
    directly: { "stream 3 stdout": /^accepted; 0\n/ },
  },
  {
    command: "exec: error alone",
    protocol: SPDY,
    given: "a request for stdin alone",
    when: "the command writes and ends with 4",
    then: "the Status comes, and no output",
    play: (at) =>
      overSpdy(at, "echo lost; exit 4", { flags: ["stdin"] }, (session) => session.open("error", "stdin")),
    directly: { "stream 1 error": /"message":"4"/ },
  },
  {
    command: "exec: streams in another order",
    protocol: SPDY,
    given: "a session",
    when: "its streams are opened backwards",
    then: "nobody minds",
    play: (at) =>
      overSpdy(at, "cat; echo err >&2", {}, async (session) => {
        await session.open("stderr", "stdout", "stdin", "error");
        await session.data(5, "in\n", true);
      }),
    directly: { "stream 3 stdout": /in/, "stream 1 stderr": /err/ },
  },
  {
    command: "exec: a client that goes with GOAWAY",
    protocol: SPDY,
    given: "a command that takes its time",
    when: "its client says GOAWAY",
    then: "the session ends",
    play: (at) =>
      withStreams(at, "echo started; sleep 3", async (session) => {
        await session.shows("stdout", "started");
        await session.goaway();
      }),
    directly: { end: /^closed/ },
  },
  {
    command: "exec: keys of a terminal",
    protocol: "WebSocket v5",
    given: "a terminal",
    when: "Ctrl-C comes",
    then: "the command is interrupted",
    play: (at) =>
      overWebSocket(at, 'trap "echo caught; exit 9" INT; echo ready; while :; do sleep 0.1; done', {
        ...TTY,
        protocols: [V5],
      }, async (session) => {
        await session.shows(1, "ready");
        await session.frame(OPCODE.BINARY, Buffer.from([0, 3]));
      }),
    directly: { "channel 1": /caught/, "channel 3": /"message":"9"/ },
  },
];
