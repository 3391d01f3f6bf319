import { readUpgradeRequest, upgradeResponseHeaders } from "../../protocol/websocket/mod.ts";
import { type CommandName, COMMANDS } from "./commands.ts";
import type { ExecChannel } from "./exec_channel.ts";
import { PlainConnection } from "./plain_connection.ts";
import { SpdyChannel } from "./spdy_channel.ts";
import { SUBPROTOCOL, WebSocketChannel } from "./websocket_channel.ts";

const READ_BUFFER_BYTES = 256 * 1024;

/** Serves one connection as a kubelet would: `/exec/…?command=…`, over SPDY or WebSocket. Never throws. */
export async function serveKubelet(accepted: Deno.TlsConn): Promise<void> {
  const connection = new PlainConnection(accepted, READ_BUFFER_BYTES);
  try {
    const request = await readRequest(connection);
    const channel = await upgrade(connection, request);
    const [name = "", argument = ""] = request.command;
    if (!isCommand(name)) throw new Error(`no such command: ${name}`);
    await COMMANDS[name](channel, argument);
    await channel.finish();
    while (await channel.read() !== null); // what the client still says, up to its end
  } catch {
    // The client left: so end most sessions of a benchmark.
  } finally {
    connection.close();
  }
}

interface UpgradeRequest {
  method: string;
  command: readonly string[];
  headers: readonly (readonly [name: string, value: string])[];
}

async function readRequest(connection: PlainConnection): Promise<UpgradeRequest> {
  const [start = "", ...lines] = (await connection.readHead()).split("\r\n");
  const [method = "", target = ""] = start.split(" ");
  const command = new URL(target, "https://kubelet").searchParams.getAll("command");
  const headers = lines.map((line) => {
    const colon = line.indexOf(":");
    return [line.slice(0, colon), line.slice(colon + 1).trim()] as const;
  });
  return { method, command, headers };
}

async function upgrade(
  connection: PlainConnection,
  { method, headers }: UpgradeRequest,
): Promise<ExecChannel> {
  const websocket = readUpgradeRequest(method, headers);
  const answer = websocket.ok ? upgradeResponseHeaders(websocket.accept, SUBPROTOCOL) : [
    ["Connection", "Upgrade"],
    ["Upgrade", "SPDY/3.1"],
    ["X-Stream-Protocol-Version", "v4.channel.k8s.io"],
  ] as const;
  await connection.writeHead("HTTP/1.1 101 Switching Protocols", answer);
  return await (websocket.ok ? WebSocketChannel : SpdyChannel).open(connection, "kubelet");
}

function isCommand(name: string): name is CommandName {
  return Object.hasOwn(COMMANDS, name);
}
