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
