/** What is kept of a conversation, so that two of them can be compared: without what differs from one run to the next. */

import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import type { Column } from "./columns.ts";

/** Longer data is compared by length and hash. */
const MAX_SHOWN_BYTES = 2_000;

/** What must or may differ from one run to the next, wherever it stands in a text. */
const VOLATILE: readonly (readonly [pattern: RegExp, name: string])[] = [
  [/\b[0-9a-f]{64}\b/g, "<container id>"],
  [/\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b/g, "<uid>"],
  [/\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b/g, "<uid>"],
  [/conn=0x[0-9a-f]+/g, "conn=<address>"],
  [/\/exec\/[A-Za-z0-9_-]{8}\b/g, "/exec/<token>"],
  [/127\.0\.0\.1:\d{5}->/g, "<local port>->"],
  [/^([EIW])\d{4} \d\d:\d\d:\d\d\.\d{6} +\d+ /gm, "$1<time> "],
];

/**
 * A text without what tells the columns apart (address, port, names made for one) and without ids, times and addresses in
 * memory. kubectl says that it drops the empty messages that open a WebSocket session where they come before it
 * expects them, and they come at any time from any server.
 */
export function masked(at: Column, text: string): string {
  let result = text.replaceAll(at.url, "<server>").replaceAll(`127.0.0.1:${at.port}`, "<server>")
    .replaceAll(at.word, "<word>")
    .replaceAll(/^E\d{4} .* websocket\.go:\d+\] Unknown stream id \d, discarding message\r?\n/gm, "");
  for (const [pattern, name] of VOLATILE) result = result.replaceAll(pattern, name);
  return result;
}

/** Bytes for comparison: masked text where they are short, else how many and their SHA-256. */
export function shown(at: Column, bytes: Uint8Array): string {
  if (bytes.length > MAX_SHOWN_BYTES) return digestOf(bytes);
  return masked(at, new TextDecoder("latin1").decode(Buffer.from(bytes)));
}

/** How many bytes, and their SHA-256. */
export function digestOf(bytes: Uint8Array): string {
  return `${bytes.length} bytes, sha256 ${createHash("sha256").update(bytes).digest("hex")}`;
}

/** An HTTP answer as it stood on the wire. */
export interface Answer {
  /** HTTP status. */
  status: number;
  reason: string;
  headers: readonly (readonly [name: string, value: string])[];
  /** Of a 101 empty. */
  body: Uint8Array;
}

/**
 * Headers that mean something to a client of a session. Not among them: how long the HTTP connection lives, what may be cached of
 * a refusal, and what a browser may guess of it.
 */
const RELEVANT: ReadonlySet<string> = new Set([
  "allow",
  "content-type",
  "location",
  "retry-after",
  "sec-websocket-accept",
  "sec-websocket-extensions",
  "sec-websocket-protocol",
  "sec-websocket-version",
  "upgrade",
  "www-authenticate",
  "x-accepted-stream-protocol-versions",
  "x-stream-protocol-version",
]);

/** An answer in one text: status line, the headers that matter sorted by name, body. */
export function answerText(at: Column, { status, reason, headers, body }: Answer): string {
  const values = new Map<string, string[]>();
  for (const [name, value] of headers) {
    const key = name.toLowerCase();
    if (!RELEVANT.has(key) && !(key === "connection" && status === 101)) continue;
    values.set(key, [...values.get(key) ?? [], value]);
  }
  // Several lines of a name are the same as one with commas (RFC 9110, 5.3).
  const lines = [...values.keys()].sort().map((key) => `${key}: ${values.get(key)!.join(", ")}`);
  return [`${status} ${reason}`, ...lines, "", shown(at, body)].join("\n").trimEnd();
}
