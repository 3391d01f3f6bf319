import { Refusal } from "../kube/status.ts";

/** What a request shows to say who it is. */
export interface Credential {
  token: string;
  /** WebSocket subprotocols without the one that held the token; `undefined` where none did. */
  subprotocols: readonly string[] | undefined;
}

type HeaderLines = readonly (readonly [name: string, value: string])[];

/** Before the token, where a browser can set no header. */
const BEARER_PROTOCOL = "base64url.bearer.authorization.k8s.io.";

/** Longer tokens than this are nobody's, in bytes. */
const MAX_TOKEN_BYTES = 64 * 1024;

/** What is told to everyone without a good credential: nothing more. */
export function unauthorized(cause?: unknown): Refusal {
  return new Refusal("Unauthorized", "Unauthorized", {
    headers: { "WWW-Authenticate": 'Bearer realm="postern"' },
    rule: "authentication",
    ...(cause !== undefined && { cause }),
  });
}

/**
 * Finds the bearer token of a request: in `Authorization`, or among the subprotocols of a WebSocket request.
 *
 * @throws {Refusal} Unauthorized where there is none, or more than one
 * @see k8s.io/apiserver pkg/authentication/request/bearertoken and .../websocket
 */
export function readCredential(headers: HeaderLines): Credential {
  const protocols = readProtocols(headers);
  const token = readAuthorization(headers) ?? protocols?.token;
  if (token === undefined || new TextEncoder().encode(token).length > MAX_TOKEN_BYTES) throw unauthorized();
  return { token, subprotocols: protocols?.rest };
}

/** Two lines are two answers to one question, so neither counts. */
function readAuthorization(headers: HeaderLines): string | undefined {
  const lines = values(headers, "authorization");
  if (lines.length > 1) throw unauthorized();
  const [scheme = "", token = ""] = (lines[0] ?? "").trim().split(" ");
  if (scheme.toLowerCase() !== "bearer" || token === "") return undefined;
  // Other characters than those of RFC 6750 are no token's, and some would end a header or a line of a log.
  return /^[\x21-\x7e]+$/.test(token) ? token : undefined;
}

function readProtocols(headers: HeaderLines): { token: string; rest: string[] } | undefined {
  if (values(headers, "upgrade")[0]?.toLowerCase() !== "websocket") return undefined;
  const all = values(headers, "sec-websocket-protocol").flatMap((line) => line.split(",")).map((name) =>
    name.trim()
  );
  const bearers = all.filter((name) => name.startsWith(BEARER_PROTOCOL));
  const [bearer] = bearers;
  if (bearer === undefined) return undefined;
  const rest = all.filter((name) => name !== bearer);
  if (bearers.length > 1 || rest.length === 0) throw unauthorized();
  return { token: decodeToken(bearer.slice(BEARER_PROTOCOL.length)), rest };
}

/** base64url without padding, of UTF-8. */
function decodeToken(encoded: string): string {
  if (!/^[A-Za-z0-9_-]+$/.test(encoded)) throw unauthorized();
  try {
    const bytes = Uint8Array.fromBase64(encoded, { alphabet: "base64url" });
    const token = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    if (/^[\x21-\x7e]+$/.test(token)) return token;
  } catch {
    // Told below.
  }
  throw unauthorized();
}

function values(headers: HeaderLines, name: string): string[] {
  return headers.filter(([key]) => key.toLowerCase() === name).map(([, value]) => value);
}
