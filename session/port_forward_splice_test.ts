import assert from "node:assert/strict";
import { echo, ForwardingKubelet, type Service } from "../tests/support/forwarding_kubelet.ts";
import { pipe, type PipeEnd } from "../tests/support/pipe.ts";
import { type MuxStream, SpdyMux } from "../tests/support/spdy_mux.ts";
import {
  type ForwardedConnection,
  type PortForwardOptions,
  splicePortForward,
} from "./port_forward_splice.ts";
import type { SessionEnd, StreamEvent } from "./stream_event.ts";

const LIMITS = { setupTimeoutMs: 20, idleTimeoutMs: 5_000, lingerMs: 200 };
const DENIED = "port 5432 is not among those that may be forwarded (rule forwarded-port)";

/** Two connections in memory, a splice between them, and what it told. */
interface Scene {
  clientEnd: PipeEnd;
  kubeletEnd: PipeEnd;
  ended: Promise<SessionEnd>;
  reports: ForwardedConnection[];
  events: StreamEvent[];
}

function scene(options: Partial<PortForwardOptions> = {}): Scene {
  const [clientEnd, gatewayToClient] = pipe();
  const [gatewayToKubelet, kubeletEnd] = pipe();
  const reports: ForwardedConnection[] = [];
  const events: StreamEvent[] = [];
  const ended = splicePortForward(gatewayToClient, gatewayToKubelet, {
    limits: LIMITS,
    signal: new AbortController().signal,
    tap: {
      push: (event) =>
        void events.push(event.type === "data" ? { ...event, bytes: event.bytes.slice() } : event),
    },
    checkPort: (port) => port === 5432 ? DENIED : undefined,
    onConnection: (report) => void reports.push(report),
    isLegacy: false,
    maxConnections: 100,
    ...options,
  });
  return { clientEnd, kubeletEnd, ended, reports, events };
}

interface Session extends Scene {
  client: SpdyMux;
  kubelet: ForwardingKubelet;
  /** Ends as a client does. */
  finish(): Promise<SessionEnd>;
}

/** The same with a client and a kubelet that services run behind. */
function session(services: Record<number, Service> = {}, options: Partial<PortForwardOptions> = {}): Session {
  const all = scene(options);
  const client = new SpdyMux(all.clientEnd);
  const kubelet = new ForwardingKubelet(all.kubeletEnd, services);
  const finish = async () => {
    await client.close();
    const end = await all.ended;
    await kubelet.mux.ended;
    await kubelet.idle();
    return end;
  };
  return { ...all, client, kubelet, finish };
}

interface Pair {
  error: MuxStream;
  data: MuxStream;
}

/** A connection as client-go opens it: error stream, its end, data stream, each after the answer to the one before. */
async function connect(client: SpdyMux, port: number, requestid: string): Promise<Pair> {
  const error = client.open({ streamtype: "error", port: String(port), requestid });
  await error.answered;
  error.end();
  const data = client.open({ streamtype: "data", port: String(port), requestid });
  await data.answered;
  return { error, data };
}

/** What a report says apart from times. */
function facts({ openedAt: _openedAt, durationMs: _durationMs, ...rest }: ForwardedConnection) {
  return rest;
}

Deno.test("E-98 bytes flow both ways once both streams are accepted, and the connection is written down", async () => {
  const { client, kubelet, finish, reports, events } = session({ 80: echo });
  const { error, data } = await connect(client, 80, "0");
  data.write("hello", true);
  assert.equal(await data.text(), "hello");
  assert.equal(await error.text(), "");
  assert.equal((await finish()).reason, "client_closed");
  assert.deepEqual(kubelet.opened.get(1), { streamtype: "error", port: "80", requestid: "0" });
  assert.deepEqual(kubelet.opened.get(3), { streamtype: "data", port: "80", requestid: "0" });
  assert.deepEqual(reports.map(facts), [
    { requestId: "0", port: 80, bytesIn: 5, bytesOut: 5, endedBy: "client" },
  ]);
  assert.deepEqual(events.map(({ type, id, stream }) => `${type} ${id} ${stream}`).sort(), [
    "data 3 data:80",
    "data 3 data:80",
    "half_closed 1 error:80",
    "half_closed 1 error:80",
    "half_closed 3 data:80",
    "half_closed 3 data:80",
    "opened 1 error:80",
    "opened 3 data:80",
  ]);
});

