import type { HeaderLine, RequestContext } from "./handler.ts";

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

/**
 * The headers that go on to the API server: the user's own, credential and `Impersonate-*` among them.
 *
 * @param auditId the API server takes it for its own log, so that both logs have the same; a client's own is dropped then
 */
export function forwardedHeaders({ rawHeaders, remoteAddress }: RequestContext, auditId?: string): Headers {
  const dropped = connectionHeaders(rawHeaders);
  const headers = new Headers();
  for (const [name, value] of rawHeaders) {
    const key = name.toLowerCase();
    // Only a front proxy with a certificate of its own may name the user in these.
    if (dropped.has(key) || key.startsWith("x-remote-")) continue;
    headers.append(name, value);
  }
  headers.append("X-Forwarded-For", remoteAddress);
  if (auditId !== undefined) headers.set("Audit-ID", auditId);
  return headers;
}

/** The API server's answer as the client is given it, with its body or another that stands for it. */
export function answered(answer: Response, body: BodyInit | null = answer.body): Response {
  const headers = new Headers(answer.headers);
  for (const name of HOP_BY_HOP) if (name !== "content-length") headers.delete(name);
  return new Response(body, { status: answer.status, headers });
}

/** The `auditID` by which the API server's own log knows a request. Whoever stands behind it may add more of them. */
export function upstreamAuditId({ headers }: Response): string | undefined {
  return headers.get("Audit-Id")?.split(",")[0]?.trim() || undefined;
}

function connectionHeaders(lines: readonly HeaderLine[]): ReadonlySet<string> {
  const names = lines.filter(([name]) => name.toLowerCase() === "connection")
    .flatMap(([, value]) => value.split(",")).map((name) => name.trim().toLowerCase());
  return new Set([...HOP_BY_HOP, ...names]);
}
