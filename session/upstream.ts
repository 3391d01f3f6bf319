import { TUNNEL_PROTOCOL } from "../protocol/port_forward/mod.ts";
import {
  expectedStreams,
  isStreamProtocol,
  STREAM_PROTOCOLS,
  type StreamProtocol,
} from "../protocol/remote_command/mod.ts";
import { isNotSpoken, SpokenWires, type Transport, type Wire, wiresOf } from "./apiserver_wires.ts";
import type { ByteConnection } from "./byte_connection.ts";
import type { DialOptions, KubeletEndpoint } from "./kubelet_dial.ts";
import { type UpgradeOptions, upgradeToWebSocket, upgradeUpstream } from "./kubelet_upgrade.ts";
import { TunnelConnection } from "./tunnel_connection.ts";
import { WebSocketUpstream } from "./websocket_upstream.ts";

/** What is opened at the upstream, by whatever path and protocol the client asked for it. */
export interface UpstreamRequest {
  subresource: "exec" | "attach" | "portforward";
  namespace: string;
  pod: string;
  /** Told to a kubelet, which looks for the name all the same: who calls makes sure that it is the same pod, before and after. */
  uid: string;
  /** `undefined` for a port-forward, which has none. */
  container: string | undefined;
  /** The words of an exec's command; empty otherwise. */
  command: readonly string[];
  stdin: boolean;
  stdout: boolean;
  stderr: boolean;
  tty: boolean;
}

/** A session's way to its container, opened: a connection that speaks SPDY/3.1, at its first byte. */
export interface OpenedUpstream {
  connection: ByteConnection;
  /** `host:port` */
  authority: string;
  /** What is spoken on the wire, e.g. `SPDY/3.1 v4.channel.k8s.io`. */
  protocol: string;
  /** Under which the API server has the session in its own audit log (`auditID`), where it was opened there. */
  auditId?: string;
  /** Before it has resolved nothing may pass: it rejects where this turns out to be another than what was checked. */
  confirmed?: Promise<void>;
}

/**
 * Opens a session at a kubelet.
 *
 * @param protocol the only stream protocol that is offered
 * @param headers sent besides what opens the session
 * @throws as {@linkcode upgradeUpstream}
 */
export async function openKubelet(
  endpoint: KubeletEndpoint,
  request: UpstreamRequest,
  protocol: string,
  options: UpgradeOptions,
  headers: readonly (readonly [name: string, value: string])[] = [],
): Promise<OpenedUpstream> {
  const { connection } = await upgradeUpstream(endpoint, kubeletTarget(request), protocol, options, headers);
  return { connection, authority: authority(endpoint), protocol: `SPDY/3.1 ${protocol}` };
}

/**
 * Path and query by which a kubelet is asked: only the flags that are set, sorted as the API server sorts.
 *
 * @see k8s.io/kubernetes pkg/registry/core/pod/strategy.go, streamParams; pkg/kubelet/server/server.go: the uid is the third segment
 */
export function kubeletTarget(request: UpstreamRequest): string {
  const { subresource, namespace, pod, uid, container } = request;
  const path = subresource === "portforward"
    ? ["portForward", namespace, pod, uid]
    : [subresource, namespace, pod, uid, container ?? ""];
  const query = new URLSearchParams(request.command.map((word) => ["command", word]));
  if (request.stderr) query.append("error", "1");
  if (request.stdin) query.append("input", "1");
  if (request.stdout) query.append("output", "1");
  if (request.tty) query.append("tty", "1");
  const target = `/${path.map(encodeURIComponent).join("/")}`;
  return query.size > 0 ? `${target}?${query}` : target;
}

/** An API server, and in whose name it is asked. */
export interface ApiServerEndpoint extends KubeletEndpoint {
  /** `Impersonate-*` lines of the user's request, which go with the user's token. */
  headers?: readonly (readonly [name: string, value: string])[];
  /** Under which the server shall have the session in its own audit log. */
  auditId: string;
}

/** How sessions are opened at an API server. */
export interface ApiServerOptions extends DialOptions {
  /** @see {@linkcode Transport} */
  transport: Transport;
  /** How long a WebSocket's Close is waited for that answers ours, in milliseconds. */
  lingerMs: number;
  /** @default {what all sessions of this process found} */
  spoken?: SpokenWires;
}

