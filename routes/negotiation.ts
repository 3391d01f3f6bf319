import {
  type ChannelProtocol,
  negotiateChannelProtocol,
  negotiateStreamProtocol,
  type StreamProtocol,
} from "../protocol/remote_command/mod.ts";
import { isUpgradeRequest, readUpgradeRequest, upgradeResponseHeaders } from "../protocol/websocket/mod.ts";
import type { HeaderLine } from "./handler.ts";
import type { SessionAddress } from "./session_address.ts";

/** What a client and we agreed on, and the headers of the 101 that says so. */
export type ClientProtocol<Spdy extends string = string, WebSocket extends string = string> =
  | { transport: "spdy"; protocol: Spdy; headers: readonly HeaderLine[] }
  | { transport: "websocket"; protocol: WebSocket; headers: readonly HeaderLine[] };

/** What a client speaks, as the events name it. */
export function nameOf({ transport, protocol }: { transport: string; protocol: string }): string {
  return `${transport === "spdy" ? "SPDY/3.1" : "WebSocket"} ${protocol || "(none)"}`;
}

/** The upgrade cannot be made. Answered as API server and kubelet answer it: not every client reads a Status here. */
export class NegotiationRefusal extends Error {
  override readonly name = "NegotiationRefusal";
  constructor(
    readonly status: 400 | 403 | 405 | 500,
    /** Plain text; shown to the user by some clients. */
    readonly body: string,
    readonly headers: readonly HeaderLine[] = [],
    /** As Go's WebSocket server does: a bare status line, these headers and the body, then the end. */
    readonly isRaw = false,
  ) {
    super(body || "no common subprotocol");
  }
}

/** Every subprotocol of exec and attach that is served, v5 first: who offers it anywhere gets it. */
const SERVED: readonly ChannelProtocol[] = [
  "v5.channel.k8s.io",
  "v4.channel.k8s.io",
  "v4.base64.channel.k8s.io",
  "channel.k8s.io",
  "base64.channel.k8s.io",
  "",
];

/**
 * Agrees with a client of exec or attach on a protocol. WebSocket where `Upgrade` is exactly that, SPDY for all else.
 *
 * @param subprotocols of WebSocket, where a credential among them was taken out
 * @param form of the path: clients of the oldest name no version of the stream protocol, and mean the first
 * @throws {NegotiationRefusal}
 */
export function negotiate(
  method: string,
  headers: readonly HeaderLine[],
  subprotocols: readonly string[] | undefined,
  form: SessionAddress["form"] = "pod",
): ClientProtocol<StreamProtocol, ChannelProtocol> {
  return isUpgradeRequest(headers)
    ? negotiateWebSocket(method, headers, subprotocols)
    : negotiateSpdy(headers, form === "legacy" ? "channel.k8s.io" : undefined);
}

function negotiateWebSocket(
  method: string,
  headers: readonly HeaderLine[],
  subprotocols: readonly string[] | undefined,
): ClientProtocol<StreamProtocol, ChannelProtocol> {
  const request = readUpgradeRequest(method, headers);
  if (!request.ok) throw new NegotiationRefusal(request.status, request.body, request.headers, true);
  const offered = subprotocols ?? request.offered;
  // The API server speaks v5 itself: where it is offered, nothing else is considered (E-92).
  const protocol = offered.includes("v5.channel.k8s.io")
    ? "v5.channel.k8s.io"
    : negotiateChannelProtocol(offered, SERVED);
  if (protocol === undefined) throw new NegotiationRefusal(403, "", [], true);
  return { transport: "websocket", protocol, headers: upgradeResponseHeaders(request.accept, protocol) };
}

function negotiateSpdy(
  headers: readonly HeaderLine[],
  unnamed: StreamProtocol | undefined,
): ClientProtocol<StreamProtocol, ChannelProtocol> {
  const [upgrade = ""] = headerValues(headers, "upgrade");
  if (!upgrade.toLowerCase().includes("spdy/3.1")) {
    throw new NegotiationRefusal(400, "unable to upgrade: missing upgrade headers in request\n");
  }
  const offers = headerValues(headers, "x-stream-protocol-version");
  if (offers.length === 0 && unnamed !== undefined) return spdy(unnamed);
  const negotiation = negotiateStreamProtocol(offers);
  if (!negotiation.ok) {
    const accepted = negotiation.accepted.map((name) =>
      ["X-Accepted-Stream-Protocol-Versions", name] as const
    );
    throw new NegotiationRefusal(negotiation.status, `${negotiation.message}\n`, accepted);
  }
  return spdy(negotiation.protocol);
}

function spdy<Protocol extends string>(protocol: Protocol): ClientProtocol<Protocol, never> {
  return { transport: "spdy", protocol, headers: spdyAnswer(protocol) };
}

/** The headers of a 101 that switches to SPDY. */
export function spdyAnswer(protocol: string): readonly HeaderLine[] {
  return [["Connection", "Upgrade"], ["Upgrade", "SPDY/3.1"], ["X-Stream-Protocol-Version", protocol]];
}

/** The values of all lines of that name, in order. @param name in lower case */
export function headerValues(headers: readonly HeaderLine[], name: string): string[] {
  return headers.filter(([key]) => key.toLowerCase() === name).map(([, value]) => value);
}
