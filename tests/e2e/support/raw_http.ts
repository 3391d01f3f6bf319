import { PrefixedConnection } from "../../../session/prefixed_connection.ts";
import { StreamConnection } from "../../../session/stream_connection.ts";
import { SpdyPeer } from "../../support/spdy_peer.ts";
import { within } from "./wait.ts";

/** Where to connect to, and whom to trust there. */
export interface Server {
  port: number;
  caCerts: string[];
}

/** An HTTP/1.1 response, as far as a refusal has one. */
export interface RawResponse {
  /** HTTP status; 101 ends the reading. */
  code: number;
  /** Names in lower case. */
  headers: Map<string, string>;
  body: string;
}

/** What kubectl sends to open a SPDY session. */
export const SPDY_UPGRADE = [
  "Connection: Upgrade",
  "Upgrade: SPDY/3.1",
  "X-Stream-Protocol-Version: v4.channel.k8s.io",
];

/** What a WebSocket client sends; the key is the example of RFC 6455, 1.3. */
export const WEBSOCKET_UPGRADE = [
  "Connection: Upgrade",
  "Upgrade: websocket",
  "Sec-WebSocket-Version: 13",
  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
  "Sec-WebSocket-Protocol: v5.channel.k8s.io",
];

const MAX_BYTES = 1 << 20;

/**
 * Sends a request as it is written, so that nothing normalises its path, and reads the answer.
 *
 * @param start method and request target, e.g. `GET /api/v1//pods`
 */
export async function rawRequest(
  { port, caCerts }: Server,
  start: string,
  headers: readonly string[] = [],
): Promise<RawResponse> {
  const connection = await Deno.connectTls({ hostname: "127.0.0.1", port, caCerts });
  try {
    await send(connection, port, start, headers);
    return await within(10_000, `an answer to ${start}`, readResponse(connection));
  } finally {
    connection.close();
  }
}

/** A client that is let in and then says nothing. */
export async function openSilently(
  { port, caCerts }: Server,
  start: string,
  headers: readonly string[],
): Promise<{ closed(): Promise<void> } & Disposable> {
  const connection = await Deno.connectTls({ hostname: "127.0.0.1", port, caCerts });
  try {
    await send(connection, port, start, headers);
    const { code, body } = await within(10_000, `an answer to ${start}`, readResponse(connection));
    if (code !== 101) throw new Error(`${start} was answered with ${code}: ${body}`);
  } catch (error) {
    connection.close();
    throw error;
  }
  return {
    async closed() {
      const buffer = new Uint8Array(16 << 10);
      try {
        while (await connection.read(buffer) !== null);
      } catch { /* closed without a farewell, but closed */ }
    },
    [Symbol.dispose]: () => connection.close(),
  };
}

/** A client that speaks SPDY over a connection of its own, or what it was refused with. */
export async function openSpdy(
  { port, caCerts }: Server,
  start: string,
  headers: readonly string[],
): Promise<{ response: RawResponse; peer: SpdyPeer }> {
  const connection = await Deno.connectTls({ hostname: "127.0.0.1", port, caCerts });
  try {
    await send(connection, port, start, headers);
    const response = await within(10_000, `an answer to ${start}`, readResponse(connection));
    const early = Uint8Array.from(response.body, (character) => character.charCodeAt(0));
    const stream = new StreamConnection(connection);
    const peer = new SpdyPeer(response.code === 101 ? new PrefixedConnection(early, stream) : stream);
    return { response, peer };
  } catch (error) {
    connection.close();
    throw error;
  }
}

async function send(
  connection: Deno.TlsConn,
  port: number,
  start: string,
  headers: readonly string[],
): Promise<void> {
  const lines = [`${start} HTTP/1.1`, `Host: 127.0.0.1:${port}`, ...headers, "", ""];
  await connection.write(new TextEncoder().encode(lines.join("\r\n")));
}

async function readResponse(connection: Deno.TlsConn): Promise<RawResponse> {
  const buffer = new Uint8Array(16 << 10);
  let received = "";
  while (received.length < MAX_BYTES) {
    const count = await connection.read(buffer);
    if (count !== null) received += String.fromCharCode(...buffer.subarray(0, count));
    const response = parse(received, count === null);
    if (response !== undefined) return response;
    if (count === null) break;
  }
  throw new Error(`no whole response: ${JSON.stringify(received.slice(0, 500))}`);
}

/** `undefined` where more is needed. */
function parse(received: string, isEnd: boolean): RawResponse | undefined {
  const headEnd = received.indexOf("\r\n\r\n");
  if (headEnd < 0) return undefined;
  const [statusLine = "", ...lines] = received.slice(0, headEnd).split("\r\n");
  const code = Number(/^HTTP\/1\.1 (\d{3})/.exec(statusLine)?.[1]);
  const headers = new Map(lines.map((line) => {
    const colon = line.indexOf(":");
    return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()] as const;
  }));
  const body = received.slice(headEnd + 4);
  const length = headers.get("content-length");
  const isWhole = code === 101 || isEnd ||
    (length !== undefined && body.length >= Number(length)) ||
    (headers.get("transfer-encoding") === "chunked" && body.endsWith("0\r\n\r\n"));
  return isWhole ? { code, headers, body } : undefined;
}