Deno.test("E-99 the data stream may come first, and what it carries is not lost", async () => {
  const { client, finish, reports } = session({ 80: echo });
  const data = client.open({ streamtype: "data", port: "80", requestid: "a" });
  data.write("early", true);
  const error = client.open({ streamtype: "error", port: "80", requestid: "a" });
  error.end();
  assert.equal(await data.text(), "early");
  assert.equal(await error.text(), "");
  await finish();
  assert.deepEqual(reports.map(({ requestId, bytesOut }) => [requestId, bytesOut]), [["a", 5]]);
});

const UNNAMED = [
  { name: "one after the other", types: ["error", "data", "error", "data"], want: ["1", "1", "5", "5"] },
  {
    name: "interleaved, of which two find each other",
    types: ["error", "error", "data", "data"],
    want: ["1", "3", "3", "5"],
  },
];
for (const { name, types, want } of UNNAMED) {
  Deno.test(`E-100 streams without a request ID are told apart by their numbers: ${name}`, async () => {
    const { client, kubelet, finish } = session({ 80: echo });
    for (const streamtype of types) await client.open({ streamtype, port: "80" }).answered;
    assert.deepEqual([...kubelet.opened.values()].map(({ requestid }) => requestid), want);
    await finish();
  });
}

const REFUSED: { headers: Record<string, string>; reason: string }[] = [
  { headers: { streamtype: "data", port: "0", requestid: "7" }, reason: 'port "0" must be > 0' },
  {
    headers: { streamtype: "data", port: "-1", requestid: "7" },
    reason: 'unable to parse "-1" as a port: strconv.ParseUint: parsing "-1": invalid syntax',
  },
  { headers: { streamtype: "data", requestid: "7" }, reason: '"port" header is required' },
  { headers: { port: "80", requestid: "7" }, reason: '"streamType" header is required' },
  { headers: { streamtype: "foo", port: "80", requestid: "7" }, reason: 'invalid stream type "foo"' },
];
for (const { headers, reason } of REFUSED) {
  Deno.test(`E-101 a stream is reset without a reply: ${reason}`, async () => {
    const { client, kubelet, finish, reports } = session({ 80: echo });
    const refused = client.open(headers);
    assert.equal(await refused.answered, "refused");
    assert.equal(refused.resetStatus, 5);
    const { data } = await connect(client, 80, "8");
    data.write("still here", true);
    assert.equal(await data.text(), "still here");
    await finish();
    assert.deepEqual(kubelet.opened.size, 2);
    assert.deepEqual(facts(reports[0]!), {
      ...{ requestId: "7", port: 0, bytesIn: 0, bytesOut: 0, endedBy: "gateway", error: reason },
    });
  });
}

Deno.test("E-103 a refused port is told on its error stream, and the other connections live on", async () => {
  const { client, finish, reports } = session({ 80: echo });
  const living = await connect(client, 80, "0");
  const refused = await connect(client, 81, "1");
  const text = await refused.error.text();
  assert.equal(text, "error forwarding port 81 to pod web, uid : connect: connection refused");
  assert.equal(await refused.data.text(), "");
  assert.deepEqual([refused.error.resetStatus, refused.data.resetStatus], [5, 5]);
  living.data.write("alive", true);
  assert.equal(await living.data.text(), "alive");
  await finish();
  assert.deepEqual(facts(reports[0]!), {
    ...{ requestId: "1", port: 81, bytesIn: 0, bytesOut: 0, endedBy: "upstream", error: text },
  });
});

