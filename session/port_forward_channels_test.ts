import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { randomBytes } from "node:crypto";
import type { PortForwardChannelProtocol } from "../protocol/port_forward/mod.ts";
import { encodeClose, encodeFrame, FrameDecoder, OPCODE, type Opcode } from "../protocol/websocket/mod.ts";
import { echo, ForwardingKubelet, type Service } from "../tests/support/forwarding_kubelet.ts";
import { pipe, type PipeEnd } from "../tests/support/pipe.ts";
import { SpdyMux } from "../tests/support/spdy_mux.ts";
import { forwardChannels } from "./port_forward_channels.ts";
import type { ForwardedConnection, PortForwardOptions } from "./port_forward_splice.ts";
import type { SessionEnd } from "./stream_event.ts";

const DENIED = "port 5432 is not among those that may be forwarded (rule forwarded-port)";
const KEY = Uint8Array.of(1, 2, 3, 4);

/** A client of channels: what came on each, joined, and all else in order. */
class Client {
  readonly #decoder = new FrameDecoder({ role: "client" });
  readonly channels = new Map<number, Buffer>();
  /** `[0,80,0]`, `text 0UAA=`, `pong x`, `close 1000`: each message and control frame up to now. */
  readonly seen: string[] = [];
  readonly pings: Uint8Array[] = [];
  largest = 0;

  constructor(readonly end: PipeEnd, readonly isBase64: boolean) {}

  async send(channel: number, bytes: Uint8Array | string): Promise<void> {
    const data = Buffer.from(bytes);
    if (this.isBase64) {
      return await this.raw(OPCODE.TEXT, String.fromCharCode(0x30 + channel) + data.toString("base64"));
    }
    await this.raw(OPCODE.BINARY, Buffer.concat([Uint8Array.of(channel), data]));
  }

  async raw(opcode: Opcode, payload: Uint8Array | string, fin = true): Promise<void> {
    await this.end.write(encodeFrame(opcode, Buffer.from(payload), { key: KEY, fin }));
  }

  async close(code = 1000): Promise<void> {
    await this.end.write(encodeClose(code, "", { key: KEY }));
  }

  text(channel: number): string {
    return (this.channels.get(channel) ?? Buffer.alloc(0)).toString();
  }

  /** Reads until `done`, or to the end of the connection. A Close is answered as clients do. */
  async until(done: () => boolean): Promise<void> {
    while (!done()) {
      const chunk = await this.end.read();
      if (chunk === null) return;
      for (const event of this.#decoder.push(chunk)) {
        if (event.type === "close") {
          this.seen.push(`close ${event.code}`);
          this.close(event.code).catch(() => {});
        } else if (event.type === "data") this.#message(Buffer.from(event.bytes));
        else if (event.type === "ping") this.pings.push(event.payload);
        else this.seen.push(`pong ${Buffer.from(event.payload)}`);
      }
    }
  }

  #message(message: Buffer): void {
    this.largest = Math.max(this.largest, message.length);
    this.seen.push(this.isBase64 ? `text ${message}` : `[${[...message.subarray(0, 3)]}]`);
    const channel = this.isBase64 ? message[0]! - 0x30 : message[0]!;
    const bytes = this.isBase64 ? Buffer.from(message.subarray(1).toString(), "base64") : message.subarray(1);
    const before = this.channels.get(channel);
    // The first message of each is its port.
    this.channels.set(channel, before === undefined ? Buffer.alloc(0) : Buffer.concat([before, bytes]));
  }
}

interface Scene {
  client: Client;
  kubelet: ForwardingKubelet;
  kubeletEnd: PipeEnd;
  ended: Promise<SessionEnd>;
  reports: ForwardedConnection[];
  /** Ends as a client does. */
  finish(): Promise<SessionEnd>;
}

