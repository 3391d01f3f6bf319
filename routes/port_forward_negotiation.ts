import {
  negotiateSocket,
  negotiateStreams,
  type NegotiationFailure,
  type PortForwardChannelProtocol,
  STREAM_PROTOCOL,
  TUNNEL_PROTOCOL,
} from "../protocol/port_forward/mod.ts";
import { isUpgradeRequest, readUpgradeRequest, upgradeResponseHeaders } from "../protocol/websocket/mod.ts";
import type { HeaderLine } from "./handler.ts";
import { headerValues, NegotiationRefusal, spdyAnswer } from "./negotiation.ts";
import type { SessionAddress } from "./session_address.ts";

/** What a client of a port-forward and we agreed on, and the headers of the 101 that says so. */
export type PortForwardProtocol =
  | { transport: "spdy"; protocol: typeof STREAM_PROTOCOL; headers: readonly HeaderLine[] }
  | { transport: "tunnel"; protocol: typeof TUNNEL_PROTOCOL; headers: readonly HeaderLine[] }
  | { transport: "channels"; protocol: PortForwardChannelProtocol; headers: readonly HeaderLine[] };

/**
 * Agrees with a client of a port-forward on one of its three transports.
 *
 * @param subprotocols of WebSocket, where a credential among them was taken out
 * @param form of the path: clients of the oldest name no protocol
 * @throws {NegotiationRefusal}
 */
export function negotiatePortForward(
  method: string,
  headers: readonly HeaderLine[],
  subprotocols: readonly string[] | undefined,
  form: SessionAddress["form"],
): PortForwardProtocol {
  return isUpgradeRequest(headers) ? overWebSocket(method, headers, subprotocols) : overSpdy(headers, form);
}

function overWebSocket(
  method: string,
  headers: readonly HeaderLine[],
  subprotocols: readonly string[] | undefined,
): PortForwardProtocol {
  const request = readUpgradeRequest(method, headers);
  if (!request.ok) throw new NegotiationRefusal(request.status, request.body, request.headers, true);
  const agreed = negotiateSocket(subprotocols ?? request.offered);
  if (!agreed.ok) throw refusalOf(agreed);
  const answer = upgradeResponseHeaders(request.accept, agreed.protocol);
  return agreed.transport === "tunnel"
    ? { transport: "tunnel", protocol: agreed.protocol, headers: answer }
    : { transport: "channels", protocol: agreed.protocol, headers: answer };
}

function overSpdy(headers: readonly HeaderLine[], form: SessionAddress["form"]): PortForwardProtocol {
  const [upgrade = ""] = headerValues(headers, "upgrade");
  if (!upgrade.toLowerCase().includes("spdy/3.1")) {
    throw new NegotiationRefusal(400, "unable to upgrade: missing upgrade headers in request\n");
  }
  const offers = headerValues(headers, "x-stream-protocol-version");
  const isUnnamed = offers.length === 0 && form === "legacy";
  const agreed = negotiateStreams(isUnnamed ? [STREAM_PROTOCOL] : offers);
  if (!agreed.ok) throw refusalOf(agreed);
  return { transport: "spdy", protocol: agreed.protocol, headers: spdyAnswer(agreed.protocol) };
}

function refusalOf({ status, message, accepted }: NegotiationFailure): NegotiationRefusal {
  if (message === "") return new NegotiationRefusal(status, "", [], true);
  const lines = accepted.map((name) => ["X-Accepted-Stream-Protocol-Versions", name] as const);
  return new NegotiationRefusal(status, `${message}\n`, lines);
}