Deno.test("E-104 a second stream of its type is the kubelet's to complain of, and what it carries goes no further", async () => {
  const { client, kubelet, finish, reports } = session({ 80: echo });
  const error = client.open({ streamtype: "error", port: "80", requestid: "r" });
  const data = client.open({ streamtype: "data", port: "80", requestid: "other" });
  const again = client.open({ streamtype: "data", port: "80", requestid: "other" });
  again.write("nobody reads this");
  await again.answered;
  const spare = client.open({ streamtype: "error", port: "80", requestid: "r" });
  const words = "error processing stream for request r: error stream already assigned";
  assert.equal(new TextDecoder().decode((await error.read())!), words);
  const late = client.open({ streamtype: "error", port: "80", requestid: "other" });
  late.end();
  data.write("echo", true);
  assert.deepEqual([await data.text(), await late.text()], ["echo", ""]);
  for (const stream of [again, spare]) await stream.cancel();
  await finish();
  assert.equal(kubelet.opened.size, 5);
  const wrote = reports.map((
    { requestId, bytesIn, bytesOut, error },
  ) => [requestId, bytesIn, bytesOut, error]);
  assert.deepEqual(wrote, [["other", 4, 4, undefined], ["r", 0, 0, words]]);
});

Deno.test("E-105 a half that the kubelet gives up is told so, and the session lives on", async () => {
  const { clientEnd, kubeletEnd, ended, reports } = scene();
  const client = new SpdyMux(clientEnd);
  const words = "(conn=0xc000, request=0) timed out waiting for streams";
  const kubelet = new SpdyMux(kubeletEnd, (stream) => {
    stream.accept();
    if (stream.headers.get("requestid") === "0") stream.write(words);
  });
  const half = client.open({ streamtype: "error", port: "80", requestid: "0" });
  assert.equal(new TextDecoder().decode((await half.read())!), words);
  assert.equal(await client.open({ streamtype: "error", port: "80", requestid: "1" }).answered, "accepted");
  await half.cancel();
  await client.close();
  await ended;
  await kubelet.ended;
  assert.deepEqual(reports.map(({ requestId, error }) => [requestId, error]), [["0", words], [
    "1",
    undefined,
  ]]);
});

Deno.test("E-106 the port of a connection is its data stream's, for the event and for the kubelet", async () => {
  const { client, kubelet, finish, reports } = session({ 81: echo });
  client.open({ streamtype: "error", port: "80", requestid: "0" });
  const data = client.open({ streamtype: "data", port: "0081", requestid: "0" });
  data.write("x", true);
  assert.equal(await data.text(), "x");
  await finish();
  assert.equal(kubelet.opened.get(3)!.port, "81");
  assert.equal(reports[0]!.port, 81);
});

Deno.test("headers that a client adds, and other values of those it may send, go no further", async () => {
  const { client, kubelet, finish } = session();
  const headers = {
    streamtype: "data\0error",
    port: "80\x005432",
    requestid: "0\x001",
    ":host": "x",
    cookie: "y",
  };
  await client.open(headers).answered;
  assert.deepEqual(kubelet.opened.get(1), { streamtype: "data", port: "80", requestid: "0" });
  await finish();
});

