import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { writeStreamHeaders } from "../../../protocol/port_forward/mod.ts";
import { MessageReader } from "../../../protocol/remote_command/mod.ts";
import { dataFrame, FrameDecoder, FrameEncoder, synStream } from "../../../protocol/spdy/mod.ts";
import {
  encodeFrame,
  FrameDecoder as WebSocketDecoder,
  WebSocketError,
} from "../../../protocol/websocket/mod.ts";
import { splicePortForward } from "../../../session/port_forward_splice.ts";
import { spliceSpdy } from "../../../session/spdy_splice.ts";
import type { SessionEnd, StreamEvent, Tap } from "../../../session/stream_event.ts";
import { TunnelConnection } from "../../../session/tunnel_connection.ts";
import { translateWebSocket } from "../../../session/websocket_translation.ts";
import { concat } from "../mutate.ts";
import { cuts, hexOf } from "../oracle.ts";
import { Random } from "../random.ts";
import type { Target } from "../target.ts";
import { ScriptedConnection } from "./scripted_connection.ts";
import { spdyFrames } from "./spdy.ts";
import { webSocketFrames } from "./websocket.ts";

const LIMITS = { setupTimeoutMs: 100, idleTimeoutMs: 5_000, lingerMs: 2 };
const DENIED_PORT = 5432;
const KEY = Uint8Array.of(1, 2, 3, 4);

/** What both sides say, as one input: how long the client's part is, that, and the upstream's. */
function script(client: Uint8Array, upstream: Uint8Array): Uint8Array {
  return concat(Uint8Array.of(client.length >> 8, client.length), client, upstream);
}

function peersOf(input: Uint8Array): { client: ScriptedConnection; upstream: ScriptedConnection } {
  const [high = 0, low = 0] = input;
  const end = 2 + high * 256 + low;
  const [client, upstream] = [input.slice(2, end), input.slice(end)];
  return { client: new ScriptedConnection(cutOf(client)), upstream: new ScriptedConnection(cutOf(upstream)) };
}

function cutOf(bytes: Uint8Array): Uint8Array[] {
  return cuts(bytes)[0] ?? [];
}

/** Bytes that a tap was shown, by direction, number and name of their stream. */
class Seen implements Tap {
  readonly #bytes = new Map<string, string>();
  /** Streams of sizes, which are written anew. */
  readonly resizes = new Set<number>();

  push(event: StreamEvent): void {
    if (event.type === "opened" && event.stream === "resize") this.resizes.add(event.id);
    if (event.type !== "data") return;
    const stream = `${event.direction} ${event.id}`;
    this.#bytes.set(stream, this.of(stream) + hexOf(event.bytes));
  }

  of(stream: string): string {
    return this.#bytes.get(stream) ?? "";
  }
}

/** What stands on each stream of a SPDY connection; it must be readable to its end. */
function dataOf(bytes: Uint8Array): { data: Map<number, string>; ports: Set<string> } {
  const data = new Map<number, string>();
  const ports = new Set<string>();
  for (const frame of new FrameDecoder().push(bytes)) {
    if (frame.type === "data") data.set(frame.id, (data.get(frame.id) ?? "") + hexOf(frame.bytes));
    if (frame.type === "syn_stream") ports.add(frame.headers.get("port") ?? "");
  }
  return { data, ports };
}

function endedOrderly(end: SessionEnd): void {
  assert.notEqual(end.reason, "gateway_error", String(end.cause));
  assert.notEqual(end.reason, "audit_failure", String(end.cause));
}

const STREAM_NAMES = ["error", "stdin", "stdout", "resize"];

/** A client's four streams, as Go clients open them. */
function opening(encoder: FrameEncoder): Uint8Array {
  return concat(
    ...STREAM_NAMES.map((streamtype, index) => encoder.encode(synStream(2 * index + 1, { streamtype }))),
  );
}

function replies(encoder: FrameEncoder, count: number): Uint8Array {
  return concat(
    ...Array.from(
      { length: count },
      (_, index) => encoder.encode({ type: "syn_reply", id: 2 * index + 1, fin: false, headers: new Map() }),
    ),
  );
}

function forwarding(encoder: FrameEncoder, random: Random): Uint8Array {
  return concat(...(["error", "data"] as const).flatMap((type, index) => {
    const port = random.pick([80, 80, DENIED_PORT, 0]);
    const id = 1 + 2 * index + 4 * random.below(3);
    const headers = Object.fromEntries(
      writeStreamHeaders({ type, port, requestId: String(random.below(2)) }),
    );
    return [encoder.encode(synStream(id, headers)), dataFrame(id, random.bytes(5))];
  }));
}

const STDOUT_5 = dataFrame(5, Buffer.from("hello"));