const SPOKEN = new SpokenWires();

/**
 * Opens a session at an API server, as a client of its own would: so that admission and the server's own audit see it. The pod's
 * UID cannot be said there: who calls makes sure that it is the same pod, before and after. Over SPDY a command
 * begins after that, when its streams are open; over WebSocket it has begun.
 *
 * @param protocol the only stream protocol that is offered
 * @throws as {@linkcode upgradeUpstream}; of several wires that are not spoken, what the last one was answered
 */
export async function openApiServer(
  endpoint: ApiServerEndpoint,
  request: UpstreamRequest,
  protocol: string,
  options: ApiServerOptions,
): Promise<OpenedUpstream> {
  const { spoken = SPOKEN } = options;
  const wires = wiresOf(request.subresource, options.transport);
  const at = authority(endpoint);
  let refusal: unknown;
  for (const wire of spoken.toTry(at, wires)) {
    try {
      const opened = await openByWire(wire, endpoint, request, protocol, options);
      spoken.opened(at, wires, wire);
      return opened;
    } catch (thrown) {
      if (!isNotSpoken(wire, thrown)) throw thrown;
      refusal = thrown;
    }
  }
  throw refusal;
}

async function openByWire(
  wire: Wire,
  endpoint: ApiServerEndpoint,
  request: UpstreamRequest,
  protocol: string,
  options: ApiServerOptions,
): Promise<OpenedUpstream> {
  const { auditId, headers: passedOn = [] } = endpoint;
  // The answer that switches is the kubelet's and names no audit ID; the server takes the one that it is given.
  const headers = [["Audit-ID", auditId] as const, ...passedOn];
  const target = apiServerTarget(request);
  const opened = (connection: ByteConnection, said: string) => {
    return { connection, authority: authority(endpoint), protocol: said, auditId };
  };
  if (wire === "SPDY/3.1") {
    const { connection } = await upgradeUpstream(endpoint, target, protocol, options, headers);
    return opened(connection, `SPDY/3.1 ${protocol}`);
  }
  const { lingerMs } = options;
  const { connection } = await upgradeToWebSocket(endpoint, target, wire, options, headers);
  if (wire === TUNNEL_PROTOCOL) {
    return opened(new TunnelConnection(connection, { role: "client", lingerMs }), `WebSocket ${wire}`);
  }
  if (!isStreamProtocol(protocol)) {
    connection.close();
    throw new TypeError(`no streams of a command are opened by ${protocol}`);
  }
  const expectedStreams = fewestStreams(request, protocol);
  const upstream = { protocol, channels: wire, expectedStreams, hasTerminal: request.tty, lingerMs };
  return opened(new WebSocketUpstream(connection, upstream), `WebSocket ${wire}`);
}

/** An attach has the terminal that its container has: whether that is the one asked for is not known here. */
function fewestStreams(request: UpstreamRequest, protocol: StreamProtocol): number {
  const count = (tty: boolean) => expectedStreams({ ...request, tty }, STREAM_PROTOCOLS[protocol]).length;
  return request.subresource === "attach" ? Math.min(count(true), count(false)) : count(request.tty);
}

/** Path and query by which an API server is asked, as kubectl asks it: only the flags that are set, sorted. */
export function apiServerTarget(request: UpstreamRequest): string {
  const { subresource, namespace, pod, container } = request;
  const path = ["api", "v1", "namespaces", namespace, "pods", pod, subresource];
  const query = new URLSearchParams(request.command.map((word) => ["command", word]));
  if (container !== undefined) query.append("container", container);
  for (const name of ["stderr", "stdin", "stdout", "tty"] as const) {
    if (request[name]) query.append(name, "true");
  }
  const target = `/${path.map(encodeURIComponent).join("/")}`;
  return query.size > 0 ? `${target}?${query}` : target;
}

/** `host:port`, as URLs and people write it. */
export function authority({ host, port }: { host: string; port: number }): string {
  return `${host.includes(":") ? `[${host}]` : host}:${port}`;
}
