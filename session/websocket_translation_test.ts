import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import type { ChannelProtocol, RequestedStreams } from "../protocol/remote_command/mod.ts";
import { encodeClose, encodeFrame, FrameDecoder, OPCODE } from "../protocol/websocket/mod.ts";
import { pipe, type PipeEnd } from "../tests/support/pipe.ts";
import { SpdyPeer } from "../tests/support/spdy_peer.ts";
import { refuseWebSocket } from "./error_channel.ts";
import type { SessionEnd, Tap } from "./stream_event.ts";
import type { SessionLimits } from "./lifetime.ts";
import { StreamLedger } from "./stream_ledger.ts";
import { translateWebSocket, type TranslationOptions } from "./websocket_translation.ts";

const LIMITS = { setupTimeoutMs: 5_000, idleTimeoutMs: 5_000, lingerMs: 200 };
const SUCCESS = '{"metadata":{},"status":"Success"}';
const EXIT_3 = '{"metadata":{},"status":"Failure","message":"of the runtime","reason":"NonZeroExitCode",' +
  '"details":{"causes":[{"reason":"ExitCode","message":"3"}]}}';
const ALL: RequestedStreams = { stdin: true, stdout: true, stderr: true, tty: false };
const KEY = Uint8Array.of(1, 2, 3, 4);

/** What a WebSocket client read: `1:text` for a message of channel 1, `close 1000`, `pong x`. */
class Client {
  readonly #decoder = new FrameDecoder({ role: "client" });
  readonly #seen: string[] = [];
  constructor(readonly end: PipeEnd) {}

  async send(channel: number, text: string): Promise<void> {
    await this.raw(
      encodeFrame(OPCODE.BINARY, Buffer.concat([Uint8Array.of(channel), Buffer.from(text)]), { key: KEY }),
    );
  }

  async raw(bytes: Uint8Array): Promise<void> {
    await this.end.write(bytes);
  }

  async next(): Promise<string | null> {
    while (this.#seen.length === 0) {
      const chunk = await this.end.read();
      if (chunk === null) return null;
      for (const event of this.#decoder.push(chunk)) {
        if (event.type === "close") this.#seen.push(`close ${event.code}`);
        else if (event.type !== "data") this.#seen.push(`${event.type} ${Buffer.from(event.payload)}`);
        else if (event.kind === "text") this.#seen.push(`text ${Buffer.from(event.bytes)}`);
        else this.#seen.push(`${event.bytes[0]}:${Buffer.from(event.bytes.subarray(1))}`);
      }
    }
    return this.#seen.shift()!;
  }

  /** All that comes up to the Close, which is answered as clients do. */
  async rest(): Promise<string[]> {
    const lines: string[] = [];
    for (let line = await this.next(); line !== null; line = await this.next()) {
      lines.push(line);
      if (line.startsWith("close")) this.end.close();
    }
    return lines;
  }
}

interface Scene {
  client: Client;
  kubelet: SpdyPeer;
  kubeletEnd: PipeEnd;
  ended: Promise<SessionEnd>;
  ledger: StreamLedger;
}

type Options = Partial<Pick<TranslationOptions, "purpose" | "tap">> & { limits?: Partial<SessionLimits> };

function scene(protocol: ChannelProtocol, requested = ALL, options: Options = {}): Scene {
  const [clientEnd, gatewayToClient] = pipe();
  const [gatewayToKubelet, kubeletEnd] = pipe();
  const ledger = new StreamLedger();
  const ended = translateWebSocket(gatewayToClient, gatewayToKubelet, {
    protocol,
    requested,
    tap: ledger,
    signal: new AbortController().signal,
    ...options,
    limits: { ...LIMITS, ...options.limits },
  });
  return { client: new Client(clientEnd), kubelet: new SpdyPeer(kubeletEnd), kubeletEnd, ended, ledger };
}