for (const order of [["error", "data"], ["data", "error"]]) {
  Deno.test(`a denied port is told on its error stream, ${order[0]} stream first, and nothing of it goes upstream`, async () => {
    const { client, kubelet, finish, reports } = session({ 80: echo, 5432: echo });
    const living = await connect(client, 80, "0");
    const streams = new Map<string, MuxStream>();
    for (const type of order) {
      const stream = client.open({ streamtype: type, port: "5432", requestid: "1" });
      assert.equal(await stream.answered, "accepted");
      if (type === "error") stream.end();
      else stream.write("SELECT secret");
      streams.set(type, stream);
    }
    assert.equal(await streams.get("error")!.text(), DENIED);
    assert.equal(await streams.get("data")!.text(), "");
    assert.deepEqual([...streams.values()].map(({ resetStatus }) => resetStatus), [5, 5]);
    living.data.write("alive", true);
    assert.equal(await living.data.text(), "alive");
    await finish();
    assert.deepEqual([...kubelet.opened.values()].map(({ port }) => port), ["80", "80"]);
    assert.deepEqual(facts(reports[0]!), {
      ...{
        requestId: "1",
        port: 5432,
        bytesIn: 0,
        bytesOut: 0,
        endedBy: "gateway",
        error: DENIED,
        isDenied: true,
      },
    });
  });
}

const MIXED = [
  { first: { streamtype: "error", port: "80" }, second: { streamtype: "data", port: "5432" } },
  { first: { streamtype: "data", port: "80" }, second: { streamtype: "error", port: "5432" } },
  { first: { streamtype: "error", port: "5432" }, second: { streamtype: "data", port: "80" } },
];
for (const { first, second } of MIXED) {
  Deno.test(`a denied port cannot hide behind an allowed one: ${first.streamtype} ${first.port}, ${second.streamtype} ${second.port}`, async () => {
    const { client, kubelet, finish, reports } = session({ 80: echo, 5432: echo });
    const one = client.open({ ...first, requestid: "0" });
    const two = client.open({ ...second, requestid: "0" });
    const error = first.streamtype === "error" ? one : two;
    assert.equal(await error.text(), DENIED);
    await finish();
    assert.ok([...kubelet.opened.values()].every(({ port }) => port === "80"));
    assert.deepEqual(reports.map(({ port, isDenied }) => [port, isDenied]), [[5432, true]]);
  });
}

Deno.test("a half of a denied connection that never found the other is written down all the same", async () => {
  const { client, finish, reports } = session();
  await client.open({ streamtype: "data", port: "5432", requestid: "0" }).answered;
  const reset = client.open({ streamtype: "error", port: "5432", requestid: "1" });
  await reset.answered;
  await reset.cancel();
  await finish();
  const wrote = reports.map(({ requestId, isDenied, endedBy }) => [requestId, isDenied, endedBy]);
  assert.deepEqual(wrote, [["1", true, "gateway"], ["0", true, "gateway"]]);
});

Deno.test("a documented client's one stream is a connection, whose error stream is the gateway's own", async () => {
  const { client, kubelet, finish, reports, events } = session({ 80: echo }, { isLegacy: true });
  const one = client.open({ port: "80" });
  const two = client.open({ port: "80" });
  assert.deepEqual(await Promise.all([one.answered, two.answered]), ["accepted", "accepted"]);
  one.write("first", true);
  two.write("second", true);
  assert.deepEqual(await Promise.all([one.text(), two.text()]), ["first", "second"]);
  await finish();
  const opened = [...kubelet.opened].map(([id, { streamtype, requestid }]) => [id, streamtype, requestid]);
  assert.deepEqual(opened, [[1, "error", "1"], [3, "data", "1"], [5, "error", "3"], [7, "data", "3"]]);
  assert.deepEqual(reports.map(({ requestId, bytesIn }) => [requestId, bytesIn]), [["1", 5], ["3", 6]]);
  assert.ok(events.every(({ stream }) => stream === "data:80"));
});

Deno.test("a documented client is reset where its port is refused, and the event says why", async () => {
  const { client, finish, reports } = session({}, { isLegacy: true });
  const refused = client.open({ port: "81" });
  assert.equal(await refused.text(), "");
  assert.equal(refused.resetStatus, 5);
  const denied = client.open({ port: "5432" });
  assert.equal(await denied.text(), "");
  assert.equal(denied.resetStatus, 5);
  await finish();
  const wrote = reports.map(({ port, error, isDenied }) => [port, error, isDenied]);
  assert.deepEqual(wrote, [
    [81, "error forwarding port 81 to pod web, uid : connect: connection refused", undefined],
    [5432, DENIED, true],
  ]);
});

