/** Edge cases of SPDY/3.1 framing: E-31 to E-54. */

import { Buffer } from "node:buffer";
import { constants, deflateRawSync, deflateSync } from "node:zlib";
import { DICTIONARY } from "../../../protocol/spdy/dictionary.ts";
import { encodeHeaderBlock } from "../../../protocol/spdy/header_block.ts";
import { dataFrame } from "../../../protocol/spdy/mod.ts";
import { spdyUpgrade } from "../clients/request.ts";
import { SpdySession } from "../clients/spdy_session.ts";
import { Wire } from "../clients/wire.ts";
import type { Column } from "../columns.ts";
import type { Seen } from "../matrix.ts";
import type { Case } from "./case.ts";
import { found } from "./exec_commands.ts";
import { execTarget, overSpdy, V4, withStreams } from "./sessions.ts";

/** Says back what it is told, then how much that was. */
const ECHO = "cat; echo end >&2";

/** The four SYN_STREAMs that a Go client sends, compressed in one context: error 1, stdin 3, stdout 5, stderr 7. */
const GO_SYNS = [
  "80030001 00000028 00000001 00000000 0000 78f9e3c6a7c202a62346703a2b294a4dcc851625aca9a08006000000ffff",
  "80030001 00000017 00000003 00000000 0000 c22e555c02cc2e00000000ffff",
  "80030001 00000019 00000005 00000000 0000 c22a054ce729f9a52500000000ffff",
  "80030001 00000014 00000007 00000000 0000 c229073414000000ffff",
] as const;

const NAMES = ["error", "stdin", "stdout", "stderr"];

/** Sends a line by stdin, waits for it, and ends stdin. */
async function echoLine(session: SpdySession, stdin = 3, text = "hello\n"): Promise<void> {
  await session.data(stdin, text);
  await session.shows("stdout", text, 2_000);
  await session.data(stdin, "", true);
}

/** Plays something that is fatal to a Go peer, then tries whether anything still works. */
function afterwards(hex: string): (at: Column) => Promise<Seen> {
  return (at) =>
    withStreams(at, ECHO, async (session) => {
      await session.data(3, "before\n");
      await session.shows("stdout", "before");
      await session.raw(hex);
      await session.data(3, "after\n");
      await session.shows("stdout", "after", 1_500);
    });
}

/** A SYN_STREAM whose header block a peer compresses in a way of its own. */
function synStreamBy(
  deflate: (plain: Uint8Array, isFirst: boolean) => Uint8Array,
  id: number,
  streamtype: string,
): Uint8Array {
  const block = deflate(encodeHeaderBlock(new Map([["streamtype", streamtype]])), id === 1);
  const frame = Buffer.alloc(18);
  frame.writeUInt32BE(0x80030001);
  frame.writeUInt32BE(10 + block.length, 4);
  frame.writeUInt32BE(id, 8);
  return Buffer.concat([frame, block]);
}

function openBy(
  deflate: (plain: Uint8Array, isFirst: boolean) => Uint8Array,
): (session: SpdySession) => Promise<void> {
  return async (session) => {
    for (const [index, streamtype] of NAMES.entries()) {
      const id = 2 * index + 1;
      session.expect(id, { streamtype });
      await session.wire.send(synStreamBy(deflate, id, streamtype));
    }
    await session.until(() => NAMES.every((name) => session.named(name).answer !== undefined));
    await echoLine(session);
  };
}

const finishFlush = constants.Z_SYNC_FLUSH;

/** zlib with the dictionary at a level; later blocks look back on nothing. */
const atLevel = (level: number) => (plain: Uint8Array, isFirst: boolean): Uint8Array =>
  isFirst
    ? deflateSync(plain, { level, dictionary: DICTIONARY, finishFlush })
    : deflateRawSync(plain, { level, finishFlush });

/** A zlib stream that names no dictionary, and stored blocks. */
function stored(plain: Uint8Array, isFirst: boolean): Uint8Array {
  const head = Buffer.from([0, plain.length, 0, 0xff - plain.length, 0xff]);
  const flush = Buffer.from([0, 0, 0, 0xff, 0xff]);
  return Buffer.concat([...(isFirst ? [Buffer.from([0x78, 0x01])] : []), head, plain, flush]);
}