/** The same, with all streams accepted by the kubelet and the greeting read. */
async function opened(
  protocol: ChannelProtocol,
  requested = ALL,
  options: Options = {},
): Promise<Scene & { names: string[] }> {
  const all = scene(protocol, requested, options);
  await all.client.next();
  const count = 1 +
    [requested.stdin, requested.stdout, requested.stderr && !requested.tty, requested.tty].filter(Boolean)
      .length;
  const streams = await all.kubelet.take(count);
  const names = streams.map((frame) =>
    frame.type === "syn_stream" ? `${frame.id} ${frame.headers.get("streamtype")}` : ""
  );
  for (const frame of streams) {
    if (frame.type === "syn_stream") {
      await all.kubelet.send({ type: "syn_reply", id: frame.id, fin: false, headers: new Map() });
    }
  }
  return { ...all, names };
}

/** The end of a command, in an order in which the status comes before the output. */
async function finish({ kubelet }: Scene, status: string): Promise<void> {
  await kubelet.data(1, status);
  await kubelet.send({ type: "rst_stream", id: 1, status: 5 });
  await kubelet.data(5, "late output", true);
  await kubelet.data(7, "", true);
  await kubelet.send({ type: "goaway", lastGoodId: 7, status: 0 });
  kubelet.close();
}

const STREAMS = [
  { name: "all but a tty", requested: ALL, want: ["1 error", "3 stdin", "5 stdout", "7 stderr"] },
  { name: "a tty", requested: { ...ALL, tty: true }, want: ["1 error", "3 stdin", "5 stdout", "7 resize"] },
  { name: "stdout", requested: { ...ALL, stdin: false, stderr: false }, want: ["1 error", "3 stdout"] },
];
Deno.test("stdin that a kubelet takes no more, for its command has ended, costs no word of what it said before", async () => {
  const all = await opened("v5.channel.k8s.io", ALL, { limits: { lingerMs: 5_000 } });
  const { client, kubelet, ended } = all;
  const said = Promise.all([kubelet.data(5, "output"), kubelet.data(1, EXIT_3)]);
  kubelet.close(); // the client has read nothing yet, and so the gateway has not read all
  await client.send(0, "typed too late");
  const [, lines, { reason, exitCode }] = await Promise.all([said, client.rest(), ended]);
  assert.deepEqual(lines.map((line) => line.slice(0, 8)), ["1:output", '3:{"meta', "close 10"]);
  assert.deepEqual([reason, exitCode], ["command_ended", 3]);
});

for (const { name, requested, want } of STREAMS) {
  Deno.test("a connection that the kubelet resets when the command's end is told is no loss", async () => {
    const all = await opened("v5.channel.k8s.io");
    await all.kubelet.data(1, '{"metadata":{},"status":"Success"}');
    all.kubeletEnd.lose();
    const [lines, { reason, exitCode }] = await Promise.all([all.client.rest(), all.ended]);
    assert.deepEqual([reason, exitCode], ["command_ended", 0]);
    assert.deepEqual(lines, ['3:{"metadata":{},"status":"Success"}', "close 1000"]);
  });

  Deno.test(`translateWebSocket opens the streams of ${name} as client-go does`, async () => {
    const all = await opened("v5.channel.k8s.io", requested);
    assert.deepEqual(all.names, want);
    all.client.end.close();
    await all.ended;
  });
}

const GREETINGS = [
  { requested: ALL, want: "1:" },
  { requested: { ...ALL, stdout: false }, want: "2:" },
  { requested: { ...ALL, stdout: false, stderr: false }, want: "3:" },
];
for (const { requested, want } of GREETINGS) {
  Deno.test(`E-73 the first message is ${want} with nothing in it`, async () => {
    const { client, kubelet, ended } = scene("v4.channel.k8s.io", requested);
    assert.equal(await client.next(), want);
    kubelet.close();
    client.end.close();
    await ended;
  });
}

