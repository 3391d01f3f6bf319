import { ProtocolError } from "../errors.ts";

/** The head of an HTTP/1.1 response. */
export interface ResponseHead {
  /** 100..599 */
  status: number;
  statusText: string;
  /** Names as sent, in order. */
  headers: readonly (readonly [name: string, value: string])[];
  /** Bytes of the head, with the empty line that ends it; what follows is the body, or the upgraded stream. */
  headBytes: number;
}

const STATUS_LINE = /^HTTP\/1\.1 ([1-5][0-9]{2})(?: ([\t\x20-\x7e\x80-\xff]*))?$/;
const HEADER_LINE = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):[\t ]*([\t\x20-\x7e\x80-\xff]*)$/;

/**
 * Reads the head of the response to an upgrade request, all or nothing.
 *
 * @param bytes all that was read so far
 * @param maxHeadBytes where a head that does not end is given up
 * @returns `undefined` while the head is not complete
 * @throws {ProtocolError} `head_too_large`, `head_malformed` (also folded lines, bare LF and NUL)
 * @see RFC 9112, 4 and 5
 */
export function readResponseHead(bytes: Uint8Array, maxHeadBytes: number): ResponseHead | undefined {
  const text = new TextDecoder("latin1").decode(bytes.subarray(0, maxHeadBytes));
  const end = text.indexOf("\r\n\r\n");
  if (end < 0) {
    if (bytes.length < maxHeadBytes) return undefined;
    throw new ProtocolError("head_too_large", `response head exceeds ${maxHeadBytes} bytes`);
  }
  const [first = "", ...lines] = text.slice(0, end).split("\r\n");
  const status = STATUS_LINE.exec(first);
  if (status === null) throw new ProtocolError("head_malformed", "response has no HTTP/1.1 status line");
  const headers = lines.map((line) => {
    const header = HEADER_LINE.exec(line);
    if (header === null) throw new ProtocolError("head_malformed", "response header cannot be read");
    return [header[1]!, header[2]!.trimEnd()] as const;
  });
  return { status: Number(status[1]), statusText: status[2] ?? "", headers, headBytes: end + 4 };
}

/** The values of the header `name` (in lower case), one for each line. */
export function headerValues(
  headers: readonly (readonly [name: string, value: string])[],
  name: string,
): string[] {
  return headers.filter(([key]) => key.toLowerCase() === name).map(([, value]) => value);
}
