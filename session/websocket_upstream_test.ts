import assert from "node:assert/strict";
import { encodeChannel } from "../protocol/remote_command/mod.ts";
import { CLOSE_CODE, encodeClose, FrameDecoder, type WebSocketEvent } from "../protocol/websocket/mod.ts";
import { pipe } from "../tests/support/pipe.ts";
import { SpdyPeer } from "../tests/support/spdy_peer.ts";
import type { ByteConnection } from "./byte_connection.ts";
import { WEBSOCKET_UPSTREAM_PROTOCOL, WebSocketUpstream } from "./websocket_upstream.ts";

const utf8 = (text: string) => new TextEncoder().encode(text);
const SUCCESS = '{"metadata":{},"status":"Success"}';

/** The upstream between a SPDY peer, which is what a splice is, and a server that is written by hand. */
function between(
  protocol: "v4.channel.k8s.io" | "v2.channel.k8s.io" = "v4.channel.k8s.io",
  expectedStreams = 4,
) {
  const [near, far] = pipe();
  const upstream = new WebSocketUpstream(near, { protocol, expectedStreams, lingerMs: 100 });
  return { peer: new SpdyPeer(upstream), server: new Server(far), upstream };
}

class Server {
  readonly #decoder = new FrameDecoder({ role: "server" });
  #events: WebSocketEvent[] = [];

  constructor(readonly connection: ByteConnection) {}

  /** A write is taken when it is read, which is not waited for. */
  say(channel: number, text: string): void {
    this.connection.write(encodeChannel(WEBSOCKET_UPSTREAM_PROTOCOL, channel, utf8(text))).catch(() => {});
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