const ENDS: { name: string; protocol: ChannelProtocol; status: string; want: string[] }[] = [
  {
    name: "v4 passes the runtime's document on",
    protocol: "v4.channel.k8s.io",
    status: EXIT_3,
    want: ["1:late output", `3:${EXIT_3}`, "close 1000"],
  },
  {
    name: "E-96 v5 has the API server's words",
    protocol: "v5.channel.k8s.io",
    status: EXIT_3,
    want: [
      "1:late output",
      '3:{"metadata":{},"status":"Failure","message":"command terminated with non-zero exit code: command terminated with exit code 3",' +
      '"reason":"NonZeroExitCode","details":{"causes":[{"reason":"ExitCode","message":"3"}]}}',
      "close 1000",
    ],
  },
  {
    name: "v5 says success",
    protocol: "v5.channel.k8s.io",
    status: SUCCESS,
    want: ["1:late output", `3:${SUCCESS}`, "close 1000"],
  },
  {
    name: "v1 says nothing on success",
    protocol: "channel.k8s.io",
    status: SUCCESS,
    want: ["1:late output", "close 1000"],
  },
  {
    name: "v1 has the message as text",
    protocol: "channel.k8s.io",
    status: EXIT_3,
    want: ["1:late output", "3:of the runtime", "close 1000"],
  },
  {
    name: "base64 has text frames",
    protocol: "v4.base64.channel.k8s.io",
    status: SUCCESS,
    want: [
      `text 1${Buffer.from("late output").toString("base64")}`,
      `text 3${Buffer.from(SUCCESS).toString("base64")}`,
      "close 1000",
    ],
  },
];
for (const { name, protocol, status, want } of ENDS) {
  Deno.test(`output, then one status, then Close 1000: ${name}`, async () => {
    const all = await opened(protocol);
    const [, lines] = await Promise.all([finish(all, status), all.client.rest()]);
    assert.deepEqual(lines, want);
    const end = await all.ended;
    assert.deepEqual([end.reason, end.exitCode], ["command_ended", status === SUCCESS ? 0 : 3]);
  });
}

const LOSSES: { name: string; leave: (scene: Scene) => void | Promise<void> }[] = [
  { name: "closed", leave: ({ kubelet }) => kubelet.close() },
  { name: "lost", leave: ({ kubeletEnd }) => kubeletEnd.lose() },
  {
    name: "ended by GOAWAY",
    leave: ({ kubelet }) => kubelet.send({ type: "goaway", lastGoodId: 0, status: 0 }),
  },
];
for (const { name, leave } of LOSSES) {
  Deno.test(`an upstream ${name} without a status is a Failure and Close 1000, without which Go forgets the status`, async () => {
    const all = await opened("v5.channel.k8s.io");
    const [, lines] = await Promise.all([leave(all), all.client.rest()]);
    assert.equal(lines.length, 2);
    assert.match(lines[0]!, /^3:.*"status":"Failure"/);
    assert.equal(lines[1], "close 1000");
    assert.match((await all.ended).reason, /^upstream_/);
  });
}

Deno.test("E-71 E-76 E-79 stdin, its end on v5, and nothing after it", async () => {
  const all = await opened("v5.channel.k8s.io");
  const { client, kubelet } = all;
  await Promise.all([
    client.send(0, "abc"),
    kubelet.take(1).then(([frame]) =>
      assert.deepEqual(frame, { type: "data", id: 3, text: "abc", fin: false })
    ),
  ]);
  await Promise.all([
    client.raw(encodeFrame(OPCODE.BINARY, Uint8Array.of(255, 0), { key: KEY })),
    kubelet.take(1).then(([frame]) => assert.deepEqual(frame, { type: "data", id: 3, text: "", fin: true })),
  ]);
  await client.send(0, "too late");
  const [, lines] = await Promise.all([finish(all, SUCCESS), client.rest()]);
  assert.equal(lines.at(-1), "close 1000");
  const stdin = (await all.ended, all.ledger.summaries().find(({ name }) => name === "stdin"));
  assert.equal(stdin?.bytesIn, 3);
});

