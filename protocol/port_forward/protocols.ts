import type { ChannelProtocol } from "../remote_command/protocols.ts";

/** The one protocol of port-forwards over SPDY. */
export const STREAM_PROTOCOL = "portforward.k8s.io";

/** The same inside a WebSocket, whose binary messages are then nothing but a stream of bytes. */
export const TUNNEL_PROTOCOL = "SPDY/3.1+portforward.k8s.io";

/** The subprotocols by which ports are channels of a WebSocket; `""` is what a client without any speaks. */
export type PortForwardChannelProtocol = Extract<
  ChannelProtocol,
  "v4.channel.k8s.io" | "v4.base64.channel.k8s.io" | ""
>;

const CHANNEL_PROTOCOLS: readonly PortForwardChannelProtocol[] = [
  "v4.channel.k8s.io",
  "v4.base64.channel.k8s.io",
  "",
];

const TUNNEL_PREFIX = "SPDY/3.1+";
const TUNNEL_SUFFIX = ".k8s.io";

/** How to refuse an upgrade: what the API server answers, or lets the kubelet answer. */
export interface NegotiationFailure {
  ok: false;
  status: 400 | 403 | 500;
  /** A line of plain text, without its end. Empty where the answer is a bare status line without headers or body. */
  message: string;
  /** One `X-Accepted-Stream-Protocol-Versions` line each. */
  accepted: readonly string[];
}

/** The protocol of an upgrade to SPDY, or how to refuse it. */
export type StreamNegotiation = { ok: true; protocol: typeof STREAM_PROTOCOL } | NegotiationFailure;

/**
 * Agrees on the protocol of a SPDY upgrade.
 *
 * @param offers the values of all `X-Stream-Protocol-Version` lines, in order; each may be a comma list
 */
export function negotiateStreams(offers: readonly string[]): StreamNegotiation {
  const names = offers.flatMap((line) => line.split(",")).map(trim).filter((name) => name !== "");
  if (names.includes(STREAM_PROTOCOL)) return { ok: true, protocol: STREAM_PROTOCOL };
  // The runtime answers nothing here, which is a 200 to the kubelet.
  if (names.length === 0) {
    return { ok: false, status: 500, message: "invalid upgrade response: status code 200", accepted: [] };
  }
  const message = "unable to upgrade: unable to negotiate protocol: " +
    `client supports [${names.join(" ")}], server accepts [${STREAM_PROTOCOL}]`;
  return { ok: false, status: 403, message, accepted: [STREAM_PROTOCOL] };
}

/** The subprotocol of a WebSocket, or how to refuse it. */
export type SocketNegotiation =
  | { ok: true; transport: "tunnel"; protocol: typeof TUNNEL_PROTOCOL }
  | { ok: true; transport: "channels"; protocol: PortForwardChannelProtocol }
  | NegotiationFailure;

/**
 * Agrees on the subprotocol of a WebSocket. Who offers a tunnel anywhere gets it (E-113); of channels the client's first
 * that is served counts.
 *
 * @param offered as read from the first header line of the request; none counts as `""`
 */
export function negotiateSocket(offered: readonly string[]): SocketNegotiation {
  if (offered.some(isTunnel)) return negotiateTunnel(offered);
  for (const name of offered.length > 0 ? offered : [""]) {
    const protocol = CHANNEL_PROTOCOLS.find((served) => served === name);
    if (protocol !== undefined) return { ok: true, transport: "channels", protocol };
  }
  return { ok: false, status: 403, message: "", accepted: [] };
}

/** Agrees on what is spoken inside a tunnel, as a kubelet is asked for it: by the names without their prefix. */
export function negotiateTunnel(offered: readonly string[]): SocketNegotiation {
  const names = offered.filter((name) => name.startsWith(TUNNEL_PREFIX))
    .map((name) => name.slice(TUNNEL_PREFIX.length));
  if (names.length === 0) {
    const message = "unable to upgrade: no tunneling spdy protocols provided";
    return { ok: false, status: 400, message, accepted: [] };
  }
  const inside = negotiateStreams(names);
  return inside.ok ? { ok: true, transport: "tunnel", protocol: TUNNEL_PROTOCOL } : inside;
}

/** Whether an offered subprotocol asks for a tunnel. */
function isTunnel(name: string): boolean {
  return name.startsWith(TUNNEL_PREFIX) && name.endsWith(TUNNEL_SUFFIX);
}

/** `String.trim` also takes characters that HTTP counts as text. */
function trim(value: string): string {
  return value.replace(/^[ \t]+|[ \t]+$/g, "");
}
