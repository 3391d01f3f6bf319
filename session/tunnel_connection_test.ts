import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { randomBytes } from "node:crypto";
import fc from "fast-check";
import {
  encodeClose,
  encodeFrame,
  FrameDecoder,
  OPCODE,
  type Opcode,
  type Role,
  WebSocketError,
  type WebSocketEvent,
} from "../protocol/websocket/mod.ts";
import { pipe, type PipeEnd } from "../tests/support/pipe.ts";
import { TunnelConnection } from "./tunnel_connection.ts";

/** The other end of a tunnel, which says and sees every frame. */
class Peer {
  readonly #decoder: FrameDecoder;
  readonly #key: { key?: Uint8Array };
  readonly #seen: WebSocketEvent[] = [];

  constructor(readonly end: PipeEnd, role: Role) {
    this.#decoder = new FrameDecoder({ role });
    this.#key = role === "client" ? { key: Uint8Array.of(1, 2, 3, 4) } : {};
  }

  frame(opcode: Opcode, payload: Uint8Array | string, fin = true): Uint8Array {
    return encodeFrame(opcode, Buffer.from(payload), { fin, ...this.#key });
  }

  async send(opcode: Opcode, payload: Uint8Array | string, fin = true): Promise<void> {
    await this.end.write(this.frame(opcode, payload, fin));
  }

  async sendClose(code: number): Promise<void> {
    await this.end.write(encodeClose(code, "", this.#key));
  }

  /** The next event, with its bytes copied; `null` at the end of the connection. */
  async next(): Promise<WebSocketEvent | null> {
    while (this.#seen.length === 0) {
      const chunk = await this.end.read();
      if (chunk === null) return null;
      for (const event of this.#decoder.push(chunk)) {
        this.#seen.push(event.type === "data" ? { ...event, bytes: event.bytes.slice() } : event);
      }
    }
    return this.#seen.shift()!;
  }
}

function tunnel(role: Role = "server", lingerMs = 100): { tunnel: TunnelConnection; peer: Peer } {
  const [near, far] = pipe();
  const connection = new TunnelConnection(near, { role, lingerMs });
  return { tunnel: connection, peer: new Peer(far, role === "server" ? "client" : "server") };
}

async function readText(connection: TunnelConnection): Promise<string | null> {
  const bytes = await connection.read();
  return bytes && Buffer.from(bytes).toString();
}

/** Ends both sides. */
async function finish({ tunnel: connection, peer }: ReturnType<typeof tunnel>): Promise<void> {
  connection.close();
  peer.end.close();
  await connection.closed;
}

for (const role of ["server", "client"] as const) {
  Deno.test(`E-111 the bytes of messages are one stream, as a ${role}: cut, empty, fragmented, many at once`, async () => {
    const sizes = fc.array(fc.integer({ min: 0, max: 200 }), { minLength: 1, maxLength: 8 });
    await fc.assert(
      fc.asyncProperty(
        sizes,
        fc.integer({ min: 1, max: 500 }),
        fc.boolean(),
        async (lengths, cut, isFragmented) => {
          const all = tunnel(role);
          const payloads = lengths.map((length) => randomBytes(length));
          const wire = Buffer.concat(payloads.flatMap((payload) => {
            if (!isFragmented) return [all.peer.frame(OPCODE.BINARY, payload)];
            // As API servers send what is longer than their buffer: the end is an empty continuation (E-115).
            const whole = all.peer.frame(OPCODE.BINARY, payload, false);
            return [whole, all.peer.frame(OPCODE.PING, "p"), all.peer.frame(OPCODE.CONTINUATION, "")];
          }));
          const sent = (async () => {
            for (let at = 0; at < wire.length; at += cut) {
              await all.peer.end.write(wire.subarray(at, at + cut));
            }
            await all.peer.sendClose(1000);
          })();
          const got: Buffer[] = [];
          for (let bytes = await all.tunnel.read(); bytes !== null; bytes = await all.tunnel.read()) {
            got.push(Buffer.from(bytes));
          }
          assert.deepEqual(Buffer.concat(got), Buffer.concat(payloads));
          await sent;
          await finish(all);
        },
      ),
      { numRuns: 100 },
    );
  });

  Deno.test(`what is written as a ${role} leaves in whole frames of 32 KiB at most`, async () => {
    const all = tunnel(role);
    const bytes = randomBytes(70_000);
    const lengths: number[] = [];
    const got: Uint8Array[] = [];
    const reading = (async () => {
      for (let length = 0; length < bytes.length;) {
        const event = await all.peer.next();
        assert.ok(event?.type === "data" && event.kind === "binary" && event.start && event.end);
        lengths.push(event.bytes.length);
        got.push(event.bytes);
        length += event.bytes.length;
      }
    })();
    await all.tunnel.write(bytes);
    await reading;
    assert.deepEqual(lengths, [32_768, 32_768, 4464]);
    assert.deepEqual(Buffer.concat(got), bytes);
    await finish(all);
  });
}

Deno.test("writing nothing sends nothing", async () => {
  const all = tunnel();
  await all.tunnel.write(new Uint8Array());
  const [, event] = await Promise.all([all.tunnel.write(Buffer.from("x")), all.peer.next()]);
  assert.equal(event?.type === "data" && Buffer.from(event.bytes).toString(), "x");
  await finish(all);
});

const ENDS = [
  { name: "Close 1000", code: 1000, isEnd: true },
  { name: "Close 1001", code: 1001, isEnd: true },
  { name: "a Close without a code", code: 1005, isEnd: true },
  { name: "Close 1011", code: 1011, isEnd: false },
];
for (const { name, code, isEnd } of ENDS) {
  Deno.test(`${name} is ${isEnd ? "the end of the stream" : "a loss"}, behind all that came before`, async () => {
    const all = tunnel();
    const [text] = await Promise.all([readText(all.tunnel), all.peer.send(OPCODE.BINARY, "last")]);
    assert.equal(text, "last");
    const sent = all.peer.sendClose(code);
    if (isEnd) assert.equal(await all.tunnel.read(), null);
    else await assert.rejects(all.tunnel.read(), /closed with code 1011/);
    await sent;
    await finish(all);
  });
}

Deno.test("a connection that ends without a Close is a loss", async () => {
  const all = tunnel();
  all.peer.end.close();
  await assert.rejects(all.tunnel.read(), /ended without a Close/);
  await finish(all);
});

const FAULTS: { name: string; code: string; send: (peer: Peer) => Promise<void> }[] = [
  { name: "E-114 a text message", code: "text_unexpected", send: (peer) => peer.send(OPCODE.TEXT, "x") },
  { name: "an empty text message", code: "text_unexpected", send: (peer) => peer.send(OPCODE.TEXT, "") },
  {
    name: "E-85 an unmasked frame",
    code: "mask_missing",
    send: (peer) => peer.end.write(encodeFrame(OPCODE.BINARY, Buffer.from("x"))),
  },
];
for (const { name, code, send } of FAULTS) {
  Deno.test(`${name} breaks the tunnel, and the peer is told by Close 1002`, async () => {
    const all = tunnel();
    const sent = send(all.peer);
    const fault = await all.tunnel.read().then(() => undefined, (thrown) => thrown);
    await sent;
    assert.ok(fault instanceof WebSocketError && fault.code === code);
    await assert.rejects(all.tunnel.read(), fault, "it cannot be read on");
    all.tunnel.close();
    assert.deepEqual(await all.peer.next(), { type: "close", code: 1002, reason: "" });
    await finish(all);
  });
}

Deno.test("pings are answered at once, and of many that were not taken the latest", async () => {
  const all = tunnel();
  const reading = all.tunnel.read();
  await all.peer.send(OPCODE.PING, "1");
  await all.peer.end.write(
    Buffer.concat(["2", "3", "4"].map((payload) => all.peer.frame(OPCODE.PING, payload))),
  );
  await all.peer.send(OPCODE.BINARY, "data");
  await reading;
  const pongs = [await all.peer.next(), await all.peer.next()].map((event) => {
    return event?.type === "pong" && Buffer.from(event.payload).toString();
  });
  assert.deepEqual(pongs, ["1", "4"]);
  await finish(all);
});

Deno.test("close says Close 1000, drops what still comes, and waits for the answer", async () => {
  const all = tunnel("server", 5_000);
  const reading = all.tunnel.read();
  all.tunnel.close();
  all.tunnel.close();
  assert.deepEqual(await all.peer.next(), { type: "close", code: 1000, reason: "" });
  await all.peer.send(OPCODE.BINARY, "late");
  await assert.rejects(all.tunnel.write(Buffer.from("x")), /closed/);
  await all.peer.sendClose(1000);
  assert.equal(await reading, null);
  await all.tunnel.closed;
  assert.equal(await all.peer.next(), null);
});

Deno.test("close waits for no longer than it may", async () => {
  const all = tunnel("server", 20);
  all.tunnel.close();
  await all.tunnel.closed;
  assert.equal(await all.tunnel.read(), null);
});

Deno.test("a peer's Close is echoed, and nothing more is waited for", async () => {
  const all = tunnel("server", 60_000);
  await Promise.all([all.tunnel.read(), all.peer.sendClose(1001)]);
  all.tunnel.close();
  assert.deepEqual(await all.peer.next(), { type: "close", code: 1001, reason: "" });
  await all.tunnel.closed;
});

Deno.test("frames to an upstream are masked, with a fresh key each", async () => {
  const [near, far] = pipe();
  const connection = new TunnelConnection(near, { role: "client", lingerMs: 20 });
  const frames: Uint8Array[] = [];
  for (const _ of "ab") {
    const [chunk] = await Promise.all([far.read(), connection.write(Buffer.from("same"))]);
    frames.push(chunk!);
  }
  assert.ok(frames.every((frame) => (frame[1]! & 0x80) !== 0));
  assert.notDeepEqual(frames[0], frames[1]);
  connection.close();
  far.close();
  await connection.closed;
});

for (const role of ["server", "client"] as const) {
  Deno.test(`TunnelConnection says a chunk in one write, as ${role}, in messages that Go peers take as one frame each`, async () => {
    const written: Uint8Array[] = [];
    const tunnel = new TunnelConnection({
      read: () => Promise.resolve(null),
      write: (bytes) => Promise.resolve(void written.push(bytes.slice())),
      close: () => {},
    }, { role, lingerMs: 10 });
    const chunk = new Uint8Array(100_000).map((_, index) => index * 7);
    await tunnel.write(chunk);
    assert.equal(written.length, 1);
    const sizes: number[] = [];
    const said: Uint8Array[] = [];
    for (
      const event of new FrameDecoder({ role: role === "server" ? "client" : "server" }).push(written[0]!)
    ) {
      if (event.type !== "data") continue;
      sizes.push(event.bytes.length);
      said.push(event.bytes.slice());
    }
    assert.deepEqual(sizes, [32_768, 32_768, 32_768, 1_696]);
    assert.deepEqual(new Uint8Array(Buffer.concat(said)), chunk);
    tunnel.close();
    await tunnel.closed;
  });
}
