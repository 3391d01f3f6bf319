import type { ByteConnection } from "./byte_connection.ts";
import { type PortForwardOptions, splicePortForward } from "./port_forward_splice.ts";
import type { SessionEnd } from "./stream_event.ts";
import { TunnelConnection } from "./tunnel_connection.ts";

/**
 * {@linkcode splicePortForward} for a client that speaks SPDY inside a WebSocket.
 *
 * @param client switched to WebSocket `SPDY/3.1+portforward.k8s.io`, nothing sent yet
 */
export async function tunnelPortForward(
  client: ByteConnection,
  upstream: ByteConnection,
  options: PortForwardOptions,
): Promise<SessionEnd> {
  const tunnel = new TunnelConnection(client, { role: "server", lingerMs: options.limits.lingerMs });
  const end = await splicePortForward(tunnel, upstream, options);
  await tunnel.closed;
  return end;
}