Deno.test("a documented client may name its streams after all", async () => {
  const { client, finish } = session({ 80: echo }, { isLegacy: true });
  const alone = client.open({ port: "80" });
  const { data } = await connect(client, 80, "0");
  data.write("pair", true);
  alone.write("alone", true);
  assert.deepEqual(await Promise.all([data.text(), alone.text()]), ["pair", "alone"]);
  await finish();
});

Deno.test("text on the gateway's own error stream resets the client, even if the kubelet leaves the data stream open", async () => {
  const { clientEnd, kubeletEnd, ended, reports } = scene({ isLegacy: true });
  const client = new SpdyMux(clientEnd);
  const kubelet = new SpdyMux(kubeletEnd, (stream) => {
    stream.accept();
    if (stream.headers.get("streamtype") === "error") stream.write("broken", true);
  });
  const stream = client.open({ port: "80" });
  assert.equal(await stream.text(), "");
  assert.equal(stream.resetStatus, 5);
  await client.close();
  await ended;
  await kubelet.ended;
  assert.deepEqual(reports.map(({ error, endedBy }) => [error, endedBy]), [["broken", "upstream"]]);
});

Deno.test("more connections than may be open are refused, once each, and there is room again when one has ended", async () => {
  const { client, finish, reports } = session({ 80: echo }, { maxConnections: 2 });
  const first = await connect(client, 80, "0");
  await connect(client, 80, "1");
  const refused = ["error", "data"].map((streamtype) =>
    client.open({ streamtype, port: "80", requestid: "2" })
  );
  for (const stream of refused) {
    assert.equal(await stream.answered, "refused");
    assert.equal(stream.resetStatus, 3);
  }
  first.data.end();
  await first.data.text();
  await first.error.text();
  const next = await connect(client, 80, "3");
  next.data.write("room", true);
  assert.equal(await next.data.text(), "room");
  await next.error.text();
  await finish();
  const wrote = reports.map(({ requestId, endedBy, error }) => [requestId, endedBy, error]);
  assert.deepEqual(wrote, [
    ["2", "gateway", "no more than 2 connections can be forwarded at once"],
    ["0", "client", undefined],
    ["3", "client", undefined],
    ["1", "session", undefined],
  ]);
});

Deno.test("E-35 a stream number that was used is reset, and the next stream still opens", async () => {
  const { client, finish } = session({ 80: echo });
  await connect(client, 80, "0");
  const again = client.open({ streamtype: "error", port: "80", requestid: "1" }, { id: 3 });
  assert.equal(await again.answered, "refused");
  assert.equal(again.resetStatus, 1);
  const next = client.open({ streamtype: "error", port: "80", requestid: "1" }, { id: 5 });
  assert.equal(await next.answered, "accepted");
  await finish();
});

Deno.test("a stream number that leaves no room for the gateway's own ends the session", async () => {
  const { client, kubelet, ended } = session({}, { isLegacy: true });
  client.open({ port: "80" }, { id: 0x7fff_fffd });
  client.open({ port: "80" }, { id: 0x7fff_ffff });
  await client.ended;
  assert.equal((await ended).reason, "gateway_error");
  await kubelet.mux.ended;
});

Deno.test("streams that are gone are silent: DATA, FIN and RST for them go no further", async () => {
  const { client, kubelet, finish } = session({ 80: echo });
  const { data, error } = await connect(client, 80, "0");
  await data.cancel();
  await error.text();
  for (const stream of [data, error]) {
    await stream.write("too late");
    await stream.end();
    await stream.cancel();
  }
  const next = await connect(client, 80, "1");
  next.data.write("x", true);
  assert.equal(await next.data.text(), "x");
  await finish();
  assert.equal(kubelet.opened.size, 4);
});

