import assert from "node:assert/strict";
import { dataFrame, dataHeader } from "../protocol/spdy/mod.ts";
import { pipe, type PipeEnd } from "../tests/support/pipe.ts";
import { type SeenFrame, SpdyPeer } from "../tests/support/spdy_peer.ts";
import type { SessionLimits } from "./lifetime.ts";
import { type SpdySpliceOptions, spliceSpdy } from "./spdy_splice.ts";
import type { SessionEnd, StreamEvent, Tap } from "./stream_event.ts";
import { StreamLedger } from "./stream_ledger.ts";

const LIMITS = { setupTimeoutMs: 5_000, idleTimeoutMs: 5_000, lingerMs: 200 };
/** A ping that a client ignores: it would answer one with a lock that its own stuck stdin holds. */
const UNASKED = { type: "ping", id: 0x7fff_ffff };
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
function scene(
  options: Partial<Omit<SpdySpliceOptions, "limits"> & { limits: Partial<SessionLimits> }> = {},
): Scene {
  const [clientEnd, gatewayToClient] = pipe();
  const [gatewayToKubelet, kubeletEnd] = pipe();
  const ledger = new StreamLedger();
  const ended = spliceSpdy(gatewayToClient, gatewayToKubelet, {
    protocol: "v4.channel.k8s.io",
    expectedStreams: 4,
    tap: ledger,
    signal: new AbortController().signal,
    ...options,
    limits: { ...LIMITS, ...options.limits },
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

for (const party of ["client", "kubelet"] as const) {
  Deno.test(`a connection that the ${party} resets when the command's end is told is no loss`, async () => {
    const all = await opened();
    await Promise.all([all.kubelet.data(1, SUCCESS), all.client.take(1)]);
    all[`${party}End`].lose();
    const { reason, exitCode } = await all.ended;
    assert.deepEqual([reason, exitCode], ["command_ended", 0]);
  });
}

Deno.test("stdin that a kubelet takes no more, for its command has ended, costs no word of what it said before", async () => {
  const all = await opened({ limits: { lingerMs: 5_000 } });
  const { client, kubelet, ended } = all;
  const said = Promise.all([kubelet.data(5, "output"), kubelet.data(1, SUCCESS)]);
  kubelet.close(); // the client has read nothing yet, and so the gateway has not read all
  await client.data(3, "typed too late");
  const [, frames] = await Promise.all([said, client.take(2)]);
  assert.deepEqual(frames.map((frame) => frame.type === "data" && frame.text), ["output", SUCCESS]);
  client.close();
  const { reason, exitCode } = await ended;
  assert.deepEqual([reason, exitCode], ["command_ended", 0]);
});

Deno.test("a client that waits for the end reads it at once, and what it still sends is dropped", async () => {
  const all = await opened({ limits: { lingerMs: 5_000 } });
  const { client, kubelet, clientEnd, ended } = all;
  const startedAt = performance.now();
  const [, frames] = await Promise.all([
    kubelet.send({ type: "goaway", lastGoodId: 7, status: 0 }).then(() => kubelet.close()),
    client.rest(),
  ]);
  assert.equal(frames.at(-1)?.type, "goaway");
  assert.ok(performance.now() - startedAt < 2_500, "the gateway does not wait for the client to close");
  await clientEnd.write(dataFrame(3, new Uint8Array(10)));
  client.close();
  await ended;
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
  await client.send({ type: "goaway", lastGoodId: 0, status: 0 });
  client.close();
  await ended;
  assert.deepEqual(await heard, [
    { type: "data", id: 3, text: "last", fin: true },
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
    assert.match(status, /the client broke the protocol in its frame 5: /);
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

Deno.test("a kubelet that is not read is told nothing: it may have closed, and would drop what it still has to send", async () => {
  const { client, kubelet, clientEnd, kubeletEnd, ended } = await opened({
    limits: { pingMs: 10, probeMs: 10, silenceMs: 40 },
  });
  const heard = kubelet.rest();
  for (let block = 0; block < 3; block++) kubelet.data(5, new Uint8Array(32_768)).catch(() => {});
  await new Promise((resolve) => setTimeout(resolve, 100));
  assert.equal(kubeletEnd.peer.pendingBytes, 0);
  clientEnd.lose();
  await ended;
  assert.deepEqual(await heard, []);
  client.close();
});

Deno.test("stdin that nobody takes is not read from the client, which is told something and missed when it is gone", async () => {
  const { client, clientEnd, ended } = await opened({ limits: { probeMs: 10 } });
  let sent = 0;
  const flood = (async () => {
    for (; sent < 1000; sent++) await client.data(3, new Uint8Array(32_768));
  })().catch(() => {});
  assert.deepEqual(await client.take(2), [UNASKED, UNASKED]);
  assert.ok(sent < 4, `${sent} blocks were taken`);
  clientEnd.lose();
  assert.equal((await ended).reason, "client_vanished");
  await flood;
});

for (
  const { how, fail } of [
    { how: "rejects", fail: () => Promise.reject(new Error("disk full")) },
    {
      how: "throws",
      fail: () => {
        throw new Error("disk full");
      },
    },
  ]
) {
  Deno.test(`a tap that ${how} ends the session with a sentence, and nothing that it did not see is forwarded`, async () => {
    const tap: Tap = { push: (event: StreamEvent) => event.type === "data" ? fail() : undefined };
    const { client, kubelet, ended } = await opened({ tap });
    const [, status] = await Promise.all([client.data(3, "secret"), nextStatus(client)]);
    assert.match(status, /the audit log cannot be written, so the session ends/);
    client.close();
    assert.equal(await kubelet.next(), null);
    const end = await ended;
    assert.deepEqual([end.reason, end.by], ["audit_failure", "gateway"]);
  });

  Deno.test(`a tap that ${how} on output keeps it from the client`, async () => {
    const tap: Tap = { push: (event) => event.type === "data" ? fail() : undefined };
    const { client, kubelet, ended } = await opened({ tap });
    const [, frame] = await Promise.all([kubelet.data(5, "secret"), client.next()]);
    assert.equal(frame?.type === "data" && frame.id, 1);
    client.close();
    assert.equal((await ended).reason, "audit_failure");
  });
}

const DEADLINES = [
  { name: "streams that are missing", limits: { setupTimeoutMs: 20 }, streams: 3, reason: "setup_timeout" },
  { name: "silence", limits: { idleTimeoutMs: 20 }, streams: 4, reason: "idle_limit" },
  { name: "anything", limits: { timeLimitMs: 20 }, streams: 4, reason: "time_limit" },
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

const HOPS = [
  { name: "client", ping: 1, theirs: ({ client }: Scene) => client, other: ({ kubelet }: Scene) => kubelet },
  { name: "kubelet", ping: 2, theirs: ({ kubelet }: Scene) => kubelet, other: ({ client }: Scene) => client },
];
for (const { name, ping, theirs, other } of HOPS) {
  Deno.test(`E-33 a ping of the ${name} is echoed by the gateway and goes no further; an echo of nothing is dropped`, async () => {
    const all = await opened();
    const peer = theirs(all);
    await peer.send({ type: "ping", id: ping + 1 });
    await Promise.all([
      peer.send({ type: "ping", id: ping }),
      peer.next().then((frame) => assert.deepEqual(frame, { type: "ping", id: ping })),
    ]);
    peer.close();
    const rest = (await other(all).rest()).filter(({ type }) => type === "ping");
    assert.deepEqual(rest, []);
    all.client.close();
    await all.ended;
  });
}

Deno.test("E-33 pings of a client that takes no output are no reason not to hear it: its stdin goes on", async () => {
  const { client, kubelet, clientEnd, ended } = await opened();
  await kubelet.data(5, "nobody reads this");
  await client.send({ type: "ping", id: 1 });
  await Promise.all([
    client.data(3, "\x03"),
    kubelet.next().then((frame) => assert.equal(frame?.type === "data" && frame.text, "\x03")),
  ]);
  clientEnd.lose();
  await ended;
});

Deno.test("pings keep no session from being idle, and idle streams are no reason to say that someone vanished", async () => {
  const { client, kubelet, ended } = await opened({
    limits: { idleTimeoutMs: 150, pingMs: 10, silenceMs: 40 },
  });
  const talk = async (peer: SpdyPeer) => {
    for (
      let frame = await peer.next();
      frame !== null && frame.type !== "goaway";
      frame = await peer.next()
    ) {
      if (frame.type === "ping") await peer.send(frame).catch(() => {});
    }
    peer.close();
  };
  await Promise.all([talk(client), talk(kubelet)]);
  assert.equal((await ended).reason, "idle_limit");
});

for (const [silent, reason] of [["client", "client_vanished"], ["kubelet", "upstream_vanished"]] as const) {
  Deno.test(`a ${silent} that answers no more, though it had nothing to read, has vanished`, async () => {
    const all = await opened({ limits: { pingMs: 10, silenceMs: 40 } });
    const answer = async (peer: SpdyPeer, rounds: number) => {
      let count = 0;
      for (
        let frame = await peer.next();
        frame !== null && frame.type !== "goaway";
        frame = await peer.next()
      ) {
        if (frame.type === "ping" && count++ < rounds * 5) await peer.send(frame).catch(() => {});
      }
      peer.close();
    };
    const rounds = (name: string) => name === silent ? 1 : Infinity;
    await Promise.all([answer(all.client, rounds("client")), answer(all.kubelet, rounds("kubelet"))]);
    const end = await all.ended;
    assert.equal(end.reason, reason);
    assert.match(end.message, /^nothing was heard from the (client|upstream) for 40ms though it was asked$/);
  });
}

/** A client of the OpenShift documents: it opens what it was promised, and no error stream. */
async function documented(names: readonly string[]): Promise<Scene> {
  const all = scene({
    protocol: "channel.k8s.io",
    expectedStreams: names.length + 1,
    opensErrorStream: true,
  });
  const [, streams] = await Promise.all([all.client.open(...names), all.kubelet.take(names.length + 2)]);
  const opened = streams.map((frame) =>
    frame.type === "syn_stream" ? `${frame.id} ${frame.headers.get("streamtype")}` : frame.type
  );
  const error = 2 * names.length + 1;
  assert.deepEqual(opened, [
    ...names.map((name, index) => `${2 * index + 1} ${name}`),
    `${error} error`,
    "data",
  ]);
  const ids = Array.from({ length: names.length + 1 }, (_, index) => 2 * index + 1);
  const replies = ids.map((id) => ({ type: "syn_reply" as const, id, fin: false, headers: new Map() }));
  const [, seen] = await Promise.all([all.kubelet.send(...replies), all.client.take(names.length)]);
  assert.deepEqual(seen.map((frame) => frame.type === "syn_reply" && frame.id), ids.slice(0, -1));
  return all;
}

for (const names of [["stdin", "stdout", "stderr"], ["stdout"]]) {
  Deno.test(`a client of the documents that opens ${names} has its error stream opened for it`, async () => {
    const { client, kubelet, ended, ledger } = await documented(names);
    const error = 2 * names.length + 1;
    const kubeletSays = async () => {
      await kubelet.data(error, "command terminated with exit code 3");
      await kubelet.send({ type: "rst_stream", id: error, status: 5 });
      await kubelet.data(1, "output");
      await kubelet.send({ type: "goaway", lastGoodId: error, status: 0 });
    };
    const [, frames] = await Promise.all([kubeletSays(), client.take(2)]);
    assert.deepEqual(frames, [
      { type: "data", id: 1, text: "output", fin: false },
      { type: "goaway", lastGoodId: error, status: 0 },
    ]);
    client.close();
    assert.equal((await ended).reason, "command_ended");
    const told = ledger.summaries().map(({ name }) => name);
    assert.deepEqual(told, [...names, "error"]);
  });
}

Deno.test("a client that opens its own error stream last, after all, gets the one that was opened for it, and what it missed", async () => {
  const { client, kubelet, ended } = await documented(["stdin", "stdout", "stderr"]);
  await kubelet.data(7, "no such ");
  const headers = new Map([["streamtype", "error"]]);
  const syn = { type: "syn_stream" as const, id: 7, associatedId: 0, priority: 0, slot: 0, headers };
  const [, adopted] = await Promise.all([
    client.send({ ...syn, fin: false, unidirectional: false }),
    client.take(2),
  ]);
  assert.deepEqual(adopted, [
    { type: "syn_reply", id: 7, fin: false, headers: new Map() },
    { type: "data", id: 7, text: "no such ", fin: false },
  ]);
  const [, more] = await Promise.all([kubelet.data(7, "command", true), client.next()]);
  assert.deepEqual(more, { type: "data", id: 7, text: "command", fin: true });
  const [, refused] = await Promise.all([
    client.send({ ...syn, id: 9, fin: false, unidirectional: false }),
    client.next(),
  ]);
  assert.deepEqual(refused, { type: "rst_stream", id: 9, status: 3 }, "there is one error stream");
  client.close();
  await ended;
});

const STRANGE = [
  { name: "another stream by the number of the error stream", id: 7, streamtype: "stdin" },
  { name: "an error stream by another number", id: 9, streamtype: "error" },
];
for (const { name, id, streamtype } of STRANGE) {
  Deno.test(`${name} is refused, and nothing of it reaches the kubelet`, async () => {
    const { client, kubelet, ended } = await documented(["stdin", "stdout", "stderr"]);
    const heard = kubelet.rest();
    const syn = { type: "syn_stream" as const, id, associatedId: 0, priority: 0, slot: 0 };
    const headers = new Map([["streamtype", streamtype]]);
    await Promise.all([
      client.send({ ...syn, fin: false, unidirectional: false, headers }),
      client.next().then((frame) => assert.deepEqual(frame, { type: "rst_stream", id, status: 3 })),
    ]);
    await client.data(7, "injected");
    await client.send({ type: "rst_stream", id: 7, status: 5 });
    client.close();
    await ended;
    assert.deepEqual(await heard, []);
  });
}

const ATTACH_ENDS = [
  { status: SUCCESS, want: /^the container's process ended, or the session detached from it$/ },
  {
    status: '{"metadata":{},"status":"Failure","message":"error attaching to container: gone","code":500}',
    want: /error attaching to container: gone/,
  },
];
for (const { status, want } of ATTACH_ENDS) {
  Deno.test(`an attach claims no exit code of its container: ${want.source}`, async () => {
    const all = await opened({ purpose: "attach" });
    await finish(all, status);
    const end = await all.ended;
    assert.equal(end.reason, "command_ended");
    assert.match(end.message, want);
    assert.equal(end.exitCode, undefined);
  });
}
