import { Buffer } from "node:buffer";
import { randomBytes } from "node:crypto";
import { ProtocolError } from "../protocol/errors.ts";
import { readChunkedBody } from "../protocol/http/chunked_body.ts";
import { headerValues, readResponseHead, type ResponseHead } from "../protocol/http/response_head.ts";
import { readUpgradeResponse, upgradeRequestHeaders } from "../protocol/websocket/mod.ts";
import type { ByteConnection } from "./byte_connection.ts";
import { Deadline } from "./deadline.ts";
import { DialError, dialKubelet, type DialOptions, type KubeletEndpoint } from "./kubelet_dial.ts";
import { PrefixedConnection } from "./prefixed_connection.ts";

/** Head of the kubelet's answer, in bytes. */
const MAX_HEAD_BYTES = 64 * 1024;

/** Body of a kubelet's refusal that is passed on, in bytes. */
const MAX_REFUSAL_BYTES = 64 * 1024;

/** What the gateway's log has of it, in characters. */
const MAX_SAID_LENGTH = 1024;

/** The same with the framing of chunks; what has more framing than this is cut short. */
const MAX_CHUNKED_BYTES = 2 * MAX_REFUSAL_BYTES;

/** The upstream answered, but did not switch protocols: its own status and words, for the client to see. */
export class UpstreamRefusal extends Error {
  override readonly name = "UpstreamRefusal";
  constructor(
    readonly status: number,
    readonly headers: readonly (readonly [name: string, value: string])[],
    /** At most 64 KiB. */
    readonly body: Uint8Array,
  ) {
    const text = new TextDecoder().decode(body).trim();
    const said = (statusMessage(text) ?? text).slice(0, MAX_SAID_LENGTH);
    super(`the upstream answered ${status}${said && `: ${said}`}`);
  }
}

/** A connection that has switched to SPDY, at its first byte. */
export interface SwitchedUpstream {
  connection: ByteConnection;
  /** Of the answer that switched. */
  headers: readonly (readonly [name: string, value: string])[];
}

/** How an upstream is asked to switch protocols. */
export interface UpgradeOptions extends DialOptions {
  /** A connection to the endpoint that was made already: closed where the upgrade fails. @default {a new one} */
  connection?: ByteConnection;
}

/** The message of a `metav1.Status`; `undefined` for any other text. */
export function statusMessage(text: string): string | undefined {
  if (!text.startsWith("{")) return undefined;
  try {
    const { kind, message } = JSON.parse(text);
    return kind === "Status" ? String(message) : undefined;
  } catch {
    return undefined;
  }
}

type HeaderLines = readonly (readonly [name: string, value: string])[];

/**
 * Dials a kubelet, or an API server, and has it switch to SPDY.
 *
 * @param target path and query
 * @param protocol the only protocol offered
 * @param headers sent besides those of the upgrade
 * @throws {DialError} it cannot be reached or answers nonsense
 * @throws {UpstreamRefusal} it answered something else
 */
export async function upgradeUpstream(
  endpoint: KubeletEndpoint,
  target: string,
  protocol: string,
  options: UpgradeOptions,
  headers: HeaderLines = [],
): Promise<SwitchedUpstream> {
  const asked: HeaderLines = [
    ["Content-Length", "0"],
    ["Connection", "Upgrade"],
    ["Upgrade", "SPDY/3.1"],
    ["X-Stream-Protocol-Version", protocol],
    ...headers,
  ];
  const request = requestHead(endpoint, `POST ${target}`, asked);
  return await switchProtocols(endpoint, request, options, (head) => checkSwitch(head, protocol));
}

/**
 * Dials an API server and has it switch to WebSocket; otherwise as {@linkcode upgradeUpstream}.
 *
 * @param protocol the only subprotocol offered
 */
export async function upgradeToWebSocket(
  endpoint: KubeletEndpoint,
  target: string,
  protocol: string,
  options: DialOptions,
  headers: HeaderLines = [],
): Promise<SwitchedUpstream> {
  const sent = { key: randomBytes(16).toString("base64"), protocols: [protocol] };
  const asked = [...upgradeRequestHeaders(sent.key, sent.protocols), ...headers];
  const request = requestHead(endpoint, `GET ${target}`, asked);
  return await switchProtocols(endpoint, request, options, (head) => {
    readUpgradeResponse(head.status, head.headers, sent);
  });
}