/** A client that has read the first message of each channel. */
async function scene(
  ports: number[],
  services: Record<number, Service>,
  { protocol = "v4.channel.k8s.io", ...options }: Partial<PortForwardOptions> & {
    protocol?: PortForwardChannelProtocol;
  } = {},
): Promise<Scene> {
  const [clientEnd, gatewayToClient] = pipe();
  const [gatewayToKubelet, kubeletEnd] = pipe();
  const reports: ForwardedConnection[] = [];
  const ended = forwardChannels(gatewayToClient, gatewayToKubelet, { protocol, ports }, {
    limits: { setupTimeoutMs: 20, idleTimeoutMs: 5_000, lingerMs: 200, probeMs: 20 },
    signal: new AbortController().signal,
    tap: { push: () => {} },
    checkPort: (port) => port === 5432 ? DENIED : undefined,
    onConnection: (report) => void reports.push(report),
    isLegacy: false,
    maxConnections: 100,
    ...options,
  });
  const kubelet = new ForwardingKubelet(kubeletEnd, services);
  const client = new Client(clientEnd, protocol.includes("base64"));
  const finish = async () => {
    await client.close();
    await client.until(() => false);
    const end = await ended;
    await kubelet.mux.ended;
    await kubelet.idle();
    return end;
  };
  await client.until(() => client.seen.length >= 2 * ports.length);
  return { client, kubelet, kubeletEnd, ended, reports, finish };
}

for (const protocol of ["v4.channel.k8s.io", "v4.base64.channel.k8s.io", ""] as const) {
  Deno.test(`E-108 ports are channels, told first and in order: ${protocol || "(none)"}`, async () => {
    const { client, kubelet, finish, reports } = await scene([80, 443], { 80: echo, 443: echo }, {
      protocol,
    });
    await client.send(0, "to 80");
    await client.send(2, "to 443");
    await client.until(() => client.text(0) === "to 80" && client.text(2) === "to 443");
    const first = client.isBase64
      ? ["text 0UAA=", "text 1UAA=", "text 2uwE=", "text 3uwE="]
      : ["[0,80,0]", "[1,80,0]", "[2,187,1]", "[3,187,1]"];
    assert.deepEqual(client.seen.slice(0, 4), first);
    assert.equal((await finish()).reason, "client_closed");
    assert.deepEqual([...kubelet.opened.values()], [
      { streamtype: "error", port: "80", requestid: "0" },
      { streamtype: "data", port: "80", requestid: "0" },
      { streamtype: "error", port: "443", requestid: "1" },
      { streamtype: "data", port: "443", requestid: "1" },
    ]);
    assert.deepEqual(reports.map(({ port, bytesIn, bytesOut }) => [port, bytesIn, bytesOut]), [[80, 5, 5], [
      443,
      6,
      6,
    ]]);
  });

  Deno.test(`a megabyte each way is whole, in messages of 32 KiB at most: ${protocol || "(none)"}`, async () => {
    const { client, finish } = await scene([80], { 80: echo }, { protocol });
    const bytes = randomBytes(1 << 20);
    const sending = (async () => {
      for (let at = 0; at < bytes.length; at += 50_000) await client.send(0, bytes.subarray(at, at + 50_000));
    })();
    await client.until(() => client.channels.get(0)?.length === bytes.length);
    await sending;
    assert.ok(client.channels.get(0)!.equals(bytes));
    assert.ok(client.largest <= 1 + (client.isBase64 ? Math.ceil(32_768 / 3) * 4 : 32_768));
    await finish();
  });
}

Deno.test("one port may be asked for twice, as two connections", async () => {
  const { client, finish } = await scene([80, 80], { 80: echo });
  await client.send(0, "one");
  await client.send(2, "two");
  await client.until(() => client.text(0) === "one" && client.text(2) === "two");
  await finish();
});

Deno.test("E-110 a refused port is told on its error channel, and the other one is not harmed", async () => {
  const { client, finish, reports } = await scene([81, 80], { 80: echo });
  await client.until(() => client.text(1) !== "");
  assert.equal(client.text(1), "error forwarding port 81 to pod web, uid : connect: connection refused");
  await client.send(2, "alive");
  await client.until(() => client.text(2) === "alive");
  assert.ok(!client.seen.some((line) => line.startsWith("close")));
  await finish();
  assert.deepEqual(reports.map(({ port, endedBy }) => [port, endedBy]), [[81, "upstream"], [80, "session"]]);
});

