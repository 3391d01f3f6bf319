import { connectionEvent } from "../audit/event.ts";
import { Refusal } from "../kube/status.ts";
import type { Target } from "../kube/target.ts";
import { readApiPorts, readKubeletPorts, STREAM_PROTOCOL } from "../protocol/port_forward/mod.ts";
import type { ByteConnection } from "../session/byte_connection.ts";
import { forwardChannels } from "../session/port_forward_channels.ts";
import { type ForwardedConnection, splicePortForward } from "../session/port_forward_splice.ts";
import { tunnelPortForward } from "../session/port_forward_tunnel.ts";
import type { SessionEnd, Tap } from "../session/stream_event.ts";
import { admit, decide, identify } from "./admission.ts";
import { recordStrictly } from "./evidence.ts";
import { auditTarget, type Gate } from "./gate.ts";
import type { Journey } from "./journey.ts";
import { LiveSession } from "./live_session.ts";
import { nameOf, NegotiationRefusal } from "./negotiation.ts";
import { negotiatePortForward, type PortForwardProtocol } from "./port_forward_negotiation.ts";
import type { SessionAddress } from "./session_address.ts";

/** A port-forward, whatever path asked for it: the whole journey of a session, from credential to end. */
export async function portForward(journey: Journey, gate: Gate, address: SessionAddress): Promise<Response> {
  const { method, context: { rawHeaders, upgrade } } = journey;
  const caller = await identify(journey, gate);
  const target = await admit(journey, gate, caller, address);

  if (method !== "GET" && method !== "POST") {
    throw new Refusal("MethodNotAllowed", "the server does not allow this method on the requested resource");
  }
  if (upgrade === undefined) throw new Refusal("BadRequest", "Upgrade request required");
  const client = negotiatePortForward(method, rawHeaders, caller.subprotocols, address.form);
  const ports = client.transport === "channels" ? readPorts(journey, address) : [];
  const clientProtocol = nameOf(client);
  journey.learn({ protocol: clientProtocol });

  const permission = await decide(journey, gate, caller, target);

  const { namespace, podName: pod, podUid: uid } = target;
  const session = new LiveSession(journey, gate, {
    address,
    target,
    caller,
    permission,
    upstream: {
      ...{ subresource: "portforward", namespace, pod, uid, container: undefined, command: [] },
      ...{ stdin: false, stdout: false, stderr: false, tty: false },
    },
    tty: false,
    protocol: STREAM_PROTOCOL,
    clientProtocol,
  });
  const upstream = await session.open();
  const headers = [...client.headers, ["Audit-Id", journey.auditId] as const];
  return upgrade.accept(headers, async (connection) => {
    const forwarding = new Forwarding(journey, gate, target, address);
    await session.run(async () => {
      const tap = session.tap({ push: () => {} });
      const { signal } = session;
      const end = await forwarding.run(client, ports, connection, upstream, { tap, signal });
      return { end, streams: forwarding.totals(), events: [] };
    });
  });
}

/** Ports that are channels of a WebSocket stand in the query, by the name that the path's server gives them. */
function readPorts({ target: { query } }: Journey, { form }: SessionAddress): readonly number[] {
  const values = (key: string) => query.filter(([name]) => name === key).map(([, value]) => value);
  const read = form === "pod" ? readApiPorts(values("ports")) : readKubeletPorts(values("port"));
  if (read.ok) return read.ports;
  if (read.isStatus) throw new Refusal("BadRequest", read.message);
  throw new NegotiationRefusal(400, read.message);
}

/** The connections of one port-forward: each is checked, counted and written down by itself. */
class Forwarding {
  /** By port. */
  readonly #totals = new Map<number, { name: string; count: number; bytesIn: number; bytesOut: number }>();

  constructor(
    readonly journey: Journey,
    readonly gate: Gate,
    readonly target: Target,
    readonly address: SessionAddress,
  ) {}

  async run(
    client: PortForwardProtocol,
    ports: readonly number[],
    connection: ByteConnection,
    upstream: ByteConnection,
    watched: { tap: Tap; signal: AbortSignal },
  ): Promise<SessionEnd> {
    const { limits, forwarding } = this.gate;
    const options = {
      ...watched,
      limits,
      checkPort: (port: number) => forwarding.checkPort(port),
      onConnection: (ended: ForwardedConnection) => this.#record(ended),
      isLegacy: this.address.form === "legacy",
      maxConnections: forwarding.maxConnections,
    };
    switch (client.transport) {
      case "spdy":
        return await splicePortForward(connection, upstream, options);
      case "tunnel":
        return await tunnelPortForward(connection, upstream, options);
      case "channels":
        return await forwardChannels(connection, upstream, { protocol: client.protocol, ports }, options);
    }
  }

  /** The connections of each port together, for the session's last event. */
  totals() {
    return [...this.#totals.values()];
  }

  async #record(connection: ForwardedConnection): Promise<void> {
    const { port, bytesIn, bytesOut } = connection;
    const total = this.#totals.get(port) ?? { name: `data:${port}`, count: 0, bytesIn: 0, bytesOut: 0 };
    total.count++;
    total.bytesIn += bytesIn;
    total.bytesOut += bytesOut;
    this.#totals.set(port, total);
    const { gate, journey } = this;
    await recordStrictly(gate, connectionEvent(journey.facts, auditTarget(this.target), connection));
  }
}