/** @param check throws where an answer that switches is not the one that was asked for */
async function switchProtocols(
  endpoint: KubeletEndpoint,
  request: Uint8Array,
  options: UpgradeOptions,
  check: (head: ResponseHead) => void,
): Promise<SwitchedUpstream> {
  const connection = options.connection ?? await dialKubelet(endpoint, options);
  using deadline = new Deadline(options.timeoutMs, options.signal);
  deadline.passed.catch(() => connection.close());
  try {
    await connection.write(request);
    const { head, rest } = await readHead(connection);
    if (head.status !== 101) throw await refusal(connection, head, rest);
    check(head);
    return { connection: new PrefixedConnection(rest, connection), headers: head.headers };
  } catch (thrown) {
    connection.close();
    if (thrown instanceof UpstreamRefusal) throw thrown;
    const why = deadline.hasPassed
      ? "timed out"
      : thrown instanceof ProtocolError
      ? thrown.message
      : "connection lost";
    throw new DialError(`error dialing backend: the answer to the upgrade: ${why}`, { cause: thrown });
  }
}

function requestHead(
  { host, port, token, clientCertificate }: KubeletEndpoint,
  start: string,
  headers: HeaderLines,
): Uint8Array {
  const lines = [
    `${start} HTTP/1.1`,
    `Host: ${host.includes(":") ? `[${host}]` : host}:${port}`,
    "User-Agent: postern",
    ...(token !== undefined && clientCertificate === undefined ? [`Authorization: Bearer ${token}`] : []),
    ...headers.map(([name, value]) => `${name}: ${value}`),
  ];
  // A line break here would let a name or token speak as a header.
  if (lines.some((line) => /[\r\n\0]/.test(line))) {
    throw new DialError("error dialing backend: a credential or a name has a line break in it");
  }
  return new TextEncoder().encode(lines.join("\r\n") + "\r\n\r\n");
}

async function readHead(connection: ByteConnection): Promise<{ head: ResponseHead; rest: Uint8Array }> {
  let held: Uint8Array = new Uint8Array();
  for (;;) {
    const chunk = await connection.read();
    if (chunk === null) throw new ProtocolError("head_truncated", "connection closed");
    held = Buffer.concat([held, chunk]);
    const head = readResponseHead(held, MAX_HEAD_BYTES);
    if (head !== undefined) return { head, rest: held.subarray(head.headBytes) };
  }
}

function checkSwitch(head: ResponseHead, protocol: string): void {
  const value = (name: string) => headerValues(head.headers, name).join(",").toLowerCase();
  if (!value("connection").includes("upgrade") || !value("upgrade").includes("spdy/3.1")) {
    throw new ProtocolError("upgrade_malformed", "it switched to another protocol");
  }
  if (value("x-stream-protocol-version") !== protocol) {
    throw new ProtocolError("upgrade_malformed", "it chose a protocol that was not offered");
  }
}

/** Reads the refusal's body: to its stated length or to the end of the connection, and never beyond the bound. */
async function refusal(connection: ByteConnection, head: ResponseHead, rest: Uint8Array) {
  // A Go server sends what is longer than 2 KiB, such as the words of an admission webhook, in chunks.
  const isChunked = headerValues(head.headers, "transfer-encoding").join().toLowerCase().includes("chunked");
  const [stated] = headerValues(head.headers, "content-length");
  const bodyBytes = stated === undefined ? Infinity : Number(stated) || 0;
  let held = Buffer.from(rest);
  for (;;) {
    const { body, isWhole } = isChunked
      ? readChunkedBody(held)
      : { body: held.subarray(0, bodyBytes), isWhole: held.length >= bodyBytes };
    const isEnough = isWhole || body.length >= MAX_REFUSAL_BYTES || held.length >= MAX_CHUNKED_BYTES;
    const chunk = isEnough ? null : await connection.read().catch(() => null);
    if (chunk === null) {
      return new UpstreamRefusal(head.status, head.headers, body.subarray(0, MAX_REFUSAL_BYTES));
    }
    held = Buffer.concat([held, chunk]);
  }
}