Deno.test("stdin that comes before the kubelet accepted the streams waits for that, and is not lost", async () => {
  const { client, kubelet, ended, ledger } = scene("v5.channel.k8s.io");
  const sending = client.send(0, "early");
  const streams = await Promise.all([kubelet.take(4), client.next()]).then(([frames]) => frames);
  const replies = streams.flatMap((frame) => frame.type === "syn_stream" ? [frame.id] : [])
    .map((id) => ({ type: "syn_reply" as const, id, fin: false, headers: new Map() }));
  await kubelet.send(...replies);
  assert.deepEqual(await kubelet.next(), { type: "data", id: 3, text: "early", fin: false });
  await sending;
  client.end.close();
  await ended;
  assert.equal(ledger.summaries().find(({ name }) => name === "stdin")?.bytesIn, 5, "it is counted, too");
});

Deno.test("E-83 a message in fragments is one message", async () => {
  const { client, kubelet, ended } = await opened("v4.channel.k8s.io");
  const heard = kubelet.rest();
  await client.raw(encodeFrame(OPCODE.BINARY, Buffer.from("\0ab"), { key: KEY, fin: false }));
  await client.raw(encodeFrame(OPCODE.CONTINUATION, Buffer.from("\x04c"), { key: KEY }));
  await client.raw(encodeClose(1000, "", { key: KEY }));
  await client.rest();
  await ended;
  const texts = (await heard).flatMap((frame) => frame.type === "data" ? [[frame.id, frame.text]] : []);
  assert.deepEqual(texts, [[3, "ab"], [3, "\x04c"]]);
});

Deno.test("E-61 a size that is none ends resizing and nothing else", async () => {
  const { client, kubelet, ended } = await opened("v5.channel.k8s.io", { ...ALL, tty: true });
  const heard = kubelet.rest();
  for (const size of ['{"Width":80,"Height":24}', '{"Width":70000,"Height":1}', '{"Width":1,"Height":1}']) {
    await client.send(4, size);
  }
  await client.send(0, "still here");
  await client.raw(encodeClose(1000, "", { key: KEY }));
  await client.rest();
  await ended;
  const texts = (await heard).flatMap((frame) => frame.type === "data" ? [frame.text] : []);
  assert.deepEqual(texts, ['{"Width":80,"Height":24}\n', "still here"]);
});

Deno.test("a ping is answered with its payload", async () => {
  const { client, ended } = await opened("v5.channel.k8s.io");
  const [, pong] = await Promise.all([
    client.raw(encodeFrame(OPCODE.PING, Buffer.from("x"), { key: KEY })),
    client.next(),
  ]);
  assert.equal(pong, "pong x");
  client.end.close();
  assert.equal((await ended).reason, "client_vanished");
});

Deno.test("E-91 a client that says Close is answered with 1000, and the upstream is closed", async () => {
  const { client, kubelet, ended } = await opened("v5.channel.k8s.io");
  const [, lines, upstream] = await Promise.all([
    client.raw(encodeClose(1001, "", { key: KEY })),
    client.rest(),
    kubelet.rest(),
  ]);
  assert.deepEqual(lines, ["close 1000"]);
  assert.equal(upstream.at(-1)?.type, "goaway");
  assert.equal((await ended).reason, "client_closed");
});

Deno.test("E-85 an unmasked frame is answered with Close 1002, after a Failure", async () => {
  const { client, ended } = await opened("v5.channel.k8s.io");
  const [, lines] = await Promise.all([
    client.raw(encodeFrame(OPCODE.BINARY, Uint8Array.of(0, 1))),
    client.rest(),
  ]);
  assert.match(
    lines[0]!,
    /^3:.*the client broke the protocol in its frame 1: frame is not masked \(mask_missing\)/,
  );
  assert.equal(lines[1], "close 1002");
  assert.equal((await ended).reason, "protocol_error");
});

