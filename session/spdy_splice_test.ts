import assert from "node:assert/strict";
import type { StreamProtocol } from "../protocol/remote_command/protocols.ts";
import { dataFrame, dataHeader } from "../protocol/spdy/mod.ts";
import { pipe, type PipeEnd } from "../tests/support/pipe.ts";
import { type SeenFrame, SpdyPeer } from "../tests/support/spdy_peer.ts";
import { spliceSpdy } from "./spdy_splice.ts";
import type { SessionEnd, StreamEvent, Tap } from "./stream_event.ts";
import { StreamLedger } from "./stream_ledger.ts";

const LIMITS = { setupTimeoutMs: 5_000, idleTimeoutMs: 5_000, lingerMs: 200 };
const SUCCESS = '{"metadata":{},"status":"Success"}';

interface Scene {
  client: SpdyPeer;
  kubelet: SpdyPeer;
  clientEnd: PipeEnd;
  kubeletEnd: PipeEnd;
  ended: Promise<SessionEnd>;
  ledger: StreamLedger;
}

/** A client and a kubelet with a splice between them, without streams yet. */
function scene(options: {
  protocol?: StreamProtocol;
  tap?: Tap;
  limits?: Partial<typeof LIMITS & { probeMs: number }>;
  signal?: AbortSignal;
  expectedStreams?: number;
} = {}): Scene {
  const [clientEnd, gatewayToClient] = pipe();
  const [gatewayToKubelet, kubeletEnd] = pipe();
  const ledger = new StreamLedger();
  const ended = spliceSpdy(gatewayToClient, gatewayToKubelet, {
    protocol: options.protocol ?? "v4.channel.k8s.io",
    expectedStreams: options.expectedStreams ?? 4,
    tap: options.tap ?? ledger,
    limits: { ...LIMITS, ...options.limits },
    signal: options.signal ?? new AbortController().signal,
  });
  return {
    client: new SpdyPeer(clientEnd),
    kubelet: new SpdyPeer(kubeletEnd),
    clientEnd,
    kubeletEnd,
    ended,
    ledger,
  };
}

const NAMES = ["error", "stdin", "stdout", "stderr"] as const;

/** The same, with the four streams of a command open: error 1, stdin 3, stdout 5, stderr 7. */
async function opened(options: Parameters<typeof scene>[0] = {}): Promise<Scene> {
  const all = scene(options);
  const [, streams] = await Promise.all([all.client.open(...NAMES), all.kubelet.take(4)]);
  assert.deepEqual(
    streams.map((frame) => frame.type === "syn_stream" && frame.headers.get("streamtype")),
    NAMES,
  );
  const replies = [1, 3, 5, 7].map((id) => ({
    type: "syn_reply" as const,
    id,
    fin: false,
    headers: new Map(),
  }));
  await Promise.all([all.kubelet.send(...replies), all.client.take(4)]);
  return all;
}

/** The end of a command as a kubelet tells it, and the client's goodbye. */
async function finish({ client, kubelet }: Scene, status = SUCCESS): Promise<SeenFrame[]> {
  const kubeletSays = async () => {
    await kubelet.data(5, "", true);
    await kubelet.data(7, "", true);
    await kubelet.data(1, status);
    await kubelet.send({ type: "rst_stream", id: 1, status: 5 }, { type: "rst_stream", id: 3, status: 5 });
    await kubelet.send({ type: "goaway", lastGoodId: 7, status: 0 });
    kubelet.close();
  };
  const [, frames] = await Promise.all([kubeletSays(), client.take(6)]);
  client.close();
  return frames;
}

Deno.test("spliceSpdy passes a whole command on, and counts its bytes", async () => {
  const all = await opened();
  await Promise.all([all.client.data(3, "hello", true), all.kubelet.take(1)]);
  await Promise.all([all.kubelet.data(5, "HELLO"), all.client.take(1)]);
  const frames = await finish(all);
  assert.deepEqual(frames.map(({ type }) => type), [
    "data",
    "data",
    "data",
    "rst_stream",
    "rst_stream",
    "goaway",
  ]);
  const end = await all.ended;
  assert.deepEqual([end.reason, end.by, end.exitCode], ["command_ended", "upstream", 0]);
  const bytes = all.ledger.summaries().map(({ name, bytesIn, bytesOut }) => [name, bytesIn, bytesOut]);
  assert.deepEqual(bytes, [["error", 0, SUCCESS.length], ["stdin", 5, 0], ["stdout", 0, 5], [
    "stderr",
    0,
    0,
  ]]);
});

Deno.test("spliceSpdy reads the exit code from the status document", async () => {
  const all = await opened();
  await finish(
    all,
    '{"metadata":{},"status":"Failure","message":"m","reason":"NonZeroExitCode","details":{"causes":[{"reason":"ExitCode","message":"7"}]}}',
  );
  assert.equal((await all.ended).exitCode, 7);
});

