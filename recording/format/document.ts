import { RecordingError } from "./recording_error.ts";

/** What of stdin is kept: nothing, its length and SHA-256, or its bytes. Passwords are typed there. */
export type StdinMode = "none" | "digest" | "content";

/** As `authentication.k8s.io/v1` has it. */
export interface RecordedUser {
  username?: string;
  uid?: string;
  groups?: readonly string[];
  extra?: Readonly<Record<string, readonly string[]>>;
}

/** The header block: what is known of a session when it begins. */
export interface RecordingHeader {
  /** Joins the recording with the events of its session. */
  auditId: string;
  /** RFC 3339 with microseconds: chunks count from here. */
  startedAt: string;
  user: RecordedUser;
  /** As whom, where that is someone else. */
  impersonatedUser?: RecordedUser;
  sourceIps: readonly string[];
  userAgent?: string;
  /** Path and query as sent, masked as in the events. */
  requestUri: string;
  kind: "exec" | "attach" | "portforward";
  namespace: string;
  pod: string;
  podUid: string;
  node: string;
  container?: string;
  image?: string;
  /** The command, masked as in the events. */
  argv?: readonly string[];
  tty: boolean;
  /** What the client speaks. */
  protocol: string;
  stdin: StdinMode;
  /** What of all other streams is kept; `digest` for a port-forward whose bytes are not asked for. */
  streams: "digest" | "content";
  /** How the keys of encrypted blocks are had: an age file, in its armor, that holds 32 bytes. */
  encryption?: { cipher: "AES-256-GCM"; age: string };
}

/** What one stream came to; its last chunk. */
export interface StreamTotals {
  bytesIn: number;
  bytesOut: number;
  /** Hexadecimal, of all bytes that way, where they are kept by digest: of those that are kept whole anyone can make it. */
  sha256In?: string;
  sha256Out?: string;
}

/** The trailer block: how a session ended. */
export interface RecordingTrailer {
  /** RFC 3339 with microseconds. */
  endedAt: string;
  /** As the `end` event says it. */
  reason: string;
  by: string;
  message: string;
  exitCode?: number;
  /** Of all streams together. */
  totals: { streams: number; bytesIn: number; bytesOut: number };
}

/** A seal block: who vouches for all blocks before it. */
export interface Seal {
  /** RFC 3339 with microseconds. */
  at: string;
  /** SHA-256 of the public key (SPKI, DER), hexadecimal. */
  key: string;
  /** Ed25519 over {@linkcode sealedBytes}, base64. */
  signature: string;
}

/** What a seal signs: these words, the time that it names, and the link of the block before it. */
export function sealedBytes(at: string, link: Uint8Array): Uint8Array {
  const words = new TextEncoder().encode(`postern recording 1 seal\n${at}\n`);
  const bytes = new Uint8Array(words.length + link.length);
  bytes.set(words);
  bytes.set(link, words.length);
  return bytes;
}

/** JSON, as it stands in a block. */
export function encodeDocument(
  document: RecordingHeader | RecordingTrailer | Seal | StreamTotals,
): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(document));
}

/** @throws {RecordingError} `payload_invalid` */
export function decodeDocument(payload: Uint8Array): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(payload));
    if (typeof value === "object" && value !== null && !Array.isArray(value)) return { ...value };
  } catch {
    // Told below.
  }
  throw new RecordingError("payload_invalid", "a block that should hold a JSON object does not");
}

/** RFC 3339 with microseconds. @param ms since 1970, with fractions */
export function timestamp(ms: number): string {
  const us = Math.round(ms * 1000);
  return `${new Date(Math.floor(us / 1000)).toISOString().slice(0, -1)}${
    String(us % 1000).padStart(3, "0")
  }Z`;
}
