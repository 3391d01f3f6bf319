/** What each version of the remote command protocol can do, over SPDY and over WebSocket alike. */
export interface RemoteCommandProtocol {
  /** The error stream carries a status document at every end; otherwise text, and only on failure. */
  statusDocument: boolean;
  /** A tty has a resize stream. */
  resize: boolean;
  /** The end of stdin can be told while output goes on. */
  halfClose: boolean;
}

/** The protocols that clients open as SPDY streams. v5 is offered by Go clients and served by nobody. */
export const STREAM_PROTOCOLS = {
  "v4.channel.k8s.io": { statusDocument: true, resize: true, halfClose: true },
  "v3.channel.k8s.io": { statusDocument: false, resize: true, halfClose: true },
  "v2.channel.k8s.io": { statusDocument: false, resize: false, halfClose: true },
  "channel.k8s.io": { statusDocument: false, resize: false, halfClose: false },
} as const satisfies Record<string, RemoteCommandProtocol>;

/** A protocol served over SPDY. */
export type StreamProtocol = keyof typeof STREAM_PROTOCOLS;

/** What a WebSocket subprotocol adds: how a message holds its bytes. */
export interface ChannelProtocolTraits extends RemoteCommandProtocol {
  /** Messages are text: a digit, then base64. Otherwise binary: a channel byte, then the bytes. */
  base64: boolean;
}

/** The subprotocols of WebSocket exec and attach; `""` is what a client without any speaks. */
export const CHANNEL_PROTOCOLS = {
  "v5.channel.k8s.io": { base64: false, statusDocument: true, resize: true, halfClose: true },
  "v4.channel.k8s.io": { base64: false, statusDocument: true, resize: true, halfClose: false },
  "v4.base64.channel.k8s.io": { base64: true, statusDocument: true, resize: true, halfClose: false },
  "channel.k8s.io": { base64: false, statusDocument: false, resize: true, halfClose: false },
  "base64.channel.k8s.io": { base64: true, statusDocument: false, resize: true, halfClose: false },
  "": { base64: false, statusDocument: false, resize: true, halfClose: false },
} as const satisfies Record<string, ChannelProtocolTraits>;

/** A subprotocol of WebSocket exec and attach. */
export type ChannelProtocol = keyof typeof CHANNEL_PROTOCOLS;

/** The streams of one session, by the names that SPDY's `streamtype` header gives them. */
export type StreamName = "error" | "stdin" | "stdout" | "stderr" | "resize";

/** Which streams a request asks for, as the query says it. */
export interface RequestedStreams {
  stdin: boolean;
  stdout: boolean;
  stderr: boolean;
  tty: boolean;
}

/**
 * The streams that a client of `protocol` has to open, in the order Go clients open them: kubelets wait for as many.
 * A tty has no stderr (E-55).
 */
export function expectedStreams(requested: RequestedStreams, protocol: RemoteCommandProtocol): StreamName[] {
  const { stdin, stdout, stderr, tty } = requested;
  const names: StreamName[] = ["error"];
  if (stdin) names.push("stdin");
  if (stdout) names.push("stdout");
  if (stderr && !tty) names.push("stderr");
  if (tty && protocol.resize) names.push("resize");
  return names;
}

/** The protocol of a SPDY upgrade, or how to refuse it. */
export type StreamNegotiation =
  | { ok: true; protocol: StreamProtocol }
  /** `accepted` goes into one `X-Accepted-Stream-Protocol-Versions` line each; empty where none is due. */
  | { ok: false; status: 400 | 403; message: string; accepted: readonly StreamProtocol[] };

/**
 * Chooses the client's first protocol that we serve (E-13, E-14, E-15, E-16).
 *
 * @param offers the values of all `X-Stream-Protocol-Version` lines, in order; each may be a comma list
 */
export function negotiateStreamProtocol(offers: readonly string[]): StreamNegotiation {
  const names = offers.flatMap((line) => line.split(",")).map((name) => name.replace(/^ +| +$/g, ""))
    .filter((name) => name !== "");
  if (names.length === 0) {
    const message = "unable to upgrade: X-Stream-Protocol-Version is required";
    return { ok: false, status: 400, message, accepted: [] };
  }
  const protocol = names.find(isStreamProtocol);
  if (protocol !== undefined) return { ok: true, protocol };
  const accepted = Object.keys(STREAM_PROTOCOLS).filter(isStreamProtocol);
  const message = "unable to upgrade: unable to negotiate protocol: " +
    `client supports [${names.join(" ")}], server accepts [${accepted.join(" ")}]`;
  return { ok: false, status: 403, message, accepted };
}

/**
 * Chooses the client's first subprotocol among `supported` (E-75, E-92, E-93).
 *
 * @param offered as read from the upgrade request; none counts as `""`
 * @returns `undefined` where nothing fits: the answer is 403 without a body
 */
export function negotiateChannelProtocol(
  offered: readonly string[],
  supported: readonly ChannelProtocol[],
): ChannelProtocol | undefined {
  for (const name of offered.length > 0 ? offered : [""]) {
    const protocol = supported.find((candidate) => candidate === name);
    if (protocol !== undefined) return protocol;
  }
  return undefined;
}

/** Whether a name is one of {@linkcode STREAM_PROTOCOLS}. */
export function isStreamProtocol(name: string): name is StreamProtocol {
  return Object.hasOwn(STREAM_PROTOCOLS, name);
}