Deno.test("a denied port is told on its error channel, and nothing of it goes upstream", async () => {
  const { client, kubelet, finish, reports } = await scene([5432, 80], { 80: echo, 5432: echo });
  await client.send(0, "SELECT secret");
  await client.until(() => client.text(1) !== "");
  assert.equal(client.text(1), DENIED);
  await client.send(2, "alive");
  await client.until(() => client.text(2) === "alive");
  await finish();
  assert.ok([...kubelet.opened.values()].every(({ port }) => port === "80"));
  assert.deepEqual(reports.map(({ port, isDenied, bytesIn }) => [port, isDenied, bytesIn]), [
    [5432, true, 0],
    [
      80,
      undefined,
      5,
    ],
  ]);
});

Deno.test("a port beyond what may be open is told on its error channel", async () => {
  const { client, finish } = await scene([80, 80], { 80: echo }, { maxConnections: 1 });
  await client.until(() => client.text(3) !== "");
  assert.equal(client.text(3), "port 80 is not forwarded: too many connections are open");
  await client.send(0, "alive");
  await client.until(() => client.text(0) === "alive");
  await finish();
});

Deno.test("the WebSocket is closed by 1000 when every port has ended, behind all that they said", async () => {
  const say = (words: string): Service => (data) => data.write(words);
  const { client, kubelet, ended, reports } = await scene([80, 81, 82], {
    80: say("last"),
    82: say("words"),
  });
  await client.until(() => false);
  assert.deepEqual([client.text(0), client.text(4)], ["last", "words"]);
  assert.match(client.text(3), /connection refused/);
  assert.equal(client.seen.at(-1), "close 1000");
  const end = await ended;
  assert.deepEqual([end.reason, end.message], ["upstream_closed", "every forwarded connection has ended"]);
  await kubelet.mux.ended;
  await kubelet.idle();
  assert.equal(reports.length, 3);
});

Deno.test("a port that ended is silent, and what is sent to it goes nowhere", async () => {
  const { client, kubelet, finish } = await scene([80, 81], { 80: () => Promise.resolve(), 81: echo });
  await client.send(2, "one");
  await client.until(() => client.text(2) === "one");
  const before = client.seen.length;
  await client.send(0, "nobody");
  await client.send(2, "two");
  await client.until(() => client.text(2) === "onetwo");
  assert.deepEqual(client.seen.slice(before), ["[2,116,119]"]);
  await finish();
  assert.equal(kubelet.opened.size, 4);
});

const NOTHING = [
  { name: "an error channel", payload: Uint8Array.of(1, 65) },
  { name: "a channel of no port", payload: Uint8Array.of(2, 65) },
  { name: "channel 255", payload: Uint8Array.of(255, 0) },
  { name: "an empty message", payload: Uint8Array.of() },
  { name: "a channel without bytes", payload: Uint8Array.of(0) },
];
for (const { name, payload } of NOTHING) {
  Deno.test(`a message on ${name} says nothing`, async () => {
    const { client, finish, reports } = await scene([80], { 80: echo });
    await client.raw(OPCODE.BINARY, payload);
    await client.send(0, "x");
    await client.until(() => client.text(0) === "x");
    await finish();
    assert.equal(reports[0]!.bytesIn, 1);
  });
}

Deno.test("fragments of a message are one message: only its first byte is a channel", async () => {
  const { client, finish } = await scene([80, 81], { 80: echo, 81: echo });
  await client.raw(OPCODE.BINARY, Uint8Array.of(2, 97), false);
  await client.raw(OPCODE.CONTINUATION, Uint8Array.of(0, 98));
  await client.until(() => client.channels.get(2)?.length === 3);
  assert.equal(client.text(2), "a\0b");
  await finish();
});

Deno.test("a client that breaks the protocol is told the sentence, then Close 1002", async () => {
  const { client, kubelet, ended } = await scene([80], { 80: echo });
  client.end.write(encodeFrame(OPCODE.BINARY, Uint8Array.of(0, 65)));
  await client.until(() => false);
  assert.match(client.text(1), /^the client broke the protocol.*mask_missing/);
  assert.equal(client.seen.at(-1), "close 1002");
  assert.equal((await ended).reason, "protocol_error");
  await kubelet.mux.ended;
  await kubelet.idle();
});

Deno.test("base64 that none can hold ends the session by Close 1009", async () => {
  const { client, kubelet, ended } = await scene([80], { 80: echo }, {
    protocol: "v4.base64.channel.k8s.io",
  });
  const flood = client.raw(OPCODE.TEXT, `0${"A".repeat(1 << 20)}AAAA`).catch(() => {});
  await client.until(() => false);
  assert.equal(client.seen.at(-1), "close 1009");
  assert.equal((await ended).reason, "protocol_error");
  await flood;
  await kubelet.mux.ended;
  await kubelet.idle();
});

