import assert from "node:assert/strict";
import { encodeChannel } from "../protocol/remote_command/mod.ts";
import { FrameEncoder, synStream } from "../protocol/spdy/mod.ts";
import { CLOSE_CODE, encodeClose, FrameDecoder, type WebSocketEvent } from "../protocol/websocket/mod.ts";
import { pipe, PipeEnd } from "../tests/support/pipe.ts";
import { SpdyPeer } from "../tests/support/spdy_peer.ts";
import type { ByteConnection } from "./byte_connection.ts";
import { WebSocketUpstream, type WebSocketUpstreamProtocol } from "./websocket_upstream.ts";

const utf8 = (text: string) => new TextEncoder().encode(text);
const SUCCESS = '{"metadata":{},"status":"Success"}';

/** The upstream between a SPDY peer, which is what a splice is, and a server that is written by hand. */
function between(
  protocol: "v4.channel.k8s.io" | "v2.channel.k8s.io" = "v4.channel.k8s.io",
  expectedStreams = 4,
  { channels = "v5.channel.k8s.io", hasTerminal = false }: {
    channels?: WebSocketUpstreamProtocol;
    hasTerminal?: boolean;
  } = {},
) {
  const [near, far] = pipe();
  const options = { protocol, channels, expectedStreams, hasTerminal, lingerMs: 100 };
  const upstream = new WebSocketUpstream(near, options);
  return { peer: new SpdyPeer(upstream), server: new Server(far), upstream };
}

class Server {
  readonly #decoder = new FrameDecoder({ role: "server" });
  #events: WebSocketEvent[] = [];

  constructor(readonly connection: ByteConnection) {}

  /** A write is taken when it is read, which is not waited for. */
  say(channel: number, text: string): void {
    this.connection.write(encodeChannel("v5.channel.k8s.io", channel, utf8(text))).catch(() => {});
  }

  close(): void {
    this.connection.write(encodeClose(CLOSE_CODE.NORMAL)).catch(() => {});
  }

  /** The next message: its channel, and its bytes as text. */
  async hear(): Promise<[number, string]> {
    for (;;) {
      const event = this.#events.shift();
      if (event?.type === "data") return [event.bytes[0]!, new TextDecoder().decode(event.bytes.slice(1))];
      if (event !== undefined) continue;
      const chunk = await this.connection.read();
      if (chunk === null) throw new Error("the connection has ended");
      for (const each of this.#decoder.push(chunk)) {
        this.#events.push(each.type === "data" ? { ...each, bytes: each.bytes.slice() } : each);
      }
    }
  }
}

const short = (frames: readonly { type: string; id?: number; text?: string; fin?: boolean }[]) =>
  frames.map(({ type, id, text, fin }) =>
    [type, id, text, fin].filter((each) => each !== undefined).join(" ")
  );

Deno.test("WebSocketUpstream answers what a kubelet would, and carries stdin, its end, output and status", async () => {
  const { peer, server } = between();
  await peer.open("error", "stdin", "stdout", "stderr");
  assert.deepEqual(short(await peer.take(4)), [1, 3, 5, 7].map((id) => `syn_reply ${id} false`));
  const typed = [peer.data(3, "typed"), peer.data(3, "", true)];
  assert.deepEqual([await server.hear(), await server.hear()], [[0, "typed"], [255, "\0"]]);
  await Promise.all(typed);
  server.say(1, "");
  server.say(1, "said");
  server.say(2, "wrong");
  server.say(3, SUCCESS);
  server.close();
  assert.deepEqual(short(await peer.take(8)), [
    "data 5 said false",
    "data 7 wrong false",
    "data 5  true",
    "data 7  true",
    `data 1 ${SUCCESS} false`,
    "rst_stream 1",
    "rst_stream 3",
    "goaway",
  ]);
  peer.close();
});

Deno.test("WebSocketUpstream reads nothing before all streams are open, so that no output is lost", async () => {
  const { peer, server } = between();
  server.say(1, "early");
  await peer.open("error", "stdin", "stdout", "stderr");
  const frames = short(await peer.take(5));
  assert.equal(frames.at(-1), "data 5 early false");
  peer.close();
});

Deno.test("WebSocketUpstream tells a status as text where the client's protocol has no documents", async () => {
  const { peer, server } = between("v2.channel.k8s.io", 2);
  await peer.open("error", "stdout");
  await peer.take(2);
  server.say(3, '{"metadata":{},"status":"Failure","message":"it broke"}');
  server.close();
  assert.deepEqual(short(await peer.take(2)), ["data 3  true", "data 1 it broke false"]);
  peer.close();
});

Deno.test("WebSocketUpstream takes an end without Close for a loss, whatever status was told before", async () => {
  const { peer, server } = between("v4.channel.k8s.io", 2);
  await peer.open("error", "stdout");
  await peer.take(2);
  server.say(3, SUCCESS);
  server.connection.close();
  await assert.rejects(peer.next(), /without a Close/);
  peer.close();
});

Deno.test("WebSocketUpstream cuts stdin into messages that Go servers take as one frame", async () => {
  const { peer, server } = between("v4.channel.k8s.io", 2);
  await peer.open("error", "stdin");
  await peer.take(2);
  const sent = peer.data(3, "x".repeat(70_000));
  const lengths = [];
  for (let index = 0; index < 3; index++) lengths.push((await server.hear())[1].length);
  await sent;
  assert.deepEqual(lengths, [32768, 32768, 4464]);
  peer.close();
});