const ENDS: {
  name: string;
  leave: (all: Session, drain: AbortController) => void;
  reason: string;
  sentence: string;
}[] = [
  {
    name: "the kubelet says GOAWAY",
    leave: ({ kubelet }) => void kubelet.mux.send({ type: "goaway", lastGoodId: 0, status: 0 }),
    reason: "upstream_closed",
    sentence: "the upstream ended the port-forward",
  },
  {
    name: "the kubelet closes",
    leave: ({ kubeletEnd }) => kubeletEnd.close(),
    reason: "upstream_closed",
    sentence: "the upstream ended the port-forward",
  },
  {
    name: "the kubelet is lost",
    leave: ({ kubeletEnd }) => kubeletEnd.lose(),
    reason: "upstream_vanished",
    sentence: "the connection to the upstream was lost",
  },
  {
    name: "the gateway drains",
    leave: (_, drain) => drain.abort(),
    reason: "gateway_draining",
    sentence: "the gateway is shutting down",
  },
];
for (const { name, leave, reason, sentence } of ENDS) {
  Deno.test(`where ${name} the client is told on each error stream, then by GOAWAY`, async () => {
    const drain = new AbortController();
    const all = session({ 80: echo }, { signal: drain.signal });
    const pairs = [await connect(all.client, 80, "0"), await connect(all.client, 80, "1")];
    const done = await connect(all.client, 80, "2");
    done.data.end();
    await done.data.text();
    leave(all, drain);
    for (const { error, data } of pairs) {
      assert.equal(await error.text(), sentence);
      assert.equal(await data.text(), "");
    }
    await all.client.ended;
    assert.equal(all.client.goaway, 0);
    all.clientEnd.close();
    assert.equal((await all.ended).reason, reason);
    all.kubeletEnd.close();
    await all.kubelet.mux.ended;
    await all.kubelet.idle();
    const wrote = all.reports.map(({ requestId, endedBy, error }) => [requestId, endedBy, error]);
    assert.deepEqual(wrote, [["2", "client", undefined], ["0", "session", sentence], [
      "1",
      "session",
      sentence,
    ]]);
  });
}

Deno.test("a client that is lost ends the session and its upstream", async () => {
  const { client, clientEnd, kubelet, ended, reports } = session({ 80: echo });
  await connect(client, 80, "0");
  clientEnd.lose();
  assert.equal((await ended).reason, "client_vanished");
  await kubelet.mux.ended;
  await kubelet.idle();
  await client.ended;
  assert.deepEqual(reports.map(({ endedBy, error }) => [endedBy, error]), [["session", undefined]]);
});

Deno.test("a client that breaks the protocol is told so", async () => {
  const { client, clientEnd, kubelet, ended } = session({ 80: echo });
  const { error } = await connect(client, 80, "0");
  client.write(Uint8Array.of(0x80, 3, 0, 5, 0, 0, 0, 0));
  assert.match(await error.text(), /^the client broke the protocol.*frame_unknown/);
  await client.ended;
  assert.equal(client.goaway, 1);
  clientEnd.close();
  assert.equal((await ended).reason, "protocol_error");
  await kubelet.mux.ended;
  await kubelet.idle();
});

Deno.test("no stream need ever be opened, and pings keep no session from being idle", async () => {
  const { client, clientEnd, ended } = session({}, { limits: { ...LIMITS, idleTimeoutMs: 100 } });
  const pinging = setInterval(() => client.send({ type: "ping", id: 1 }), 10);
  await client.ended;
  clearInterval(pinging);
  clientEnd.close();
  assert.equal((await ended).reason, "idle_limit");
  assert.ok(client.pings.length > 2, "it was not the missing streams that ended it");
});

