import { createHash } from "node:crypto";
import { ProtocolError } from "../errors.ts";

/** Header lines as they stood on the wire, one entry a line, names in any case, values without outer blanks. */
export type HeaderLines = readonly (readonly [name: string, value: string])[];

/** What a client that asked for a WebSocket is to be answered with. */
export type UpgradeRequest =
  | {
    ok: true;
    /** The value of `Sec-WebSocket-Accept`. */
    accept: string;
    /** Subprotocols in the order the client prefers; none, or `""` for an empty entry, where it offered so. */
    offered: string[];
  }
  /** The raw answer of Go's servers: this status, these headers and this body. */
  | { ok: false; status: 400 | 405; headers: HeaderLines; body: string };

/** The GUID that every accept key is made with. @see RFC 6455, 1.3 */
const GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/** 16 bytes in base64: the last character before the padding holds 2 bits. */
const KEY = /^[A-Za-z0-9+/]{21}[AQgw]==$/;

/** The value of `Sec-WebSocket-Accept` that proves that a `Sec-WebSocket-Key` was read. */
export function acceptKey(key: string): string {
  return createHash("sha1").update(key + GUID).digest("base64");
}

/** Whether a request asks for a WebSocket, as API servers and kubelets decide it (E-11, E-12). */
export function isUpgradeRequest(headers: HeaderLines): boolean {
  return first(headers, "upgrade")?.toLowerCase() === "websocket" &&
    lines(headers, "connection").some((value) => value.toLowerCase().includes("upgrade"));
}

/**
 * Reads a client's upgrade request. Of `Sec-WebSocket-Protocol` only the first line counts, as in Go (E-27); a key or
 * version given twice is refused, where Go takes the first.
 *
 * @param method the HTTP method; only GET may upgrade (E-26)
 */
export function readUpgradeRequest(method: string, headers: HeaderLines): UpgradeRequest {
  const refuse = (status: 400 | 405, body: string, extra: HeaderLines = []): UpgradeRequest => {
    return { ok: false, status, headers: extra, body };
  };
  if (method !== "GET") return refuse(405, "bad method");
  if (!isUpgradeRequest(headers)) return refuse(400, "not websocket protocol");
  const [key = "", ...moreKeys] = lines(headers, "sec-websocket-key");
  if (moreKeys.length > 0 || !KEY.test(key)) return refuse(400, "mismatch challenge/response");
  const versions = lines(headers, "sec-websocket-version");
  if (versions.length !== 1 || versions[0] !== "13") {
    return refuse(400, "missing or bad WebSocket Version", [["Sec-WebSocket-Version", "13"]]);
  }
  return { ok: true, accept: acceptKey(key), offered: offeredProtocols(headers) };
}

/**
 * The headers of a 101. There is a `Sec-WebSocket-Protocol` line even if `protocol` is `""`, as Go writes it (E-75).
 *
 * @param protocol the negotiated subprotocol, a name of our own tables; never text from the wire
 */
export function upgradeResponseHeaders(accept: string, protocol: string): HeaderLines {
  return [
    ["Upgrade", "websocket"],
    ["Connection", "Upgrade"],
    ["Sec-WebSocket-Accept", accept],
    ["Sec-WebSocket-Protocol", protocol],
  ];
}

/**
 * The headers by which a client asks.
 *
 * @param key 16 random bytes, base64
 * @param protocols in order of preference; names such as `SPDY/3.1+portforward.k8s.io` are no tokens of HTTP, and are sent
 */
export function upgradeRequestHeaders(key: string, protocols: readonly string[]): HeaderLines {
  return [
    ["Upgrade", "websocket"],
    ["Connection", "Upgrade"],
    ["Sec-WebSocket-Key", key],
    ["Sec-WebSocket-Version", "13"],
    ...(protocols.length > 0 ? [["Sec-WebSocket-Protocol", protocols.join(", ")] as const] : []),
  ];
}

/** What was asked, to hold the answer against. */
export interface SentUpgrade {
  key: string;
  protocols: readonly string[];
}

/**
 * Holds a server's answer against what was asked.
 *
 * @returns the subprotocol that the server chose, one of those offered; `""` if none was offered
 * @throws {ProtocolError} `handshake_status`, `handshake_upgrade`, `handshake_accept`, `handshake_extensions` or `handshake_protocol`
 */
export function readUpgradeResponse(status: number, headers: HeaderLines, sent: SentUpgrade): string {
  if (status !== 101) throw new ProtocolError("handshake_status", `status ${status} instead of 101`);
  if (!isUpgradeRequest(headers)) throw new ProtocolError("handshake_upgrade", "101 without websocket");
  if (first(headers, "sec-websocket-accept") !== acceptKey(sent.key)) {
    throw new ProtocolError("handshake_accept", "Sec-WebSocket-Accept does not match the key");
  }
  if (lines(headers, "sec-websocket-extensions").some((value) => value !== "")) {
    throw new ProtocolError("handshake_extensions", "server chose an extension, none was offered");
  }
  const chosen = lines(headers, "sec-websocket-protocol");
  const protocol = chosen[0] ?? "";
  const offered = sent.protocols.length > 0 ? sent.protocols : [""];
  if (chosen.length > 1 || !offered.includes(protocol)) {
    throw new ProtocolError("handshake_protocol", "server chose a subprotocol that was not offered");
  }
  return protocol;
}

/** The client's subprotocols in its order, of the first header line (E-27). */
function offeredProtocols(headers: HeaderLines): string[] {
  const list = trim(first(headers, "sec-websocket-protocol") ?? "");
  return list === "" ? [] : list.split(",").map(trim);
}

function lines(headers: HeaderLines, name: string): string[] {
  return headers.filter((line) => line[0].toLowerCase() === name).map((line) => trim(line[1]));
}

function first(headers: HeaderLines, name: string): string | undefined {
  return lines(headers, name)[0];
}

/** `String.trim` also takes characters that HTTP counts as text. */
function trim(value: string): string {
  return value.replace(/^[ \t]+|[ \t]+$/g, "");
}
