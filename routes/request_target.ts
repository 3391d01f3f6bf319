import { Refusal } from "../kube/status.ts";

/** The path and query of a request, read in one way only. */
export interface RequestTarget {
  /** Decoded segments of the path: none is empty, `.` or `..`, or holds a slash or a control character. */
  segments: readonly string[];
  /** The segments joined: what is matched, authorized and opened. Starts with a slash and never ends with one. */
  path: string;
  /** Query parameters in order, decoded. */
  query: readonly (readonly [key: string, value: string])[];
}

/**
 * Reads a request target, strictly: a path that two servers could read differently is refused, so that what is
 * authorized here is what the API server or the kubelet would open.
 *
 * @param rawTarget as it stood in the request line, e.g. `/api/v1/pods?limit=1`
 * @throws {Refusal} BadRequest
 */
export function readRequestTarget(rawTarget: string): RequestTarget {
  if (!rawTarget.startsWith("/")) throw badTarget("the request target must be a path");
  if (/[^\x21-\x7e]|[\\#]/.test(rawTarget)) {
    throw badTarget("the request target holds a character that must be escaped");
  }
  const mark = rawTarget.indexOf("?");
  const rawPath = mark < 0 ? rawTarget : rawTarget.slice(0, mark);
  const rawQuery = mark < 0 ? "" : rawTarget.slice(mark + 1);
  const rawSegments = rawPath.slice(1).split("/");
  if (rawSegments.at(-1) === "") rawSegments.pop(); // a trailing slash names the same thing
  const segments = rawSegments.map(readSegment);
  return { segments, path: `/${segments.join("/")}`, query: readQuery(rawQuery) };
}

function readSegment(raw: string): string {
  const segment = decode(raw);
  if (segment === "") throw badTarget("the path has an empty segment");
  if (segment === "." || segment === "..") throw badTarget("the path has a dot segment");
  if (/[/\\%;\p{Cc}]/u.test(segment)) throw badTarget("the path has a segment with an escaped separator");
  return segment;
}

/**
 * Parameters of one request. A megabyte would have room for half a million, and to read those takes half a second of
 * everybody's time, before it is known who asks. Go's own server, and so the API server, takes as many.
 */
const MAX_PARAMETERS = 10_000;

/** `a=1&b=2`; `+` is a space. A `;` separates nothing, and is refused because it once did. */
function readQuery(raw: string): [string, string][] {
  if (raw === "") return [];
  if (raw.includes(";")) throw badTarget("the query has a semicolon");
  const pairs = raw.split("&", MAX_PARAMETERS + 1);
  if (pairs.length > MAX_PARAMETERS) throw badTarget(`the query has more than ${MAX_PARAMETERS} parameters`);
  return pairs.filter((pair) => pair !== "").map((pair) => {
    const text = pair.replaceAll("+", "%20");
    const equals = text.indexOf("=");
    return equals < 0 ? [decode(text), ""] : [decode(text.slice(0, equals)), decode(text.slice(equals + 1))];
  });
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw badTarget("the request target has an escape that is no UTF-8");
  }
}

function badTarget(message: string): Refusal {
  return new Refusal("BadRequest", message, { rule: "request-target" });
}