Deno.test("a kubelet that refuses a stream ends the session as a failure", async () => {
  const { client, kubelet, ended } = scene("v5.channel.k8s.io");
  const refusing = kubelet.take(4).then(() => kubelet.send({ type: "rst_stream", id: 5, status: 5 }));
  const [, lines] = await Promise.all([refusing, client.rest()]);
  assert.match(lines[1]!, /^3:.*the kubelet refused the stdout stream/);
  assert.equal((await ended).reason, "upstream_refused");
});

Deno.test("E-86 stdin that nobody takes is not read from the client, which gets pongs and is missed when it is gone", async () => {
  const { client, ended } = await opened("v5.channel.k8s.io", ALL, { limits: { probeMs: 10 } });
  let sent = 0;
  const flood = (async () => {
    for (; sent < 1000; sent++) await client.send(0, "x".repeat(32_768));
  })().catch(() => {});
  assert.equal(await client.next(), "pong ");
  assert.equal(await client.next(), "pong ");
  assert.ok(sent < 4, `${sent} messages were taken`);
  client.end.lose();
  assert.equal((await ended).reason, "client_vanished");
  await flood;
});

Deno.test("a fault of a channel names its frame, too", async () => {
  const { client, ended } = await opened("v5.channel.k8s.io");
  await client.raw(encodeFrame(OPCODE.PONG, new Uint8Array(), { key: KEY }));
  const [, lines] = await Promise.all([
    client.raw(encodeFrame(OPCODE.BINARY, Uint8Array.of(255, 9), { key: KEY })),
    client.rest(),
  ]);
  assert.match(lines[0]!, /^3:.*the client broke the protocol in its frame 2: .*\(channel_close_invalid\)/);
  assert.equal((await ended).reason, "protocol_error");
});

Deno.test("pings of a client that takes no output are no reason not to hear it: its stdin goes on", async () => {
  const { client, kubelet, ended } = await opened("v5.channel.k8s.io");
  await kubelet.data(5, "nobody reads this");
  await client.raw(encodeFrame(OPCODE.PING, Buffer.from("1"), { key: KEY }));
  await Promise.all([
    client.send(0, "\x03"),
    kubelet.next().then((frame) => assert.equal(frame?.type === "data" && frame.text, "\x03")),
  ]);
  client.end.lose();
  await ended;
});

Deno.test("E-33 a ping of the kubelet is echoed, and goes no further", async () => {
  const { client, kubelet, ended } = await opened("v5.channel.k8s.io");
  await Promise.all([
    kubelet.send({ type: "ping", id: 2 }),
    kubelet.next().then((frame) => assert.deepEqual(frame, { type: "ping", id: 2 })),
  ]);
  client.end.close();
  await ended;
});

/** Reads all that comes; pings of the first `rounds` rounds are answered. */
async function answer(client: Client, rounds: number): Promise<string[]> {
  const lines: string[] = [];
  for (let line = await client.next(); line !== null; line = await client.next()) {
    const [type, payload = ""] = line.split(" ");
    lines.push(line);
    if (type === "close") client.end.close();
    if (type !== "ping" || rounds-- <= 0) continue;
    await client.raw(encodeFrame(OPCODE.PONG, Buffer.from(payload), { key: KEY })).catch(() => {});
  }
  return lines;
}

/** The same for a kubelet, whose rounds are of five pings. */
async function echo(kubelet: SpdyPeer, rounds: number): Promise<void> {
  let count = 0;
  for (let frame = await kubelet.next(); frame !== null; frame = await kubelet.next()) {
    if (frame.type === "ping" && count++ < 5 * rounds) await kubelet.send(frame).catch(() => {});
  }
}