const SILENCE: { name: string; leave: (scene: Scene) => Promise<void> | void }[] = [
  { name: "closes", leave: ({ kubelet }) => kubelet.close() },
  { name: "breaks", leave: ({ kubeletEnd }) => kubeletEnd.lose() },
  { name: "says GOAWAY", leave: ({ kubelet }) => kubelet.send({ type: "goaway", lastGoodId: 0, status: 0 }) },
  {
    name: "resets the error stream",
    leave: ({ kubelet }) => kubelet.send({ type: "rst_stream", id: 1, status: 5 }),
  },
  { name: "half-closes the error stream", leave: ({ kubelet }) => kubelet.data(1, "", true) },
  {
    name: "breaks off inside a DATA frame",
    leave: async ({ kubelet, kubeletEnd }) => {
      await kubelet.sendRaw(new Uint8Array([...dataHeader(5, 100), 65, 66, 67]));
      kubeletEnd.lose();
    },
  },
];
for (const { name, leave } of SILENCE) {
  Deno.test(`E-66 a kubelet that ${name} without a status gives the client a Failure, never exit 0`, async () => {
    const all = await opened();
    const [, failure] = await Promise.all([leave(all), nextStatus(all.client)]);
    assert.match(failure, /"status":"Failure"/);
    all.client.close();
    all.kubelet.close();
    await all.ended;
  });
}

/** The next data on the error stream, whatever comes before it. */
async function nextStatus(client: SpdyPeer): Promise<string> {
  for (let frame = await client.next(); frame !== null; frame = await client.next()) {
    if (frame.type === "data" && frame.id === 1) return frame.text;
  }
  throw new Error("the connection ended without a status");
}

Deno.test("spliceSpdy adds nothing to a v2 error stream that ends in silence: there it means success", async () => {
  const all = await opened({ protocol: "v2.channel.k8s.io" });
  const [, frame] = await Promise.all([all.kubelet.data(1, "", true), all.client.next()]);
  assert.deepEqual(frame, { type: "data", id: 1, text: "", fin: true });
  all.client.close();
  assert.equal((await all.ended).reason, "command_ended");
});

Deno.test("spliceSpdy closes the upstream when the client says GOAWAY, and when it vanishes", async () => {
  for (const goodbye of [true, false]) {
    const all = await opened();
    if (goodbye) {
      await Promise.all([all.client.send({ type: "goaway", lastGoodId: 0, status: 0 }), all.kubelet.take(1)]);
    } else all.clientEnd.lose();
    assert.equal(await all.kubelet.next(), null);
    all.client.close();
    assert.equal((await all.ended).reason, goodbye ? "client_closed" : "client_vanished");
  }
});

Deno.test("E-35 a stream id that was used is reset, and the next stream still opens", async () => {
  const { client, kubelet, ended } = await opened();
  const again = {
    type: "syn_stream",
    id: 7,
    associatedId: 0,
    priority: 0,
    slot: 0,
    fin: false,
    unidirectional: false,
  };
  const headers = new Map([["streamtype", "stdin"]]);
  await Promise.all([
    client.send({ ...again, type: "syn_stream", headers }).then(() => client.open()),
    client.next().then((frame) => assert.deepEqual(frame, { type: "rst_stream", id: 7, status: 1 })),
  ]);
  const [, frame] = await Promise.all([
    client.send({ ...again, type: "syn_stream", id: 9, headers: new Map([["streamtype", "other"]]) }),
    kubelet.next(),
  ]);
  assert.equal(frame?.type === "syn_stream" && frame.headers.get("streamtype"), "other");
  client.close();
  await ended;
});

Deno.test("spliceSpdy refuses more streams than a command can have", async () => {
  const { client, kubelet, ended } = scene();
  const drained = kubelet.rest();
  const opening = client.open(...Array.from({ length: 33 }, () => "stdin"));
  assert.deepEqual(await client.next(), { type: "rst_stream", id: 65, status: 3 });
  await opening;
  client.close();
  await ended;
  assert.equal((await drained).filter(({ type }) => type === "syn_stream").length, 32);
});

Deno.test("data that a kubelet would never read goes no further: unknown, ended and output streams, bad sizes", async () => {
  const { client, kubelet, ended } = await opened();
  const heard = kubelet.rest();
  await client.data(99, "to nobody");
  await client.data(5, "into stdout");
  await client.data(3, "last", true);
  await client.data(3, "after the end");
  await client.send({ type: "headers", id: 3, fin: false, headers: new Map() });
  await client.send({ type: "ping", id: 1 });
  await client.send({ type: "goaway", lastGoodId: 0, status: 0 });
  client.close();
  await ended;
  assert.deepEqual(await heard, [
    { type: "data", id: 3, text: "last", fin: true },
    { type: "ping", id: 1 },
    { type: "goaway", lastGoodId: 0, status: 0 },
  ]);
});

