import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { createHash, randomBytes } from "node:crypto";
import fc from "fast-check";
import { type ControlFrame, dataFrame, FrameEncoder, synStream } from "../protocol/spdy/mod.ts";
import { echo, ForwardingKubelet } from "../tests/support/forwarding_kubelet.ts";
import { pipe } from "../tests/support/pipe.ts";
import { type MuxStream, SpdyMux } from "../tests/support/spdy_mux.ts";
import { SpdyPeer } from "../tests/support/spdy_peer.ts";
import type { ByteConnection } from "./byte_connection.ts";
import {
  type ForwardedConnection,
  type PortForwardOptions,
  splicePortForward,
} from "./port_forward_splice.ts";
import { StreamConnection } from "./stream_connection.ts";

const DENIED = "port 5432 is denied";
const REFUSED = "error forwarding port 81 to pod web, uid : connect: connection refused";

function options(given: Partial<PortForwardOptions> = {}): PortForwardOptions {
  return {
    limits: { setupTimeoutMs: 5_000, idleTimeoutMs: 60_000, lingerMs: 500, probeMs: 200 },
    signal: new AbortController().signal,
    tap: { push: () => {} },
    checkPort: (port) => port === 5432 ? DENIED : undefined,
    onConnection: () => {},
    isLegacy: false,
    maxConnections: 1000,
    ...given,
  };
}

/** A connection that is read in pieces of these sizes, in turn: frames are cut anywhere, or come many at once. */
class CutConnection implements ByteConnection {
  #held: Uint8Array = new Uint8Array();
  #turn = 0;
  constructor(readonly connection: ByteConnection, readonly sizes: readonly number[]) {}

  async read(): Promise<Uint8Array | null> {
    if (this.#held.length === 0) {
      const bytes = await this.connection.read();
      if (bytes === null) return null;
      this.#held = bytes;
    }
    const piece = this.#held.slice(0, this.sizes[this.#turn++ % this.sizes.length]!);
    this.#held = this.#held.subarray(piece.length);
    return piece;
  }

  write(bytes: Uint8Array): Promise<void> {
    return this.connection.write(bytes);
  }

  close(): void {
    this.connection.close();
  }
}

function pair(client: SpdyMux, port: number, requestid: string): { error: MuxStream; data: MuxStream } {
  const error = client.open({ streamtype: "error", port: String(port), requestid }, { fin: true });
  return { error, data: client.open({ streamtype: "data", port: String(port), requestid }) };
}

Deno.test("a port-forward is the same wherever its bytes are cut", async () => {
  const encoder = new FrameEncoder();
  const open = (id: number, headers: Record<string, string>): ControlFrame => synStream(id, headers);
  const bytes = Buffer.concat([
    encoder.encode(open(1, { streamtype: "error", port: "80", requestid: "0" })),
    dataFrame(1, new Uint8Array(), true),
    encoder.encode(open(3, { streamtype: "data", port: "80", requestid: "0" })),
    encoder.encode({ type: "ping", id: 1 }),
    dataFrame(3, Buffer.from("hello")),
    encoder.encode(open(5, { streamtype: "error", port: "5432", requestid: "1" })),
    dataFrame(3, Buffer.from(" world"), true),
    encoder.encode(open(7, { streamtype: "data", port: "5432", requestid: "1" })),
  ]);
  for (let cut = 0; cut <= bytes.length; cut++) {
    const [clientEnd, gatewayToClient] = pipe();
    const [gatewayToKubelet, kubeletEnd] = pipe();
    const reports: ForwardedConnection[] = [];
    const kubelet = new ForwardingKubelet(kubeletEnd, { 80: echo });
    const ended = splicePortForward(
      gatewayToClient,
      gatewayToKubelet,
      options({ onConnection: (report) => void reports.push(report) }),
    );
    const client = new SpdyPeer(clientEnd);
    const sent = (async () => {
      for (const piece of [bytes.subarray(0, cut), bytes.subarray(cut)]) await client.sendRaw(piece);
    })();
    let [echoed, denial] = ["", ""];
    const ends = new Set<number>();
    while (ends.size < 4) {
      const frame = await client.next();
      assert.ok(frame, `cut at byte ${cut}`);
      if (frame.type === "data" && frame.id === 3) echoed += frame.text;
      if (frame.type === "data" && frame.id === 5) denial += frame.text;
      if (frame.type === "rst_stream" || frame.type === "data" && frame.fin) ends.add(frame.id);
    }
    assert.deepEqual([echoed, denial], ["hello world", DENIED], `cut at byte ${cut}`);
    await sent;
    client.close();
    await ended;
    await kubelet.mux.ended;
    await kubelet.idle();
    const wrote = reports.map(({ port, bytesIn, bytesOut }) => [port, bytesIn, bytesOut]).sort();
    assert.deepEqual(wrote, [[5432, 0, 0], [80, 11, 11]], `cut at byte ${cut}`);
  }
});

