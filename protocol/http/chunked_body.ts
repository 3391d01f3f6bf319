import { ProtocolError } from "../errors.ts";

/** A line that is longer than this is none of a server's: sizes have no extensions in practice. */
const MAX_LINE_BYTES = 1024;

/** What was read of a body. */
export interface ChunkedBody {
  /** The bytes that were in it so far, without the framing. */
  body: Uint8Array;
  /** Whether that is all of them. Trailers are not read. */
  isWhole: boolean;
}

/**
 * Reads a chunked body, as far as it has come.
 *
 * @param bytes all that was read behind the head
 * @throws {ProtocolError} `body_malformed`
 * @see RFC 9112, 7.1
 */
export function readChunkedBody(bytes: Uint8Array): ChunkedBody {
  const chunks: Uint8Array[] = [];
  let at = 0;
  for (;;) {
    const line = readLine(bytes, at);
    if (line === undefined) return { body: join(chunks), isWhole: false };
    const size = /^([0-9A-Fa-f]{1,7})[\t ]*(?:;.*)?$/.exec(line);
    if (size === null) throw new ProtocolError("body_malformed", "a chunk has no size");
    const start = at + line.length + 2;
    const end = start + parseInt(size[1]!, 16);
    if (end === start) return { body: join(chunks), isWhole: true };
    chunks.push(bytes.subarray(start, end));
    if (bytes.length < end + 2) return { body: join(chunks), isWhole: false };
    if (bytes[end] !== 0x0d || bytes[end + 1] !== 0x0a) {
      throw new ProtocolError("body_malformed", "a chunk does not end where its size says");
    }
    at = end + 2;
  }
}

/** The line at `at` without its CRLF; `undefined` while it has none. */
function readLine(bytes: Uint8Array, at: number): string | undefined {
  const text = new TextDecoder("latin1").decode(bytes.subarray(at, at + MAX_LINE_BYTES));
  const end = text.indexOf("\r\n");
  if (end >= 0) return text.slice(0, end);
  if (text.length < MAX_LINE_BYTES) return undefined;
  throw new ProtocolError("body_malformed", "the line of a chunk's size does not end");
}

function join(chunks: readonly Uint8Array[]): Uint8Array {
  const body = new Uint8Array(chunks.reduce((sum, { length }) => sum + length, 0));
  let offset = 0;
  for (const chunk of chunks) {
    body.set(chunk, offset);
    offset += chunk.length;
  }
  return body;
}
