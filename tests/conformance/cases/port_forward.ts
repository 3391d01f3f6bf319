/** Edge cases of port-forwards on their three transports: E-98 to E-116. */

import { Buffer } from "node:buffer";
import { OPCODE } from "../../../protocol/websocket/mod.ts";
import { podTarget, spdyUpgrade, webSocketUpgrade } from "../clients/request.ts";
import { SpdySession } from "../clients/spdy_session.ts";
import { type Cut, seenThrough, TUNNEL, Tunnel } from "../clients/tunnel.ts";
import { WebSocketSession } from "../clients/websocket_session.ts";
import type { Column } from "../columns.ts";
import type { Seen } from "../matrix.ts";
import { LATE_PORT, POD } from "../pods.ts";
import type { Case } from "./case.ts";
import { V4, V5 } from "./sessions.ts";

const SPDY = "SPDY";
const TARGET = podTarget("ports", "portforward");

/** Ports of the pod `ports`: what comes comes back; a word comes, then the end; nobody listens. */
const [ECHO, GREET, HOLD, NOBODY] = [7000, 7003, 7004, 7999];

/** Plays with a port-forward over SPDY. */
async function forward(
  at: Column,
  play: (session: SpdySession) => Promise<unknown>,
  { quietMs = 2_000, pod = "ports" } = {},
): Promise<Seen> {
  const target = podTarget(pod, "portforward");
  using session = await SpdySession.open(at, { target, headers: spdyUpgrade("portforward.k8s.io") });
  if (session.isOpen) await play(session);
  return await session.seen(quietMs);
}

/** The two streams of a connection, in either order. */
async function pair(
  session: SpdySession,
  port: number,
  requestid: string,
  order = ["error", "data"],
): Promise<void> {
  for (const streamtype of order) await session.openStream({ streamtype, port: `${port}`, requestid });
}

const data = (session: SpdySession, request: string) => session.named(`data of request ${request}`);
const error = (session: SpdySession, request: string) => session.named(`error of request ${request}`);

/** Sends a word, waits for its echo, and ends. */
async function echo(session: SpdySession, request: string, word = "ping"): Promise<void> {
  await session.data(data(session, request).id, word);
  await session.until(() => data(session, request).text.includes(word), 5_000);
  await session.data(data(session, request).id, "", true);
  await session.until(() => data(session, request).isOver, 5_000);
}

/** Plays with a port-forward over channels. */
async function channels(
  at: Column,
  ports: readonly number[],
  protocols: readonly string[],
  play: (session: WebSocketSession) => Promise<unknown>,
): Promise<Seen> {
  const target = podTarget("ports", "portforward", { ports: ports.map(String) });
  using session = await WebSocketSession.open(at, { target, headers: webSocketUpgrade(...protocols) });
  if (!session.isOpen) return await session.seen();
  await session.until(() => session.messages.length >= 2 * ports.length);
  const first = session.first(2 * ports.length);
  await play(session);
  const { "first message": _, ...seen } = await session.seen();
  return { ...seen, "first messages": first };
}

/** Plays with a port-forward through a tunnel. */
async function tunnelled(
  at: Column,
  play: (session: SpdySession, tunnel: Tunnel) => Promise<unknown>,
  protocols: readonly string[] = [TUNNEL],
): Promise<Seen> {
  const opened = await Tunnel.open(at, { target: TARGET, headers: webSocketUpgrade(...protocols) });
  using _ = opened.session;
  if (opened.session.isOpen) await play(opened.session, opened.tunnel);
  return await seenThrough(opened);
}

/** Ways to make messages of bytes. */
const cuts: readonly { what: string; cut: Cut }[] = [
  { what: "one byte in each message", cut: (bytes) => Array.from(bytes, (byte) => Uint8Array.of(byte)) },
  {
    what: "empty messages in between",
    cut: (
      bytes,
    ) => [new Uint8Array(), bytes.subarray(0, 4), new Uint8Array(), bytes.subarray(4), new Uint8Array()],
  },
  {
    what: "header and payload apart, as kubectl writes them",
    cut: (bytes) => [bytes.subarray(0, 4), bytes.subarray(4, 8), bytes.subarray(8)],
  },
];