Deno.test("E-33 pings are answered hop by hop: the client's odd ones, the kubelet's even ones", async () => {
  const { client, kubelet, finish } = session({ 80: echo });
  await client.send({ type: "ping", id: 2 });
  await client.send({ type: "ping", id: 7 });
  await kubelet.mux.send({ type: "ping", id: 3 });
  await kubelet.mux.send({ type: "ping", id: 8 });
  const { data } = await connect(client, 80, "0");
  data.write("x", true);
  await data.text();
  await finish();
  assert.deepEqual([client.pings, kubelet.mux.pings], [[7], [8]]);
});

Deno.test("the end of a connection is told when it is written down, and no other connection waits for that", async () => {
  const disk = Promise.withResolvers<void>();
  const { client, finish } = session({ 80: echo }, {
    onConnection: ({ requestId }) => requestId === "slow" ? disk.promise : undefined,
  });
  const slow = await connect(client, 80, "slow");
  slow.data.write("bytes", true);
  assert.equal(new TextDecoder().decode((await slow.data.read())!), "bytes");
  const quick = await connect(client, 80, "quick");
  quick.data.write("past it", true);
  assert.equal(await quick.data.text(), "past it");
  const ended = Promise.all([slow.data.text(), slow.error.text()]).then(() => "told");
  assert.equal(await Promise.race([ended, new Promise((tick) => setTimeout(tick, 20, "waits"))]), "waits");
  disk.resolve();
  assert.equal(await ended, "told");
  await finish();
});

Deno.test("a session whose connections cannot be written down ends as audit_failure", async () => {
  const { client, clientEnd, kubelet, ended } = session({ 80: echo }, {
    onConnection: () => Promise.reject(new Error("disk full")),
  });
  const living = await connect(client, 80, "0");
  const { data } = await connect(client, 80, "1");
  data.end();
  assert.equal(await living.error.text(), "the audit log cannot be written, so the session ends");
  await client.ended;
  clientEnd.close();
  const end = await ended;
  assert.deepEqual([end.reason, end.by, String(end.cause)], ["audit_failure", "gateway", "Error: disk full"]);
  await kubelet.mux.ended;
  await kubelet.idle();
});

for (const name of ["rejects", "throws"]) {
  Deno.test(`a tap that ${name} ends the session, and nothing that it did not see is forwarded`, async () => {
    const push = (event: StreamEvent) => {
      if (event.type !== "data") return;
      if (name === "throws") throw new Error("disk full");
      return Promise.reject(new Error("disk full"));
    };
    let heard = "";
    const { client, clientEnd, kubelet, ended } = session({
      80: async (data) => {
        heard += await data.text();
      },
    }, { tap: { push } });
    const { data, error } = await connect(client, 80, "0");
    data.write("secret");
    assert.equal(await error.text(), "the audit log cannot be written, so the session ends");
    await client.ended;
    clientEnd.close();
    assert.equal((await ended).reason, "audit_failure");
    await kubelet.mux.ended;
    await kubelet.idle();
    assert.equal(heard, "");
  });
}

for (const party of ["client", "upstream"] as const) {
  Deno.test(`a session without a word is kept by pings, and ends when the ${party} answers no more`, async () => {
    const limits = { ...LIMITS, pingMs: 20, silenceMs: 100 };
    const all = session({ 80: echo }, { limits });
    const sides = { client: all.client, upstream: all.kubelet.mux };
    for (const side of Object.values(sides)) side.answersPings = true;
    const { error } = await connect(all.client, 80, "0");
    const isOver = all.ended.then(() => "over");
    assert.equal(await Promise.race([isOver, new Promise((tick) => setTimeout(tick, 300, "kept"))]), "kept");
    sides[party].answersPings = false;
    const sentence = `nothing was heard from the ${party} for 100ms though it was asked`;
    if (party === "upstream") assert.equal(await error.text(), sentence);
    const end = await all.ended;
    assert.equal(end.reason, `${party}_vanished`);
    assert.equal(end.message, sentence);
    all.clientEnd.close();
    all.kubeletEnd.close();
    await Promise.all([all.client.ended, all.kubelet.mux.ended]);
    await all.kubelet.idle();
  });
}
