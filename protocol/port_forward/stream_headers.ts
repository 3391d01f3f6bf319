import type { HeaderBlock } from "../spdy/header_block.ts";
import { parseUint16, quote } from "./uint16.ts";

/** Of the two streams of a forwarded connection: bytes both ways, or what went wrong as text to the client. */
export type ForwardedStreamType = "data" | "error";

/** What the opener of a stream says of it. */
export interface ForwardedStreamHeaders {
  type: ForwardedStreamType;
  /** In the pod, 1..65535. */
  port: number;
  /** The same for both streams of a connection. */
  requestId: string;
  /** A stream of the OpenShift documents: the connection's only one, with a port and nothing else. */
  isAlone: boolean;
}

/** The headers, or why the stream is refused: a sentence as the kubelet has it in its log. */
export type StreamHeadersReading =
  | { ok: true; stream: ForwardedStreamHeaders }
  | { ok: false; reason: string; requestId: string };

/** How a stream's headers are read. */
export interface StreamHeadersOptions {
  /** Whether a stream may have a `port` alone, as the OpenShift documents have it. @default {false} */
  isLegacy?: boolean;
}

/** Longest request ID that is kept, in characters; client-go counts from 0. The kubelet has no bound. */
const MAX_REQUEST_ID_LENGTH = 256;

/**
 * Reads the headers of a stream as the kubelet's streaming server does. Of several values of a header the first counts.
 *
 * Without `requestid` the stream's number stands for it: an error stream's own, and for a data stream the one two
 * before, for the oldest clients open the error stream first (E-100).
 *
 * @param id the number of the stream, as its opener counts
 * @see k8s.io/kubelet pkg/cri/streaming/portforward/httpstream.go
 */
export function readStreamHeaders(
  id: number,
  headers: HeaderBlock,
  { isLegacy = false }: StreamHeadersOptions = {},
): StreamHeadersReading {
  const first = (name: string) => headers.get(name)?.split("\0", 1)[0] ?? "";
  const type = first("streamtype");
  const isAlone = isLegacy && type === "";
  const given = isAlone ? "" : first("requestid");
  const requestId = given || String(type === "data" ? id - 2 : id);
  const refuse = (reason: string): StreamHeadersReading => {
    return { ok: false, reason, requestId: requestId.slice(0, MAX_REQUEST_ID_LENGTH) };
  };

  const text = first("port");
  if (text === "") return refuse('"port" header is required');
  const port = parseUint16(text);
  if (!port.ok) return refuse(`unable to parse ${quote(text)} as a port: ${port.error}`);
  if (port.value < 1) return refuse(`port ${quote(text)} must be > 0`);

  if (type === "" && !isAlone) return refuse('"streamType" header is required');
  if (!isAlone && type !== "data" && type !== "error") return refuse(`invalid stream type ${quote(type)}`);
  if (requestId.length > MAX_REQUEST_ID_LENGTH) {
    return refuse(`"requestID" header has more than ${MAX_REQUEST_ID_LENGTH} characters`);
  }
  const stream: ForwardedStreamHeaders = {
    type: type === "error" ? "error" : "data",
    port: port.value,
    requestId,
    isAlone,
  };
  return { ok: true, stream };
}

/** The headers by which a stream is opened upstream: these three, whatever else the client sent. */
export function writeStreamHeaders(
  { type, port, requestId }: Pick<ForwardedStreamHeaders, "type" | "port" | "requestId">,
): HeaderBlock {
  return new Map([["streamtype", type], ["port", String(port)], ["requestid", requestId]]);
}
