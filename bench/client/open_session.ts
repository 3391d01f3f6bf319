import { randomBytes } from "node:crypto";
import { readUpgradeResponse, upgradeRequestHeaders } from "../../protocol/websocket/mod.ts";
import { CONTAINER, POD } from "../upstream/api_server.ts";
import type { CommandName } from "../upstream/commands.ts";
import type { ExecChannel } from "../upstream/exec_channel.ts";
import { PlainConnection } from "../upstream/plain_connection.ts";
import { SpdyChannel } from "../upstream/spdy_channel.ts";
import { SUBPROTOCOL, WebSocketChannel } from "../upstream/websocket_channel.ts";

/** What the client speaks. */
export type Transport = "SPDY" | "WebSocket";

/** Both, in the order of the tables. */
export const TRANSPORTS: readonly Transport[] = ["SPDY", "WebSocket"];

/** A way to the kubelet. */
export interface Route {
  /** How the table calls it. */
  name: "direct" | "splice" | "gateway" | "recorded";
  host: string;
  port: number;
  /** PEM certificates of the authorities that are trusted. */
  caCerts: readonly string[];
  token: string;
}

/** Most that one read takes, in bytes. */
const READ_BUFFER_BYTES = 256 * 1024;

/** Opens an exec of `command` with stdin and stdout; returns when its streams are open, as far as the protocol tells. */
export async function openSession(
  route: Route,
  transport: Transport,
  ...command: readonly [CommandName, ...string[]]
): Promise<ExecChannel> {
  const connection = await connect(route);
  try {
    const isGateway = route.name === "gateway" || route.name === "recorded";
    const target = isGateway ? apiTarget(command) : kubeletTarget(command);
    if (transport === "SPDY") {
      await upgradeToSpdy(connection, route, target);
      return await SpdyChannel.open(connection, "client");
    }
    await upgradeToWebSocket(connection, route, target);
    return await WebSocketChannel.open(connection, "client");
  } catch (thrown) {
    connection.close();
    throw thrown;
  }
}

/** TLS without Nagle's algorithm, as Go's clients have it. */
async function connect({ host, port, caCerts }: Route): Promise<PlainConnection> {
  const tcp = await Deno.connect({ hostname: host, port });
  tcp.setNoDelay(true);
  const tls = await Deno.startTls(tcp, { hostname: host, caCerts: [...caCerts] });
  return new PlainConnection(tls, READ_BUFFER_BYTES);
}

function apiTarget(command: readonly string[]): string {
  const flags = [["container", CONTAINER], ["stdin", "true"], ["stdout", "true"]];
  return `/api/v1/namespaces/${POD.namespace}/pods/${POD.name}/exec?${query(command, flags)}`;
}

function kubeletTarget(command: readonly string[]): string {
  const flags = [["input", "1"], ["output", "1"]];
  return `/exec/${POD.namespace}/${POD.name}/${POD.uid}/${CONTAINER}?${query(command, flags)}`;
}

function query(command: readonly string[], flags: readonly string[][]): string {
  return new URLSearchParams([...command.map((word) => ["command", word]), ...flags]).toString();
}

async function upgradeToSpdy(connection: PlainConnection, route: Route, target: string): Promise<void> {
  await connection.writeHead(`POST ${target} HTTP/1.1`, [
    ...commonHeaders(route),
    ["Content-Length", "0"],
    ["Connection", "Upgrade"],
    ["Upgrade", "SPDY/3.1"],
    ["X-Stream-Protocol-Version", "v4.channel.k8s.io"],
  ]);
  readAnswer(await connection.readHead());
}

async function upgradeToWebSocket(connection: PlainConnection, route: Route, target: string): Promise<void> {
  const key = randomBytes(16).toString("base64");
  const protocols = [SUBPROTOCOL];
  await connection.writeHead(`GET ${target} HTTP/1.1`, [
    ...commonHeaders(route),
    ...upgradeRequestHeaders(key, protocols),
  ]);
  readUpgradeResponse(101, readAnswer(await connection.readHead()), { key, protocols });
}

function commonHeaders({ host, port, token }: Route): (readonly [name: string, value: string])[] {
  return [["Host", `${host}:${port}`], ["Authorization", `Bearer ${token}`]];
}

/** The headers of a 101. @throws for any other answer */
function readAnswer(head: string): (readonly [name: string, value: string])[] {
  const [start = "", ...lines] = head.split("\r\n");
  if (!start.startsWith("HTTP/1.1 101 ")) throw new Error(`the upgrade was answered: ${start}`);
  return lines.map((line) => {
    const colon = line.indexOf(":");
    return [line.slice(0, colon), line.slice(colon + 1).trim()] as const;
  });
}