Deno.test("a kubelet that is lost is told on the error channels, then by Close 1000", async () => {
  const { client, kubelet, kubeletEnd, ended } = await scene([80, 81], { 80: echo, 81: echo });
  await client.send(2, "x");
  await client.until(() => client.text(2) === "x");
  kubeletEnd.lose();
  await client.until(() => false);
  for (const channel of [1, 3]) assert.equal(client.text(channel), "the connection to the upstream was lost");
  assert.equal(client.seen.at(-1), "close 1000");
  assert.equal((await ended).reason, "upstream_vanished");
  await kubelet.mux.ended;
  await kubelet.idle();
});

Deno.test("a client that is lost without a Close has vanished", async () => {
  const { client, kubelet, ended } = await scene([80], { 80: echo });
  client.end.close();
  assert.equal((await ended).reason, "client_vanished");
  await kubelet.mux.ended;
  await kubelet.idle();
});

const PATIENCE: { name: string; pings: boolean; answers: boolean; reason?: string }[] = [
  { name: "that never pinged, and answers nothing, is kept", pings: false, answers: false },
  { name: "that pinged, and answers, is kept", pings: true, answers: true },
  {
    name: "that pinged, and answers no more, is given up",
    pings: true,
    answers: false,
    reason: "client_vanished",
  },
];
for (const { name, pings, answers, reason } of PATIENCE) {
  Deno.test(`a client ${name}`, async () => {
    const limits = { setupTimeoutMs: 20, idleTimeoutMs: 5_000, lingerMs: 50, pingMs: 20, silenceMs: 100 };
    const { client, kubelet, kubeletEnd, ended } = await scene([80], { 80: echo }, { limits });
    kubelet.mux.answersPings = true;
    if (pings) await client.raw(OPCODE.PING, "x");
    let answered = 0;
    // One that once answered can be missed: so the last of them answers the first question too.
    const reading = client.until(() => {
      for (const payload of client.pings.splice(0)) {
        if (answers || answered === 0) client.raw(OPCODE.PONG, payload).catch(() => {});
        answered++;
      }
      return false;
    });
    const over = ended.then((end) => end.reason);
    assert.equal(await Promise.race([over, new Promise((tick) => setTimeout(tick, 600, undefined))]), reason);
    assert.ok(answered > 1, "it was asked more than once");
    client.end.close();
    kubeletEnd.close();
    await Promise.all([ended, reading, kubelet.mux.ended]);
    await kubelet.idle();
  });
}

Deno.test("a client's pings are answered, whatever else goes on", async () => {
  const { client, finish } = await scene([80], { 80: echo });
  await client.raw(OPCODE.PING, "are you there");
  await client.until(() => client.seen.includes("pong are you there"));
  await finish();
});

Deno.test("what the client does not take is not read from the kubelet: no buffer grows", async () => {
  const [clientEnd, gatewayToClient] = pipe();
  const [gatewayToKubelet, kubeletEnd] = pipe();
  const ended = forwardChannels(gatewayToClient, gatewayToKubelet, { protocol: "", ports: [80] }, {
    limits: { setupTimeoutMs: 20, idleTimeoutMs: 5_000, lingerMs: 50 },
    signal: new AbortController().signal,
    tap: { push: () => {} },
    checkPort: () => undefined,
    onConnection: () => {},
    isLegacy: false,
    maxConnections: 1,
  });
  const client = new Client(clientEnd, false);
  const flooded = Promise.withResolvers<void>();
  let sent = 0;
  const kubelet = new SpdyMux(kubeletEnd, async (stream) => {
    await stream.accept();
    if (stream.headers.get("streamtype") !== "data") return;
    flooded.resolve();
    for (; sent < 1000 && !isOver; sent++) await stream.write(new Uint8Array(32_768));
  });
  let isOver = false;
  await client.until(() => client.seen.length === 2);
  await flooded.promise;
  await new Promise((resolve) => setTimeout(resolve, 30));
  assert.ok(sent < 4, `${sent} blocks were taken`);
  isOver = true;
  clientEnd.lose();
  await ended;
  await kubelet.ended;
});