Deno.test("WebSocketUpstream that is closed before anything was said ends its reader", async () => {
  const { peer, upstream } = between();
  const next = peer.next();
  upstream.close();
  assert.equal(await next, null);
});

for (const protocol of ["v4.channel.k8s.io", "v2.channel.k8s.io"] as const) {
  Deno.test(`attack: a Close before any status is a loss, and never ${protocol}'s exit code 0`, async () => {
    const { peer, server } = between(protocol, 2);
    await peer.open("error", "stdout");
    await peer.take(2);
    server.say(1, "half");
    server.close();
    assert.deepEqual(short(await peer.take(1)), ["data 3 half false"]);
    await assert.rejects(peer.next(), /closed before the command's status/);
    peer.close();
  });
}

Deno.test("WebSocketUpstream counts no streams that a kubelet does not, so none of the output comes too early (E-58)", async () => {
  const { peer, server } = between("v4.channel.k8s.io", 3);
  await peer.open("foo", "error", "stdout");
  await peer.take(3);
  server.say(2, "wrong");
  const next = peer.take(2);
  await new Promise((resolve) => setTimeout(resolve, 5));
  await peer.send(synStream(7, { streamtype: "stderr" }));
  assert.deepEqual(short(await next), ["syn_reply 7 false", "data 7 wrong false"]);
  peer.close();
});

const ENDS = [
  { name: "FIN", end: (peer: SpdyPeer) => peer.data(3, "", true) },
  { name: "RST", end: (peer: SpdyPeer) => peer.send({ type: "rst_stream", id: 3, status: 5 }) },
];
for (const { name, end } of ENDS) {
  Deno.test(`WebSocketUpstream ends stdin at its ${name}, once, and takes nothing after it (E-79)`, async () => {
    const { peer, server } = between("v4.channel.k8s.io", 4, { hasTerminal: true });
    await peer.open("error", "stdin", "stdout", "resize");
    await peer.take(4);
    const said = [end(peer), peer.data(3, "late"), peer.data(3, "", true), peer.data(7, '{"Width":1}')];
    assert.deepEqual([await server.hear(), await server.hear()], [[255, "\0"], [4, '{"Width":1}']]);
    await Promise.all(said);
    peer.close();
  });
}

Deno.test("WebSocketUpstream that speaks v4 cannot end stdin, and says nothing that v4 has not", async () => {
  const { peer, server } = between("v4.channel.k8s.io", 3, {
    channels: "v4.channel.k8s.io",
    hasTerminal: true,
  });
  await peer.open("error", "stdin", "resize");
  await peer.take(3);
  const said = [peer.data(3, "x", true), peer.data(5, '{"Width":1}')];
  assert.deepEqual([await server.hear(), await server.hear()], [[0, "x"], [4, '{"Width":1}']]);
  await Promise.all(said);
  peer.close();
});

Deno.test("attack: sizes without a terminal, which stop API servers for ever, never reach one (E-62)", async () => {
  const { peer, server } = between("v4.channel.k8s.io", 3);
  await peer.open("error", "stdin", "resize");
  await peer.take(3);
  const said = [peer.data(5, '{"Width":1}'), peer.data(5, '{"Width":2}', true), peer.data(3, "x")];
  assert.deepEqual(await server.hear(), [0, "x"]);
  await Promise.all(said);
  peer.close();
});

Deno.test("WebSocketUpstream reads its server only as it is read itself", async () => {
  const { peer, server } = between("v4.channel.k8s.io", 2);
  await peer.open("error", "stdout");
  await peer.take(2);
  const before = pending(server);
  for (let count = 0; count < 50; count++) server.say(1, "x".repeat(10_000));
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert.ok(pending(server) - before > 490_000, `${pending(server)} bytes wait`);
  await peer.take(50);
  peer.close();
});

Deno.test("attack: an hour of output fills no memory, whoever reads it", async () => {
  const frame = encodeChannel("v5.channel.k8s.io", 1, new Uint8Array(16_000).fill(1));
  let [heldBuffers, reads] = [0, 0];
  const registry = new FinalizationRegistry(() => heldBuffers--);
  // A connection that gives new memory with each read, as one with a client certificate does.
  const connection: ByteConnection = {
    read() {
      if (reads++ >= 10_000) return Promise.resolve(null);
      const bytes = frame.slice();
      registry.register(bytes.buffer, undefined);
      heldBuffers++;
      return Promise.resolve(bytes);
    },
    write: () => Promise.resolve(),
    close() {},
  };
  const options = { protocol: "v4.channel.k8s.io", channels: "v5.channel.k8s.io" } as const;
  const upstream = new WebSocketUpstream(connection, {
    ...options,
    ...{ expectedStreams: 1, hasTerminal: false, lingerMs: 1 },
  });
  await upstream.write(new FrameEncoder().encode(synStream(1, { streamtype: "stdout" })));
  for (let read = 0; read < 10_000; read++) {
    await upstream.read();
    if (read % 500 === 0) await new Promise((resolve) => setTimeout(resolve, 0)); // finalizers run between tasks
  }
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert.ok(heldBuffers < 5_000, `${heldBuffers} of 10000 reads are still held`);
  upstream.close();
});

function pending({ connection }: Server): number {
  return connection instanceof PipeEnd ? connection.pendingBytes : assert.fail("no pipe");
}
