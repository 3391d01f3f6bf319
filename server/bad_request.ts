import type { IncomingMessage } from "node:http";
import { STATUS_CODES } from "node:http";
import type { Status } from "../kube/status.ts";

/** A request that was refused before anyone was asked about it: malformed, too large, or too slow. */
export interface BadRequest {
  remoteAddress: string;
  remotePort: number;
  /** HTTP status that was answered, as far as anything could be answered. */
  code: number;
  /** A sentence, which the client was told too. */
  reason: string;
}

/** What is wrong with a request. */
export interface RequestFault {
  code: 400 | 405 | 408 | 417 | 431 | 503;
  reason: string;
}

/**
 * Lines of headers in a request. A megabyte would have room for 260,000, and `Headers` takes time with the square of
 * their number: 3 seconds for 5,000. Clients of Kubernetes send about ten.
 */
const MAX_HEADER_LINES = 256;

const METHODS: readonly string[] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/**
 * Headers that say who asks, and as whom. Who passes a request on drops what its `Connection` names (RFC 9110, 7.6.1):
 * one that names these would be judged with them, and carried out without.
 */
const IDENTITY = /^(authorization$|impersonate-)/i;

/**
 * Judges a request that llhttp could read. That parser refuses what is ambiguous in the framing (both lengths, bare
 * line ends, folded headers); here is refused what is unambiguous but nothing that a client of Kubernetes sends,
 * and what two readers might take differently.
 *
 * @returns `undefined` where nothing is wrong
 */
export function faultOf(request: IncomingMessage, isUpgrade: boolean): RequestFault | undefined {
  const { httpVersion, method = "", url = "", rawHeaders } = request;
  if (rawHeaders.length / 2 > MAX_HEADER_LINES) {
    return { code: 431, reason: `the request has more than ${MAX_HEADER_LINES} header lines` };
  }
  const lines = (name: string) => valuesOf(request, name);
  const [encoding, ...moreEncodings] = lines("transfer-encoding");
  const [expectation, ...moreExpectations] = lines("expect");
  const hosts = lines("host").length;
  const isOld = httpVersion === "1.0";

  if (httpVersion !== "1.1" && !isOld) return bad("the HTTP version is not supported");
  if (!METHODS.includes(method)) {
    return { code: 405, reason: "the server does not allow this method on the requested resource" };
  }
  if (!url.startsWith("/")) return bad("the request target must be a path");
  if (hosts > 1 || (hosts === 0 && !isOld)) return bad("exactly one Host header is required");
  if (encoding !== undefined && (isOld || moreEncodings.length > 0 || encoding.toLowerCase() !== "chunked")) {
    return bad("the transfer encoding is not supported");
  }
  if (
    expectation !== undefined && (moreExpectations.length > 0 || expectation.toLowerCase() !== "100-continue")
  ) return { code: 417, reason: "the expectation cannot be met" };
  if (hasBody(request)) {
    if (isUpgrade) return bad("a request to upgrade the connection must have no body");
    if (method === "GET" || method === "HEAD") return bad(`a ${method} request must have no body`);
  }
  if (lines("connection").some((value) => value.split(",").some((name) => IDENTITY.test(name.trim())))) {
    return bad("a header that says who asks belongs to the request, not to the connection");
  }
  if (isUpgrade && isOld) return bad("HTTP/1.0 connections cannot be upgraded");
  return undefined;
}

/** Whether the headers announce a body. `Content-Length: 0` does not, and Go sends it with every POST. */
export function hasBody(request: IncomingMessage): boolean {
  if (valuesOf(request, "transfer-encoding").length > 0) return true;
  return valuesOf(request, "content-length").some((value) => Number(value) !== 0);
}

/** What the parser threw, as a fault. Its sentences are fixed texts, and quote nothing. */
export function parserFault(error: Error & { code?: string }, maxHeaderBytes: number): RequestFault {
  if (error.code === "HPE_HEADER_OVERFLOW") {
    return { code: 431, reason: `the request's headers are larger than ${maxHeaderBytes} bytes` };
  }
  return bad(`malformed HTTP request: ${error.message.replace(/^Parse Error: /, "")}`);
}

/** A fault as a `metav1.Status`. Reasons are those of the API server's, which has none for 408, 417 and 431. */
export function statusOf({ code, reason: message }: RequestFault): Status {
  const reason = {
    400: "BadRequest",
    405: "MethodNotAllowed",
    408: "",
    417: "",
    431: "",
    503: "ServiceUnavailable",
  }[code];
  return {
    kind: "Status",
    apiVersion: "v1",
    metadata: {},
    status: "Failure",
    message,
    ...(reason !== "" && { reason }),
    code,
  };
}

/** A Status as the whole answer on a connection that is closed after it: all bytes, from the status line on. */
export function rawAnswer(status: Status, code: number): Uint8Array {
  const body = `${JSON.stringify(status)}\n`;
  const head = [
    `HTTP/1.1 ${code} ${STATUS_CODES[code]}`,
    "Cache-Control: no-cache, private",
    "Content-Type: application/json",
    `Content-Length: ${new TextEncoder().encode(body).length}`,
    `Date: ${new Date().toUTCString()}`,
    "Connection: close",
    ...(code === 503 ? ["Retry-After: 1"] : []),
  ];
  return new TextEncoder().encode(`${head.join("\r\n")}\r\n\r\n${body}`);
}

function valuesOf({ rawHeaders }: IncomingMessage, name: string): string[] {
  return rawHeaders.filter((_, index) => index % 2 === 1 && rawHeaders[index - 1]?.toLowerCase() === name);
}

function bad(reason: string): RequestFault {
  return { code: 400, reason };
}
