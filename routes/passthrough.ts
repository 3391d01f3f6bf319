import { Refusal } from "../kube/status.ts";
import type { HeaderLine } from "./handler.ts";
import type { Journey } from "./journey.ts";

/** Sends a request to the API server with nothing but what is in it: no credential of the gateway's. */
export type Forward = (request: {
  method: string;
  /** Path and query. */
  target: string;
  headers: Headers;
  body: ReadableStream<Uint8Array> | null;
  signal: AbortSignal;
}) => Promise<Response>;

/** Headers that belong to one connection (RFC 9110, 7.6.1) or that the next hop sets itself. */
const HOP_BY_HOP: ReadonlySet<string> = new Set([
  "connection",
  "keep-alive",
  "proxy-authenticate",
  "proxy-authorization",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
  "host",
  "content-length",
]);

/** Subresources through which a container can be reached. None is ever passed through plainly. */
const GUARDED_SUBRESOURCES: ReadonlySet<string> = new Set(["exec", "attach", "portforward", "proxy"]);

/**
 * Any other API request, sent on with the user's own credential: it can do nothing that the user could not.
 *
 * Answers stream, so that watches and followed logs work.
 */
export async function passThrough(journey: Journey, request: Request, forward: Forward): Promise<Response> {
  const { context, method, target } = journey;
  // The router has sent these elsewhere. That is checked again here, where a mistake would open a door.
  if (reachesContainer(target.segments)) throw new Refusal("Forbidden", "this path is not passed through");
  const headers = forwardedHeaders(context.rawHeaders, context.remoteAddress);
  const { signal, rawTarget } = context;
  const answer = await forward({ method, target: rawTarget, headers, body: request.body, signal });
  return new Response(answer.body, { status: answer.status, headers: answeredHeaders(answer.headers) });
}

/**
 * Whether a path of the API leads into a container or to a node's or pod's own ports.
 *
 * @param segments of a canonical path
 */
export function reachesContainer(segments: readonly string[]): boolean {
  const [root] = segments;
  if (root === "proxy") return true;
  if (root !== "api" && root !== "apis") return false;
  const [resource, , subresource, , namespaced] = segments.slice(root === "api" ? 2 : 3);
  if (resource === "proxy" || isGuarded(subresource)) return true;
  return resource === "namespaces" && isGuarded(namespaced);
}

function isGuarded(subresource: string | undefined): boolean {
  return subresource !== undefined && GUARDED_SUBRESOURCES.has(subresource);
}

function forwardedHeaders(lines: readonly HeaderLine[], remoteAddress: string): Headers {
  const dropped = new Set(HOP_BY_HOP);
  for (const [name, value] of lines) {
    if (name.toLowerCase() !== "connection") continue;
    for (const token of value.split(",")) dropped.add(token.trim().toLowerCase());
  }
  const headers = new Headers();
  for (const [name, value] of lines) {
    const key = name.toLowerCase();
    // Only a front proxy with a certificate of its own may name the user in these.
    if (dropped.has(key) || key.startsWith("x-remote-")) continue;
    headers.append(name, value);
  }
  headers.append("X-Forwarded-For", remoteAddress);
  return headers;
}

function answeredHeaders(headers: Headers): Headers {
  const kept = new Headers(headers);
  for (const name of HOP_BY_HOP) if (name !== "content-length") kept.delete(name);
  return kept;
}