const refusedHeaders: readonly { what: string; headers: Record<string, string> }[] = [
  { what: "port 0", headers: { streamtype: "error", port: "0", requestid: "0" } },
  { what: "port -1", headers: { streamtype: "error", port: "-1", requestid: "0" } },
  { what: "port abc", headers: { streamtype: "error", port: "abc", requestid: "0" } },
  { what: "port 65536", headers: { streamtype: "error", port: "65536", requestid: "0" } },
  { what: "no port", headers: { streamtype: "error", requestid: "0" } },
  { what: "type foo", headers: { streamtype: "foo", port: "7000", requestid: "0" } },
  { what: "no type", headers: { port: "7000", requestid: "0" } },
];

export const PORT_FORWARD_CASES: readonly Case[] = [
  {
    number: "E-105",
    command: "portforward: an error stream alone",
    protocol: SPDY,
    given: "a connection",
    when: "its data stream never comes",
    then: "after 30 s its error stream says so, and the others live on",
    play: (at) =>
      forward(at, async (session) => {
        await session.openStream({ streamtype: "error", port: `${ECHO}`, requestid: "0" });
        await session.until(() => error(session, "0").text !== "", 33_000);
        await pair(session, ECHO, "1");
        await echo(session, "1");
      }),
    directly: {
      "stream 1 error of request 0": /timed out waiting for streams/,
      "stream 5 data of request 1": /ping/,
    },
  },
  ...[
    { number: "E-98" as const, order: ["error", "data"] },
    { number: "E-99" as const, order: ["data", "error"] },
  ].map(({ number, order }): Case => ({
    number,
    command: `portforward: ${order.join(", then ")}`,
    protocol: SPDY,
    given: "a connection",
    when: `its streams come as ${order.join(", then ")}`,
    then: "both are accepted, and bytes flow",
    play: (at) =>
      forward(at, async (session) => {
        await pair(session, ECHO, "0", order);
        await echo(session, "0");
      }),
    directly: { [`stream ${order[0] === "data" ? 1 : 3} data of request 0`]: /^accepted; ping; FIN$/ },
  })),
  {
    number: "E-100",
    command: "portforward: no request ids",
    protocol: SPDY,
    given: "streams without request ids",
    when: "1 and 5 are error streams, 3 and 7 data streams",
    then: "each data stream belongs to the error stream before it",
    play: (at) =>
      forward(at, async (session) => {
        for (const streamtype of ["error", "data", "error", "data"]) {
          await session.openStream({ streamtype, port: `${GREET}` });
        }
        await session.until(() => [3, 7].every((id) => session.stream(id).isOver));
      }),
    directly: { "stream 3 data": /7003/, "stream 7 data": /7003/ },
  },
  {
    number: "E-100a",
    command: "portforward: no request ids, interleaved",
    protocol: SPDY,
    given: "streams without request ids",
    when: "1 and 3 are error streams, 5 and 7 data streams",
    then: "only 3 and 5 find each other",
    play: (at) =>
      forward(at, async (session) => {
        for (const streamtype of ["error", "error", "data", "data"]) {
          await session.openStream({ streamtype, port: `${GREET}` });
        }
        await session.until(() => session.stream(5).isOver);
      }),
    directly: { "stream 5 data": /7003/, "stream 7 data": /^accepted; ; open$/ },
  },
  ...refusedHeaders.map(({ what, headers }): Case => ({
    number: "E-101",
    command: `portforward: ${what}`,
    protocol: SPDY,
    given: "a session",
    when: `a stream has ${what}`,
    then: "it is reset with CANCEL, and the others live on",
    play: (at) =>
      forward(at, async (session) => {
        await session.openStream(headers);
        await pair(session, ECHO, "1");
        await echo(session, "1");
      }),
    directly: { "stream 5 data of request 1": /ping/ },
  })),
  {
    number: "E-102",
    command: "portforward: FIN on the error stream at once",
    protocol: SPDY,
    given: "Go clients, which never write on the error stream",
    when: "they end it before the data stream comes",
    then: "the connection works all the same",
    play: (at) =>
      forward(at, async (session) => {
        const id = await session.openStream({ streamtype: "error", port: `${ECHO}`, requestid: "0" });
        await session.data(id, "", true);
        await session.openStream({ streamtype: "data", port: `${ECHO}`, requestid: "0" });
        await echo(session, "0");
      }),
    directly: { "stream 3 data of request 0": /ping/ },
  },
  {
    number: "E-103",
    command: "portforward: nobody listens",
    protocol: SPDY,
    given: "a port at which nobody listens, and another",
    when: "both are connected to",
    then: "a sentence on the first's error stream, and both its streams end; the other lives on",
    play: (at) =>
      forward(at, async (session) => {
        await pair(session, NOBODY, "0");
        await session.until(() => error(session, "0").isOver);
        await pair(session, ECHO, "1");
        await echo(session, "1");
      }),
    directly: {
      "stream 1 error of request 0":
        /^accepted; error forwarding port 7999 to pod <container id>[^]*connection refused/,
      "stream 7 data of request 1": /ping/,
    },
  },
  {
    number: "E-104",
    command: "portforward: two error streams",
    protocol: SPDY,
    given: "a connection with its error stream",
    when: "another of the same request comes",
    then: "the first says that it is assigned already",
    play: (at) =>
      forward(at, async (session) => {
        await session.openStream({ streamtype: "error", port: `${ECHO}`, requestid: "0" });
        await session.openStream({ streamtype: "error", port: `${ECHO}`, requestid: "0" });
        await session.until(() => session.stream(1).text !== "", 3_000);
      }),
    directly: { "stream 1 error of request 0": /error stream already assigned/ },
  },
  {
    number: "E-104a",
    command: "portforward: two data streams",
    protocol: SPDY,
    given: "a connection with its data stream",
    when: "another of the same request comes, then the error stream",
    then: "the connection works with the first",
    play: (at) =>
      forward(at, async (session) => {
        await session.openStream({ streamtype: "data", port: `${GREET}`, requestid: "0" });
        await session.openStream({ streamtype: "data", port: `${GREET}`, requestid: "0" });
        await session.openStream({ streamtype: "error", port: `${GREET}`, requestid: "0" });
        await session.until(() => session.stream(1).isOver, 3_000);
      }),
  },
  {
    number: "E-106",
    command: "portforward: two ports in one connection",
    protocol: SPDY,
    given: "an error stream that names one port",
    when: "the data stream names another",
    then: "the data stream's counts",
    play: (at) =>
      forward(at, async (session) => {
        await session.openStream({ streamtype: "error", port: `${NOBODY}`, requestid: "0" });
        await session.openStream({ streamtype: "data", port: `${GREET}`, requestid: "0" });
        await session.until(() => data(session, "0").isOver);
      }),
    directly: { "stream 3 data of request 0": /7003/ },
  },
  {
    number: "E-107",
    command: "portforward: an answer that comes late",
    protocol: SPDY,
    given: "a service that answers 2 s after its client has ended",
    when: "the client ends at once",
    then: "the runtime has closed by then, and the answer is lost",
    play: (at) =>
      forward(at, async (session) => {
        await pair(session, LATE_PORT, "0");
        await session.data(data(session, "0").id, "question", true);
        await session.until(() => data(session, "0").isOver, 6_000);
      }, { pod: POD.one }),
    directly: { "stream 3 data of request 0": /^accepted; ; / },
  },
  {
    command: "portforward: a request id that comes again",
    protocol: SPDY,
    given: "a connection that has ended",
    when: "its request id comes again",
    then: "it is free",
    play: (at) =>
      forward(at, async (session) => {
        await pair(session, ECHO, "0");
        await echo(session, "0", "first");
        for (const streamtype of ["error", "data"]) {
          await session.openStream({ streamtype, port: `${GREET}`, requestid: "0" });
        }
        await session.until(() => session.stream(7).isOver);
      }),
    directly: { "stream 3 data of request 0": /first/, "stream 7 data of request 0": /7003/ },
  },
  {
    command: "portforward: data in the same write as its streams",
    protocol: SPDY,
    given: "a client that does not wait",
    when: "both streams and the first bytes are one write",
    then: "nothing is lost",
    play: (at) =>
      forward(at, async (session) => {
        const headers = { port: `${ECHO}`, requestid: "0" };
        await session.syn(1, { streamtype: "error", ...headers });
        await session.syn(3, { streamtype: "data", ...headers });
        await session.data(3, "at once");
        await session.until(() => session.stream(3).text.includes("at once"));
        await session.data(3, "", true);
        await session.until(() => session.stream(3).isOver);
      }),
    directly: { "stream 3 data of request 0": /at once/ },
  },
  {
    command: "portforward: a connection that is reset",
    protocol: SPDY,
    given: "two connections",
    when: "the client resets one",
    then: "the other lives on",
    play: (at) =>
      forward(at, async (session) => {
        await pair(session, HOLD, "0");
        await pair(session, ECHO, "1");
        await session.send({ type: "rst_stream", id: 3, status: 5 }, {
          type: "rst_stream",
          id: 1,
          status: 5,
        });
        await echo(session, "1");
      }),
    directly: { "stream 7 data of request 1": /ping/ },
  },
  {
    command: "portforward: 1 MiB and back",
    protocol: SPDY,
    given: "an echo",
    when: "1 MiB goes there",
    then: "it comes back",
    play: (at) =>
      forward(at, async (session) => {
        await pair(session, ECHO, "0");
        for (let sent = 0; sent < 32; sent++) await session.data(3, new Uint8Array(32_768).fill(sent));
        await session.until(() => session.stream(3).bytes.length === 1 << 20);
        await session.data(3, "", true);
        await session.until(() => session.stream(3).isOver);
      }),
    directly: { "stream 3 data of request 0": /1048576 bytes/ },
  },
  {
    command: "portforward of a pod that is not there",
    protocol: SPDY,
    given: "a pod that is not there",
    when: "it is asked for",
    then: "404",
    play: (at) => forward(at, () => Promise.resolve(), { pod: "nosuch" }),
    directly: { answer: /^404 / },
  },
  {
    command: "portforward of a completed pod",
    protocol: SPDY,
    given: "a pod that has ended",
    when: "it is asked for",
    then: "what the API server makes of it",
    play: (at) => forward(at, (session) => pair(session, ECHO, "0"), { pod: "done" }),
  },
  ...[[V4], ["v4.base64.channel.k8s.io"], [V5, V4], []].map((protocols): Case => ({
    number: "E-108",
    command: `portforward: two ports${protocols.length === 2 ? ", v5 offered first" : ""}`,
    protocol: `WebSocket ${(protocols.at(-1) ?? "without protocol").replace(".channel.k8s.io", "")}`,
    given: "two ports in the query",
    when: "the WebSocket stands",
    then: "the port on each channel, in this order; then bytes",
    play: (at) =>
      channels(at, [ECHO, GREET], protocols, async (session) => {
        await session.channel(0, "ping");
        await session.shows(0, "ping");
        await session.shows(2, "7003");
      }),
    directly: { "channel 0": /ping$/, "channel 2": /7003/ },
  })),
  {
    number: "E-110",
    command: "portforward: nobody listens at one of two ports",
    protocol: "WebSocket v4",
    given: "two ports, one without a listener",
    when: "the WebSocket stands",
    then: "a sentence on its error channel; the other port lives on",
    play: (at) =>
      channels(at, [NOBODY, ECHO], [V4], async (session) => {
        await session.shows(1, "refused");
        await session.channel(2, "ping");
        await session.shows(2, "ping");
      }),
    directly: { "channel 1": /connection refused/, "channel 2": /ping/, end: /^stays open$/ },
  },
  {
    command: "portforward: all ports end",
    protocol: "WebSocket v4",
    given: "one port that says a word and ends",
    when: "it has ended",
    then: "Close 1000",
    play: (at) => channels(at, [GREET], [V4], (session) => session.shows(0, "7003")),
    directly: { end: /^Close 1000$/ },
  },
  {
    command: "portforward: one port twice",
    protocol: "WebSocket v4",
    given: "one port, named twice",
    when: "both are written to",
    then: "they are two connections",
    play: (at) =>
      channels(at, [ECHO, ECHO], [V4], async (session) => {
        await session.channel(0, "one");
        await session.channel(2, "two");
        await session.shows(0, "one");
        await session.shows(2, "two");
      }),
    directly: { "channel 0": /one$/, "channel 2": /two$/ },
  },
  {
    command: "portforward: messages to other channels",
    protocol: "WebSocket v4",
    given: "one port",
    when: "messages come on its error channel, on an unknown one, and empty",
    then: "they are ignored",
    play: (at) =>
      channels(at, [ECHO], [V4], async (session) => {
        await session.channel(1, "no");
        await session.channel(9, "no");
        await session.message();
        await session.channel(0, "yes");
        await session.shows(0, "yes");
      }),
    directly: { "channel 0": /yes$/ },
  },
  ...cuts.map(({ what, cut }): Case => ({
    number: "E-111",
    command: `portforward: ${what}`,
    protocol: "WebSocket tunnel",
    given: "SPDY through messages whose limits mean nothing",
    when: `it comes with ${what}`,
    then: "it is read all the same",
    play: (at) =>
      tunnelled(at, async (session, tunnel) => {
        tunnel.cut = cut;
        await pair(session, ECHO, "0");
        await echo(session, "0");
      }),
    directly: { "stream 3 data of request 0": /^accepted; ping; FIN$/ },
  })),
  {
    number: "E-111a",
    command: "portforward: two frames in one message",
    protocol: "WebSocket tunnel",
    given: "SPDY through messages",
    when: "both streams and the first bytes are one message",
    then: "they are read all the same",
    play: (at) =>
      tunnelled(at, async (session, tunnel) => {
        const held: Uint8Array[] = [];
        tunnel.cut = (bytes) => (held.push(bytes.slice()), []);
        const headers = { port: `${ECHO}`, requestid: "0" };
        await session.syn(1, { streamtype: "error", ...headers });
        await session.syn(3, { streamtype: "data", ...headers });
        await session.data(3, "at once");
        tunnel.cut = (bytes) => [bytes];
        await tunnel.send(Buffer.concat(held));
        await session.until(() => session.stream(3).text.includes("at once"));
        await session.data(3, "", true);
        await session.until(() => session.stream(3).isOver);
      }),
    directly: { "stream 3 data of request 0": /at once/ },
  },
  {
    number: "E-112",
    command: "portforward of a pod that is not there",
    protocol: "WebSocket tunnel",
    given: "a pod that is not there",
    when: "a tunnel is asked for",
    then: "404, and no WebSocket",
    play: async (at) => {
      const headers = webSocketUpgrade(TUNNEL);
      using session = await WebSocketSession.open(at, {
        target: podTarget("nosuch", "portforward"),
        headers,
      });
      return await session.seen();
    },
    directly: { answer: /^404 / },
  },
  {
    number: "E-113",
    command: "portforward: foo offered first",
    protocol: "WebSocket tunnel",
    given: "a client that knows a tunnel",
    when: "it offers foo before it",
    then: "the tunnel is chosen",
    play: (at) =>
      tunnelled(at, async (session) => {
        await pair(session, GREET, "0");
        await session.until(() => data(session, "0").isOver);
      }, ["foo", TUNNEL]),
    directly: {
      answer: /sec-websocket-protocol: SPDY\/3\.1\+portforward\.k8s\.io/,
      "stream 3 data of request 0": /7003/,
    },
  },
  {
    number: "E-114",
    command: "portforward: a text message",
    protocol: "WebSocket tunnel",
    given: "a tunnel, which is of binary messages",
    when: "a text message comes",
    then: "the connection ends",
    play: (at) =>
      tunnelled(at, async (session, { socket }) => {
        await pair(session, HOLD, "0");
        await socket.frame(OPCODE.TEXT, "hello");
      }),
    directly: { end: /^Close |^closed/ },
  },
  {
    number: "E-115",
    command: "portforward: 1 MiB and back",
    protocol: "WebSocket tunnel",
    given: "an API server whose messages come in fragments",
    when: "1 MiB goes to an echo",
    then: "it comes back whole",
    play: (at) =>
      tunnelled(at, async (session) => {
        await pair(session, ECHO, "0");
        for (let sent = 0; sent < 32; sent++) await session.data(3, new Uint8Array(32_768).fill(sent));
        await session.until(() => session.stream(3).bytes.length === 1 << 20);
        await session.data(3, "", true);
        await session.until(() => session.stream(3).isOver);
      }),
    directly: { "stream 3 data of request 0": /1048576 bytes/ },
  },
  {
    command: "portforward: a client that says Close",
    protocol: "WebSocket tunnel",
    given: "a tunnel with a connection",
    when: "the client says Close",
    then: "all ends",
    play: (at) =>
      tunnelled(at, async (session, { socket }) => {
        await pair(session, HOLD, "0");
        await socket.sendClose();
      }),
    directly: { end: /^Close |^closed/ },
  },
];
