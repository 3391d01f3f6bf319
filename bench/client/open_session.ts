import { randomBytes } from "node:crypto";
import { Buffer } from "node:buffer";
import { readResponseHead } from "../../protocol/http/response_head.ts";
import { readUpgradeResponse, upgradeRequestHeaders } from "../../protocol/websocket/mod.ts";
import { dialKubelet, type DialOptions, type KubeletEndpoint } from "../../session/kubelet_dial.ts";
import { execTarget, upgradeKubelet } from "../../session/kubelet_upgrade.ts";
import type { StreamConnection } from "../../session/stream_connection.ts";
import { CONTAINER, POD } from "../upstream/api_server.ts";
import type { CommandName } from "../upstream/commands.ts";
import type { ExecChannel } from "../upstream/exec_channel.ts";
import { SpdyChannel } from "../upstream/spdy_channel.ts";
import { SUBPROTOCOL, WebSocketChannel } from "../upstream/websocket_channel.ts";

/** What the client speaks. */
export type Transport = "SPDY" | "WebSocket";

/** Both, in the order of the tables. */
export const TRANSPORTS: readonly Transport[] = ["SPDY", "WebSocket"];

/** A way to the kubelet. */
export interface Route extends KubeletEndpoint {
  /** How the table calls it. */
  name: "direct" | "splice" | "gateway";
}

const OPTIONS: DialOptions = {
  timeoutMs: 10_000,
  isAllowedAddress: () => true,
  setNoDelay: () => {},
  signal: new AbortController().signal,
};

/** Opens an exec of `command` with stdin and stdout; returns when its streams are open, as far as the protocol tells. */
export async function openSession(
  route: Route,
  transport: Transport,
  ...command: readonly [CommandName, ...string[]]
): Promise<ExecChannel> {
  const target = route.name === "gateway" ? apiTarget(command) : execTarget({
    namespace: POD.namespace,
    pod: POD.name,
    uid: POD.uid,
    container: CONTAINER,
    command,
    stdin: true,
    stdout: true,
    stderr: false,
    tty: false,
  });
  if (transport === "SPDY") {
    return await SpdyChannel.open(
      await upgradeKubelet(route, target, "v4.channel.k8s.io", OPTIONS),
      "client",
    );
  }
  return await WebSocketChannel.open(await upgradeWebSocket(route, target), "client");
}

function apiTarget(command: readonly string[]): string {
  const query = new URLSearchParams(command.map((word) => ["command", word]));
  query.append("container", CONTAINER);
  query.append("stdin", "true");
  query.append("stdout", "true");
  return `/api/v1/namespaces/${POD.namespace}/pods/${POD.name}/exec?${query}`;
}

async function upgradeWebSocket(route: Route, target: string): Promise<StreamConnection> {
  const connection = await dialKubelet(route, OPTIONS);
  const key = randomBytes(16).toString("base64");
  const protocols = [SUBPROTOCOL];
  const headers = [
    ["Host", `${route.host}:${route.port}`],
    ["Authorization", `Bearer ${route.token}`],
    ...upgradeRequestHeaders(key, protocols),
  ];
  const lines = [`GET ${target} HTTP/1.1`, ...headers.map(([name, value]) => `${name}: ${value}`)];
  await connection.write(new TextEncoder().encode(lines.join("\r\n") + "\r\n\r\n"));
  let held: Uint8Array = new Uint8Array();
  for (;;) {
    const chunk = await connection.read();
    if (chunk === null) throw new Error("the connection ended inside the answer to the upgrade");
    held = Buffer.concat([held, chunk]);
    const head = readResponseHead(held, 64 * 1024);
    if (head === undefined) continue;
    readUpgradeResponse(head.status, head.headers, { key, protocols });
    connection.unread(held.subarray(head.headBytes));
    return connection;
  }
}