export const SESSION_TARGETS: readonly Target[] = [
  {
    name: "session-splice",
    promise: "whatever both sides say, the session ends, and what is passed on was shown to the tap before",
    seeds: [
      script(
        concat(opening(new FrameEncoder()), dataFrame(3, Buffer.from("ls\n"), true)),
        concat(replies(new FrameEncoder(), 4), STDOUT_5),
      ),
    ],
    words: [
      Uint8Array.fromHex("80030007000000080000000000000000"),
      dataFrame(3, Buffer.from("x")),
      '{"Width":1,"Height":2}',
    ],
    maxMs: 3_000,
    generate(random) {
      const [client, upstream] = [new FrameEncoder(), new FrameEncoder()];
      return script(
        concat(opening(client), spdyFrames(random, client)),
        concat(replies(upstream, 4), spdyFrames(random, upstream)),
      );
    },
    async check(input) {
      const { client, upstream } = peersOf(input);
      const tap = new Seen();
      const signal = new AbortController().signal;
      const options = {
        protocol: "v4.channel.k8s.io",
        expectedStreams: 4,
        tap,
        limits: LIMITS,
        signal,
      } as const;
      endedOrderly(await spliceSpdy(client, upstream, options));
      for (const [id, hex] of dataOf(upstream.written).data) {
        if (!tap.resizes.has(id)) {
          assert.ok(tap.of(`in ${id}`).startsWith(hex), "the pod got what no tap saw");
        }
      }
      dataOf(client.written);
    },
  },
  {
    name: "session-translation",
    promise: "whatever both sides say, the session ends, and stdin is what the tap was shown",
    seeds: [
      script(
        concat(
          encodeFrame(2, Buffer.from("\0ls\n"), { key: KEY }),
          encodeFrame(2, Uint8Array.of(255, 0), { key: KEY }),
        ),
        concat(replies(new FrameEncoder(), 5), STDOUT_5),
      ),
    ],
    words: [
      Uint8Array.fromHex("8282000000000041"),
      dataFrame(5, Buffer.from("x"), true),
      dataFrame(1, new Uint8Array(), true),
    ],
    maxMs: 3_000,
    generate(random) {
      const upstream = new FrameEncoder();
      return script(
        webSocketFrames(random, true),
        concat(replies(upstream, 5), spdyFrames(random, upstream)),
      );
    },
    async check(input) {
      const { client, upstream } = peersOf(input);
      const tap = new Seen();
      const end = await translateWebSocket(client, upstream, {
        protocol: "v5.channel.k8s.io",
        requested: { stdin: true, stdout: true, stderr: false, tty: true },
        tap,
        limits: LIMITS,
        signal: new AbortController().signal,
      });
      endedOrderly(end);
      const { data } = dataOf(upstream.written);
      assert.ok(tap.of("in 3").startsWith(data.get(3) ?? ""), "the pod got what no tap saw");
      const messages = new MessageReader("v5.channel.k8s.io");
      let stdout = "";
      for (const event of new WebSocketDecoder({ role: "client" }).push(client.written)) {
        if (event.type !== "data") continue;
        const piece = messages.read(event);
        if (piece?.channel === 1 && piece.bytes) stdout += hexOf(piece.bytes);
      }
      assert.ok(tap.of("out 5").startsWith(stdout), "the client got what no tap saw");
    },
  },
  {
    name: "session-port-forward",
    promise:
      "whatever both sides say, the session ends, and of a port that is denied nothing goes to the pod",
    seeds: [
      script(
        forwarding(new FrameEncoder(), new Random(1)),
        concat(replies(new FrameEncoder(), 2), dataFrame(3, Buffer.from("x"))),
      ),
    ],
    words: [String(DENIED_PORT), "requestid", "80\0" + DENIED_PORT, "data", "error"],
    maxMs: 3_000,
    generate(random) {
      const [client, upstream] = [new FrameEncoder(), new FrameEncoder()];
      return script(
        concat(forwarding(client, random), spdyFrames(random, client), forwarding(client, random)),
        concat(replies(upstream, 4), spdyFrames(random, upstream)),
      );
    },
    async check(input) {
      const { client, upstream } = peersOf(input);
      const seen: string[] = [];
      let reports = 0;
      const end = await splicePortForward(client, upstream, {
        tap: { push: (event) => void (event.type === "opened" && seen.push(event.stream)) },
        checkPort: (port) => port === DENIED_PORT ? "denied" : undefined,
        onConnection: () => void reports++,
        isLegacy: false,
        maxConnections: 4,
        limits: LIMITS,
        signal: new AbortController().signal,
      });
      endedOrderly(end);
      const { ports } = dataOf(upstream.written);
      assert.ok(!ports.has(String(DENIED_PORT)), "a denied port was opened");
      if (ports.size > 0) assert.ok(reports > 0, "what was opened is written down");
      dataOf(client.written);
    },
  },
  {
    name: "tunnel",
    promise: "however its frames and messages are cut, a tunnel carries the same bytes or the same fault",
    seeds: [
      concat(
        encodeFrame(2, Buffer.from("hello"), { key: KEY, fin: false }),
        encodeFrame(0, Buffer.from("x"), { key: KEY }),
      ),
    ],
    words: [Uint8Array.fromHex("828100000000"), Uint8Array.fromHex("888000000000")],
    generate: (random) => webSocketFrames(random, true),
    async check(input) {
      const whole = await carried([input.slice()]);
      for (const chunks of cuts(input)) assert.deepEqual(await carried(chunks), whole);
    },
  },
];

/** What a tunnel brought, and how it ended. */
async function carried(chunks: readonly Uint8Array[]): Promise<string[]> {
  const tunnel = new TunnelConnection(new ScriptedConnection(chunks), { role: "server", lingerMs: 2 });
  let bytes = "";
  let end = "end";
  try {
    for (let chunk = await tunnel.read(); chunk !== null; chunk = await tunnel.read()) bytes += hexOf(chunk);
  } catch (thrown) {
    end = thrown instanceof WebSocketError ? thrown.code : String(thrown);
  }
  tunnel.close();
  await tunnel.closed;
  // A fault takes with it what came in its own chunk.
  return end === "end" ? [bytes, end] : [end];
}