Deno.test("what one side does not take is not read from the other: no buffer grows", async () => {
  for (const direction of ["in", "out"] as const) {
    const [clientEnd, gatewayToClient] = pipe();
    const [gatewayToKubelet, kubeletEnd] = pipe();
    const [client, kubelet] = [new SpdyPeer(clientEnd), new SpdyPeer(kubeletEnd)];
    const ended = splicePortForward(gatewayToClient, gatewayToKubelet, options());
    for (const [index, streamtype] of ["error", "data"].entries()) {
      const id = 2 * index + 1;
      await Promise.all([
        client.send(synStream(id, { streamtype, port: "80", requestid: "0" })),
        kubelet.next(),
      ]);
      await Promise.all([
        kubelet.send({ type: "syn_reply", id, fin: false, headers: new Map() }),
        client.next(),
      ]);
    }
    const [from, other] = direction === "in" ? [client, kubelet] : [kubelet, client];
    let sent = 0;
    const flood = (async () => {
      for (; sent < 1000; sent++) await from.data(3, new Uint8Array(32_768));
    })().catch(() => {});
    await new Promise((resolve) => setTimeout(resolve, 30));
    assert.ok(sent < 4, `${sent} blocks were taken (${direction})`);
    // Meanwhile the other way is open: neither direction waits for the other one.
    const [, frame] = await Promise.all([other.data(3, "the other way"), from.next()]);
    assert.equal(frame?.type === "data" && frame.text, "the other way");
    clientEnd.lose();
    await ended;
    kubeletEnd.close();
    await flood;
  }
});

Deno.test("a client that reads nothing is not read without end, though its frames are all answered here", async () => {
  const denials = (encoder: FrameEncoder, id: number) => [
    encoder.encode(synStream(id, { streamtype: "error", port: "5432", requestid: "0" })),
    encoder.encode(synStream(id + 2, { streamtype: "data", port: "5432", requestid: "0" })),
  ];
  const pings = (encoder: FrameEncoder) =>
    Array.from({ length: 200 }, () => encoder.encode({ type: "ping", id: 1 }));
  for (const [name, flood] of Object.entries({ denials, pings })) {
    const [clientEnd, gatewayToClient] = pipe();
    const [gatewayToKubelet, kubeletEnd] = pipe();
    const checkPort = () => "no".repeat(2000);
    const ended = splicePortForward(gatewayToClient, gatewayToKubelet, options({ checkPort }));
    const kubelet = new SpdyPeer(kubeletEnd).rest().catch(() => {});
    const encoder = new FrameEncoder();
    const sending = (async () => {
      for (let id = 1; id < 1200; id += 4) await clientEnd.write(Buffer.concat(flood(encoder, id)));
    })().catch(() => {});
    await new Promise((resolve) => setTimeout(resolve, 100));
    assert.ok(
      gatewayToClient.pendingBytes < 400_000,
      `${gatewayToClient.pendingBytes} bytes for ${name} wait`,
    );
    clientEnd.lose();
    await ended;
    kubeletEnd.close();
    await Promise.all([sending, kubelet]);
  }
});