Deno.test("E-61 sizes are written anew, and what is none is dropped", async () => {
  const { client, kubelet, ended } = scene();
  const heard = kubelet.rest();
  await client.open("error", "stdin", "stdout", "resize");
  await client.data(7, '{"width":80,');
  await client.data(7, '"HEIGHT":24,"x":1}{"Width":70000,"Height":1}');
  await client.data(7, '{"Width":1,"Height":1}');
  client.close();
  await ended;
  assert.deepEqual((await heard).filter(({ type }) => type === "data"), [
    { type: "data", id: 7, text: '{"Width":80,"Height":24}\n', fin: false },
  ]);
});

const BROKEN = [
  { name: "an unknown frame", bytes: Uint8Array.of(0x80, 3, 0, 5, 0, 0, 0, 0) },
  {
    name: "a header block that ends in the next frame",
    bytes: Uint8Array.of(0x80, 3, 0, 2, 0, 0, 0, 6, 0, 0, 0, 1, 0, 0),
  },
];
for (const { name, bytes } of BROKEN) {
  Deno.test(`a client that sends ${name} is told, and the upstream is closed`, async () => {
    const { client, kubelet, ended } = await opened();
    const [, status] = await Promise.all([client.sendRaw(bytes), nextStatus(client)]);
    assert.match(status, /broke the protocol/);
    assert.deepEqual(await client.next(), { type: "goaway", lastGoodId: 7, status: 1 });
    client.close();
    assert.equal(await kubelet.next(), null);
    const end = await ended;
    assert.deepEqual([end.reason, end.by], ["protocol_error", "client"]);
  });
}

Deno.test("what is not read by the client is not read from the kubelet: no buffer grows", async () => {
  const { client, kubelet, kubeletEnd, clientEnd, ended } = await opened();
  const block = new Uint8Array(32_768);
  let sent = 0;
  const flood = (async () => {
    for (; sent < 1000; sent++) await kubelet.sendRaw(dataFrame(5, block));
  })().catch(() => {});
  await new Promise((resolve) => setTimeout(resolve, 50));
  assert.ok(sent < 4, `${sent} blocks were taken from the kubelet while the client read none`);
  assert.ok(kubeletEnd.pendingBytes + clientEnd.peer.pendingBytes < 4 * 40_000);
  clientEnd.lose();
  await ended;
  await flood;
  client.close();
});

Deno.test("stdin that nobody takes is not read from the client, which is pinged and missed when it is gone", async () => {
  const { client, clientEnd, ended } = await opened({ limits: { probeMs: 10 } });
  let sent = 0;
  const flood = (async () => {
    for (; sent < 1000; sent++) await client.data(3, new Uint8Array(32_768));
  })().catch(() => {});
  assert.deepEqual(await client.take(2), [{ type: "ping", id: 2 }, { type: "ping", id: 4 }]);
  assert.ok(sent < 4, `${sent} blocks were taken`);
  clientEnd.lose();
  assert.equal((await ended).reason, "client_vanished");
  await flood;
});

Deno.test("a tap that fails ends the session, and nothing that it did not see is forwarded", async () => {
  const tap: Tap = {
    push: (event: StreamEvent) => event.type === "data" ? Promise.reject(new Error("disk full")) : undefined,
  };
  const { client, kubelet, ended } = await opened({ tap });
  const [, status] = await Promise.all([client.data(3, "secret"), nextStatus(client)]);
  assert.match(status, /Failure/);
  client.close();
  assert.equal(await kubelet.next(), null);
  assert.equal((await ended).reason, "gateway_error");
});

const DEADLINES = [
  { name: "streams that are missing", limits: { setupTimeoutMs: 20 }, streams: 3, reason: "setup_timeout" },
  { name: "silence", limits: { idleTimeoutMs: 20 }, streams: 4, reason: "idle_limit" },
];
for (const { name, limits, streams, reason } of DEADLINES) {
  Deno.test(`a session ends after too long a time of ${name}`, async () => {
    const { client, kubelet, ended } = scene({ limits });
    const [, , status] = await Promise.all([
      client.open(...NAMES.slice(0, streams)),
      kubelet.take(streams),
      nextStatus(client),
    ]);
    assert.match(status, /Failure/);
    client.close();
    assert.equal((await ended).reason, reason);
  });
}

Deno.test("a gateway that drains tells the client why", async () => {
  const drain = new AbortController();
  const { client, ended } = await opened({ signal: drain.signal });
  drain.abort();
  assert.match(await nextStatus(client), /shutting down/);
  client.close();
  assert.equal((await ended).reason, "gateway_draining");
});