const CARE = { pingMs: 10, silenceMs: 40, idleTimeoutMs: 200 };
const SILENT = [
  {
    name: "a client that pings itself, and answers no more",
    pings: true,
    client: 1,
    kubelet: Infinity,
    want: "client_vanished",
  },
  {
    name: "a client that may answer only while its program reads",
    pings: false,
    client: 1,
    kubelet: Infinity,
    want: "idle_limit",
  },
  {
    name: "a kubelet that answers no more",
    pings: false,
    client: Infinity,
    kubelet: 1,
    want: "upstream_vanished",
  },
  { name: "two who answer", pings: true, client: Infinity, kubelet: Infinity, want: "idle_limit" },
];
for (const { name, pings, client: clientRounds, kubelet: kubeletRounds, want } of SILENT) {
  Deno.test(`a session without a word between ${name} ends as ${want}`, async () => {
    const { client, kubelet, ended } = await opened("v5.channel.k8s.io", ALL, { limits: CARE });
    const kubeletDone = echo(kubelet, kubeletRounds);
    if (pings) await client.raw(encodeFrame(OPCODE.PING, Buffer.from("1"), { key: KEY }));
    const lines = await answer(client, clientRounds);
    const end = await ended;
    assert.equal(end.reason, want);
    if (want === "client_vanished") assert.doesNotMatch(lines.join("\n"), /^3:/m, "nobody is told");
    kubelet.close();
    await kubeletDone;
  });
}

Deno.test("a session that reaches its time limit says so", async () => {
  const { client, ended } = await opened("v5.channel.k8s.io", ALL, { limits: { timeLimitMs: 20 } });
  const lines = await client.rest();
  assert.match(lines[0]!, /^3:.*the session reached its time limit of 20ms/);
  assert.equal(lines[1], "close 1000");
  assert.equal((await ended).reason, "time_limit");
});

for (const [direction, stream] of [["in", "stdin"], ["out", "stdout"]] as const) {
  Deno.test(`a tap that rejects ${stream} ends the session with a sentence, and nothing that it did not see is forwarded`, async () => {
    const tap: Tap = {
      push: (event) => event.type === "data" ? Promise.reject(new Error("disk full")) : undefined,
    };
    const { client, kubelet, ended } = await opened("v5.channel.k8s.io", ALL, { tap });
    const heard = kubelet.rest();
    const secret = direction === "in" ? client.send(0, "secret") : kubelet.data(5, "secret");
    const [, lines] = await Promise.all([secret, client.rest()]);
    assert.match(lines[0]!, /^3:.*the audit log cannot be written, so the session ends/);
    assert.equal(lines[1], "close 1000");
    const end = await ended;
    assert.deepEqual([end.reason, end.by], ["audit_failure", "gateway"]);
    assert.equal((await heard).some(({ type }) => type === "data"), false);
  });
}

Deno.test("an attach claims no exit code of its container", async () => {
  const all = await opened("v5.channel.k8s.io", ALL, { purpose: "attach" });
  const [, lines] = await Promise.all([finish(all, SUCCESS), all.client.rest()]);
  assert.deepEqual(lines.slice(1), [`3:${SUCCESS}`, "close 1000"]);
  const end = await all.ended;
  assert.equal(end.reason, "command_ended");
  assert.equal(end.message, "the container's process ended, or the session detached from it");
  assert.equal(end.exitCode, undefined);
});

Deno.test("refuseWebSocket says why on the error channel and closes with 1000", async () => {
  const [end, gateway] = pipe();
  const client = new Client(end);
  const refusing = refuseWebSocket(gateway, {
    protocol: "v5.channel.k8s.io",
    requested: ALL,
    lingerMs: 200,
    document: Buffer.from('{"status":"Failure"}'),
  });
  assert.deepEqual(await client.rest(), ["1:", '3:{"status":"Failure"}', "close 1000"]);
  await refusing;
});

Deno.test("a client that waits for the connection's end reads it right after the Close", async () => {
  const { client, kubelet, ended } = await opened("v4.channel.k8s.io", ALL, { limits: { lingerMs: 5_000 } });
  const startedAt = performance.now();
  const leaving = kubelet.send({ type: "goaway", lastGoodId: 7, status: 0 }).then(() => kubelet.close());
  for (let line = await client.next(); line !== null; line = await client.next());
  assert.ok(performance.now() - startedAt < 2_500, "the gateway does not wait for the client to close");
  client.end.close();
  await Promise.all([leaving, ended]);
});