Deno.test("client and kubelet agree on every connection, whatever is done in whatever order", async () => {
  const step = fc.record({
    port: fc.constantFrom(80, 80, 80, 81, 5432),
    dataFirst: fc.boolean(),
    chunks: fc.array(fc.integer({ min: 0, max: 3000 }), { maxLength: 5 }),
    isReset: fc.boolean(),
  });
  const sizes = fc.array(fc.integer({ min: 1, max: 4000 }), { minLength: 1, maxLength: 5 });
  const property = fc.asyncProperty(
    fc.array(step, { maxLength: 12 }),
    sizes,
    fc.boolean(),
    async (steps, cuts, isLegacy) => {
      const [clientEnd, gatewayToClient] = pipe();
      const [gatewayToKubelet, kubeletEnd] = pipe();
      const reports: ForwardedConnection[] = [];
      const kubelet = new ForwardingKubelet(kubeletEnd, { 80: echo });
      const client = new SpdyMux(clientEnd);
      const ended = splicePortForward(
        new CutConnection(gatewayToClient, cuts),
        new CutConnection(gatewayToKubelet, cuts),
        options({
          isLegacy,
          onConnection: (report) => Promise.resolve().then(() => void reports.push(report)),
        }),
      );
      const check = async ({ port, dataFirst, chunks, isReset }: typeof steps[number], index: number) => {
        const open = (streamtype: string) =>
          client.open({ streamtype, port: String(port), requestid: `r${index}` });
        const early = dataFirst ? open("data") : undefined;
        const error = open("error");
        error.end();
        const data = early ?? open("data");
        const bytes = chunks.map((length) => randomBytes(length));
        for (const chunk of bytes) await data.write(chunk);
        if (isReset) await data.cancel();
        else await data.end();
        const [text, back] = [await error.text(), await collect(data)];
        if (port === 5432) return assert.equal(text, DENIED);
        if (port === 81) return assert.ok(text === REFUSED || isReset && text === "", text);
        assert.equal(text, "");
        if (!isReset) assert.deepEqual(back, Buffer.concat(bytes));
      };
      await Promise.all(steps.map(check));
      await client.close();
      await ended;
      await kubelet.mux.ended;
      await kubelet.idle();
      assert.deepEqual(
        reports.map(({ requestId }) => requestId).sort(),
        steps.map((_, index) => `r${index}`).sort(),
      );
      for (const { requestId, port, bytesIn, bytesOut } of reports) {
        const { chunks, isReset, ...step } = steps[Number(requestId.slice(1))]!;
        assert.equal(port, step.port);
        if (port !== 80 || isReset) continue;
        const sum = chunks.reduce((all, length) => all + length, 0);
        assert.deepEqual([bytesIn, bytesOut], [sum, sum]);
      }
    },
  );
  await fc.assert(property, { numRuns: 60 });
});

async function collect(stream: MuxStream): Promise<Buffer> {
  const pieces: Uint8Array[] = [];
  for (let bytes = await stream.read(); bytes !== null; bytes = await stream.read()) pieces.push(bytes);
  return Buffer.concat(pieces);
}

/** Two ends of a TCP connection on this machine. */
async function tcpPair(): Promise<[StreamConnection, StreamConnection]> {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const [near, far] = await Promise.all([
    Deno.connect({ hostname: "127.0.0.1", port: listener.addr.port }),
    listener.accept(),
  ]);
  for (const connection of [near, far]) connection.setNoDelay(true);
  return [new StreamConnection(near), new StreamConnection(far)];
}

Deno.test({
  name: "200 connections at once over TCP, a third of them reset at random, and none harms another",
  sanitizeOps: true,
  sanitizeResources: true,
  fn: async () => {
    const [clientEnd, gatewayToClient] = await tcpPair();
    const [gatewayToKubelet, kubeletEnd] = await tcpPair();
    const reports: ForwardedConnection[] = [];
    const kubelet = new ForwardingKubelet(kubeletEnd, { 80: echo });
    const ended = splicePortForward(
      gatewayToClient,
      gatewayToKubelet,
      options({ onConnection: (report) => Promise.resolve().then(() => void reports.push(report)) }),
    );
    const client = new SpdyMux(clientEnd);
    const kinds = ["whole", "whole", "reset", "whole", "refused", "denied"] as const;
    const run = async (index: number) => {
      const kind = kinds[index % kinds.length]!;
      const port = kind === "refused" ? 81 : kind === "denied" ? 5432 : 80;
      const { error, data } = pair(client, port, String(index));
      const chunks = Array.from(
        { length: 1 + index % 7 },
        () => randomBytes(1 + Math.floor(Math.random() * 32_768)),
      );
      const sending = (async () => {
        for (const chunk of chunks) {
          await data.write(chunk);
          await new Promise((resolve) => setTimeout(resolve, Math.random() * 4));
          if (kind === "reset" && Math.random() < 0.4) break;
        }
        await (kind === "reset" ? data.cancel() : data.end());
      })();
      const [back, text] = await Promise.all([collect(data), error.text(), sending]);
      const sum = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");
      if (kind === "whole") assert.equal(sum(back), sum(Buffer.concat(chunks)), `connection ${index}`);
      const want = { whole: "", reset: "", refused: REFUSED, denied: DENIED };
      assert.equal(text, want[kind], `connection ${index}`);
    };
    await Promise.all(Array.from({ length: 200 }, (_, index) => run(index)));
    await client.close();
    await ended;
    await kubelet.mux.ended;
    await kubelet.idle();
    kubeletEnd.close();
    assert.equal(new Set(reports.map(({ requestId }) => requestId)).size, 200);
    assert.equal(reports.length, 200);
  },
});