const FRAMING = "SPDY v4";

const fatal: readonly { number: `E-${number}` | `E-${number}${"a" | "b"}`; what: string; hex: string }[] = [
  { number: "E-34", what: "PING with id 0", hex: "80030006 00000004 00000000" },
  { number: "E-34a", what: "PING with flags", hex: "80030006 01000004 00000001" },
  { number: "E-53", what: "GOAWAY of 4 bytes", hex: "80030007 00000004 00000001" },
];

const unreadable: readonly { number: `E-${number}`; what: string; headers: Record<string, string> }[] = [
  { number: "E-38", what: "a header name with a capital", headers: { streamType: "stdin" } },
  { number: "E-39", what: "the header `host`", headers: { streamtype: "stdin", host: "x" } },
];

const others = [
  { what: "NOOP", hex: "80030005 00000000" },
  { what: "a control frame of type 99", hex: "80030063 00000000" },
  { what: "DATA on stream 0", hex: "00000000 00000001 61" },
  { what: "RST_STREAM with status 0", hex: "80030003 00000008 00000003 00000000" },
  { what: "WINDOW_UPDATE of 4 bytes", hex: "80030009 00000004 00000003" },
];

export const SPDY_CASES: readonly Case[] = [
  {
    number: "E-31",
    command: "exec: SETTINGS and WINDOW_UPDATE",
    protocol: FRAMING,
    given: "a session",
    when: "frames of flow control come that Go peers do not use",
    then: "they are ignored",
    play: (at) =>
      withStreams(at, ECHO, async (session) => {
        await session.raw("80030004 0100000c 00000001 01000004 00000064");
        await session.raw("80030009 00000008 00000000 00010000 80030009 00000008 00000003 00010000");
        await echoLine(session);
      }),
    directly: { "stream 5 stdout": /hello/, "stream 1 error": /Success/ },
  },
  {
    number: "E-32",
    command: "exec: 10 MiB out",
    protocol: FRAMING,
    given: "a client that never sends WINDOW_UPDATE",
    when: "a command writes 10 MiB",
    then: "all of it comes",
    play: (at) =>
      overSpdy(
        at,
        "head -c 10485760 /dev/zero",
        { flags: ["stdout"], quietMs: 5_000 },
        (session) => session.open("error", "stdout"),
      ),
    directly: { "stream 3 stdout": /10485760 bytes/ },
  },
  {
    number: "E-32a",
    command: "exec: 10 MiB in",
    protocol: FRAMING,
    given: "a client that waits for no WINDOW_UPDATE",
    when: "it sends 10 MiB",
    then: "all of it arrives",
    play: (at) =>
      withStreams(at, "wc -c", async (session) => {
        for (let sent = 0; sent < 160; sent++) await session.data(3, new Uint8Array(65_536), sent === 159);
      }, { quietMs: 5_000 }),
    directly: { "stream 5 stdout": /10485760/ },
  },
  {
    number: "E-33",
    command: "exec: PING",
    protocol: FRAMING,
    given: "a session",
    when: "PING 1, 2 and 3 come",
    then: "the odd ones come back, the even one is the server's own",
    play: (at) =>
      withStreams(at, ECHO, async (session) => {
        for (const id of [1, 2, 3]) await session.ping(id);
        await session.until(() => session.pings.length >= 2);
        await echoLine(session);
      }),
    directly: { pings: /^1 3$/ },
  },
  ...fatal.map(({ number, what, hex }): Case => ({
    number,
    command: `exec: ${what}`,
    protocol: FRAMING,
    given: "a session",
    when: `${what} comes`,
    then: "a Go peer reads no more",
    play: afterwards(hex),
    directly: { "stream 5 stdout": /before\n(?!after)/ },
  })),
  ...others.map(({ what, hex }): Case => ({
    command: `exec: ${what}`,
    protocol: FRAMING,
    given: "a session",
    when: `${what} comes`,
    then: "a Go peer reads no more",
    play: afterwards(hex),
    directly: { "stream 5 stdout": /before\n(?!after)/ },
  })),
  {
    number: "E-35",
    command: "exec: the same id twice",
    protocol: FRAMING,
    given: "a session",
    when: "SYN_STREAM 1 comes again",
    then: "RST_STREAM 1 with status 1, and the connection lives",
    play: (at) =>
      withStreams(at, ECHO, async (session) => {
        await session.syn(1, { streamtype: "stdin" });
        await session.until(() => session.stream(1).resetStatus !== undefined);
        await echoLine(session);
      }),
    directly: { "stream 1 error": /reset 1$/, "stream 5 stdout": /hello/ },
  },
  {
    number: "E-36",
    command: "exec: an even id",
    protocol: FRAMING,
    given: "a client",
    when: "it gives a stream the id 4",
    then: "nobody minds",
    play: (at) =>
      overSpdy(at, ECHO, {}, async (session) => {
        await session.open("error");
        await session.syn(4, { streamtype: "stdin" });
        await session.until(() => session.stream(4).answer !== undefined);
        await session.syn(6, { streamtype: "stdout" });
        await session.syn(8, { streamtype: "stderr" });
        await session.until(() => session.stream(8).answer !== undefined);
        await echoLine(session, 4);
      }),
    directly: { "stream 6 stdout": /hello/ },
  },
  {
    number: "E-37",
    command: "exec: ids with gaps, and one that goes back",
    protocol: FRAMING,
    given: "streams 1 and 9",
    when: "SYN_STREAM 5 comes",
    then: "RST_STREAM 5 with status 1, and the session goes on",
    play: (at) =>
      overSpdy(at, ECHO, {}, async (session) => {
        await session.open("error");
        await session.syn(9, { streamtype: "stdin" });
        await session.until(() => session.stream(9).answer !== undefined);
        await session.syn(5, { streamtype: "stderr" });
        await session.until(() => session.stream(5).answer !== undefined);
        await session.syn(11, { streamtype: "stdout" });
        await session.syn(13, { streamtype: "stderr" });
        await session.until(() => session.stream(13).answer !== undefined);
        await echoLine(session, 9);
      }),
    directly: { "stream 5 stderr": /refused, status 1/, "stream 11 stdout": /hello/ },
  },
  ...unreadable.map(({ number, what, headers }): Case => ({
    number,
    command: `exec: ${what}`,
    protocol: FRAMING,
    given: "an error stream",
    when: `a SYN_STREAM has ${what}`,
    then: "a Go peer reads no more",
    play: (at) =>
      overSpdy(at, ECHO, { flags: ["stdin", "stdout"] }, async (session) => {
        await session.open("error");
        await session.openStream(headers, { waitMs: 1_000 });
        await session.openStream({ streamtype: "stdout" }, { waitMs: 1_000 });
      }),
    directly: { "stream 5 stdout": /not answered/ },
  })),
  {
    number: "E-39a",
    command: "exec: the header `:host`",
    protocol: FRAMING,
    given: "an error stream",
    when: "a SYN_STREAM has SPDY's own `:host`",
    then: "it is fine",
    play: (at) =>
      overSpdy(at, ECHO, {}, async (session) => {
        await session.open("error");
        await session.openStream({ streamtype: "stdin", ":host": "x" });
        await session.open("stdout", "stderr");
        await echoLine(session);
      }),
    directly: { "stream 5 stdout": /hello/ },
  },
  ...[1, 6, 9, 0].map((level): Case => ({
    number: "E-40",
    command: `exec: header blocks of zlib level ${level}`,
    protocol: FRAMING,
    given: "a client",
    when: `it compresses at level ${level}`,
    then: "its streams open",
    play: (at) => overSpdy(at, ECHO, {}, openBy(atLevel(level))),
    directly: { "stream 5 stdout": /hello/ },
  })),
  {
    number: "E-40a",
    command: "exec: stored header blocks, no dictionary",
    protocol: FRAMING,
    given: "a client that compresses nothing",
    when: "its zlib stream names no dictionary",
    then: "its streams open",
    play: (at) => overSpdy(at, ECHO, {}, openBy(stored)),
    directly: { "stream 5 stdout": /hello/ },
  },
  {
    number: "E-41",
    command: "exec: a refused stream in the middle of a context",
    protocol: FRAMING,
    given: "header blocks that each build on all before",
    when: "a stream is refused, and others follow",
    then: "its block was inflated, and theirs can be read",
    play: (at) =>
      overSpdy(at, "echo out; echo err >&2", { flags: ["stdin", "stderr"] }, async (session) => {
        for (const [index, streamtype] of ["error", "stdin"].entries()) {
          session.expect(2 * index + 1, { streamtype });
        }
        session.expect(7, { streamtype: "stderr" });
        const again = GO_SYNS[2].replace("00000005", "00000003");
        await session.raw([GO_SYNS[0], GO_SYNS[1], again, GO_SYNS[3]].join(""));
      }),
    directly: { "stream 7 stderr": /err/, "stream 3 stdin": /(reset|status) 1$/ },
  },
  {
    number: "E-43",
    command: "exec: DATA on an unknown stream",
    protocol: FRAMING,
    given: "a session",
    when: "DATA comes on stream 99",
    then: "it is ignored",
    play: (at) =>
      withStreams(at, ECHO, async (session) => {
        await session.data(99, "lost");
        await echoLine(session);
      }),
    directly: { "stream 5 stdout": /^accepted; hello\n/ },
  },
  {
    number: "E-44",
    command: "exec: FIN on data",
    protocol: FRAMING,
    given: "a command that reads",
    when: "the last data and FIN are one frame",
    then: "the data is delivered, then the end",
    play: (at) => withStreams(at, ECHO, (session) => session.data(3, "all of it\n", true)),
    directly: { "stream 5 stdout": /^accepted; all of it\n/, "stream 7 stderr": /end/ },
  },
  {
    number: "E-45",
    command: "exec: DATA after FIN",
    protocol: FRAMING,
    given: "a stdin that was ended",
    when: "more comes on it",
    then: "it is dropped",
    play: (at) =>
      withStreams(at, `${ECHO}; sleep 0.5`, async (session) => {
        await session.data(3, "first\n", true);
        await session.data(3, "second\n");
      }),
    directly: { "stream 5 stdout": /^accepted; first\n; / },
  },
  {
    number: "E-46",
    command: "exec: RST_STREAM behind data",
    protocol: FRAMING,
    given: "data on the way",
    when: "its stream is reset",
    then: "the data arrives, then the end",
    play: (at) =>
      withStreams(at, `sleep 0.5; ${ECHO}`, async (session) => {
        await session.data(3, "still\n");
        await session.send({ type: "rst_stream", id: 3, status: 5 });
      }),
    directly: { "stream 5 stdout": /still/, "stream 7 stderr": /end/ },
  },
  {
    number: "E-47",
    command: "exec: the end of all",
    protocol: FRAMING,
    given: "a command that ends",
    when: "its streams end",
    then: "those that were ended by FIN are not reset, and GOAWAY comes last",
    play: (at) => withStreams(at, "echo out", () => Promise.resolve()),
    directly: { "stream 5 stdout": /FIN$/, "stream 1 error": /reset 5$/, end: /^closed with GOAWAY$/ },
  },
  {
    number: "E-48",
    command: "exec: DATA, GOAWAY, DATA in one write",
    protocol: FRAMING,
    given: "a command that writes what it reads to a file",
    when: "data comes before and after GOAWAY",
    then: "what is before is delivered, what is after is not",
    play: async (at) => {
      const file = `/tmp/goaway-${at.word}`;
      await withStreams(at, `cat > ${file}; echo done >> ${file}`, async (session) => {
        const goaway = session.encoder.encode({ type: "goaway", lastGoodId: 0, status: 0 });
        await session.wire.send(
          Buffer.concat([
            dataFrame(3, Buffer.from("before\n")),
            goaway,
            dataFrame(3, Buffer.from("after\n")),
          ]),
        );
      }, { quietMs: 500 });
      return { effect: await found(at, ["sh", "-c", `${patience(`grep -q done ${file}`)}; cat ${file}`]) };
    },
    directly: { effect: /^before\ndone\n$/ },
  },
  {
    number: "E-49",
    command: "exec: TCP half-closed",
    protocol: FRAMING,
    given: "output that flows",
    when: "the client shuts its half of the TCP connection",
    then: "all ends at once",
    play: (at) =>
      withStreams(at, "while :; do echo x; sleep 0.05; done", async (session) => {
        await session.shows("stdout", "x\nx\n");
        if (session.wire instanceof Wire) await session.wire.closeWrite();
        await session.until(() => false, 2_000);
      }).then(({ end }) => ({ end: `${end}`.replace(/ with GOAWAY.*/, "") })),
    directly: { end: /^closed/ },
  },
  {
    number: "E-50",
    command: "exec: PING behind a stdin that nobody reads",
    protocol: FRAMING,
    given: "a command that does not read, and 48 MiB for it",
    when: "a PING comes behind them",
    then: "it is not answered, for nothing is read any more",
    play: async (at) => {
      const target = execTarget("echo started; sleep 4", {});
      using session = await SpdySession.open(at, { target, headers: spdyUpgrade(V4) });
      await session.open("error", "stdin", "stdout", "stderr");
      await session.shows("stdout", "started");
      const sending = (async () => {
        for (let sent = 0; sent < 1536; sent++) await session.data(3, new Uint8Array(32_768));
        await session.ping(1);
      })();
      await session.until(() => session.pings.length > 0, 1_500);
      const pings = session.pings.join(" ") || "none";
      session.wire.close();
      await sending;
      return { pings };
    },
    directly: { pings: /^none$/ },
  },
  {
    number: "E-52",
    command: "exec: one byte at a time",
    protocol: FRAMING,
    given: "a session",
    when: "each byte of every frame comes by itself",
    then: "nothing is different",
    play: (at) =>
      overSpdy(at, ECHO, {}, async (session) => {
        const { wire } = session;
        if (!(wire instanceof Wire)) return;
        for (const [index, streamtype] of NAMES.entries()) session.expect(2 * index + 1, { streamtype });
        await wire.sendSplit(Buffer.from(GO_SYNS.join("").replaceAll(" ", ""), "hex"));
        await session.until(() => session.named("stderr").answer !== undefined);
        await wire.sendSplit(dataFrame(3, Buffer.from("hello\n"), true));
      }),
    directly: { "stream 5 stdout": /hello/, "stream 7 stderr": /end/ },
  },
  {
    number: "E-52a",
    command: "exec: all in one write",
    protocol: FRAMING,
    given: "a session",
    when: "streams are opened, fed and ended in one write",
    then: "nothing is different",
    play: (at) =>
      overSpdy(at, ECHO, {}, async (session) => {
        for (const [index, streamtype] of NAMES.entries()) session.expect(2 * index + 1, { streamtype });
        const syns = Buffer.from(GO_SYNS.join("").replaceAll(" ", ""), "hex");
        await session.wire.send(Buffer.concat([syns, dataFrame(3, Buffer.from("hello\n"), true)]));
      }),
    directly: { "stream 5 stdout": /hello/, "stream 7 stderr": /end/ },
  },
  {
    number: "E-54",
    command: "exec: a DATA frame of 16 MiB less one",
    protocol: FRAMING,
    given: "a command that counts",
    when: "the largest frame comes that there can be",
    then: "it arrives whole",
    play: (at) =>
      withStreams(at, "wc -c", (session) => session.data(3, new Uint8Array(0xff_ffff), true), {
        quietMs: 6_000,
      }),
    directly: { "stream 5 stdout": /16777215/ },
  },
  {
    command: "exec: HEADERS",
    protocol: FRAMING,
    given: "a session",
    when: "HEADERS come on stdin, which nobody ever reads",
    then: "that stream's data is never reached",
    play: (at) =>
      withStreams(at, ECHO, async (session) => {
        await session.send({ type: "headers", id: 3, fin: false, headers: new Map([["x", "y"]]) });
        await session.data(3, "behind\n", true);
      }),
  },
];

/** Shell that waits up to four seconds for something to hold. */
export function patience(test: string): string {
  return `for i in 1 2 3 4 5 6 7 8; do ${test} && break; sleep 0.5; done`;
}
