/** Bytes from `start` to before `end`. */
export interface ByteSpan {
  start: number;
  end: number;
}

/**
 * Which bytes a `Range` header asks for. What is no range of bytes, or more than one, is answered with the whole, as a server may.
 *
 * @param sizeBytes of the whole
 * @returns `undefined` for the whole; `"unsatisfiable"` where no byte of it is asked for
 * @see RFC 9110, 14.1.2 and 14.2
 */
export function readByteRange(
  header: string | null,
  sizeBytes: number,
): ByteSpan | "unsatisfiable" | undefined {
  const [, first = "", last = ""] = /^bytes=[ \t]*(\d{0,15})-(\d{0,15})[ \t]*$/i.exec(header ?? "") ?? [];
  if (first === "" && last === "") return undefined;
  if (first === "") {
    const count = Math.min(Number(last), sizeBytes);
    return count === 0 ? "unsatisfiable" : { start: sizeBytes - count, end: sizeBytes };
  }
  const start = Number(first);
  if (last !== "" && Number(last) < start) return undefined;
  if (start >= sizeBytes) return "unsatisfiable";
  return { start, end: last === "" ? sizeBytes : Math.min(Number(last) + 1, sizeBytes) };
}

/**
 * What the request's conditions make of an answer.
 *
 * @param etag as the answer would have it; `null` where it has none
 * @returns 412 where `If-Match` does not hold, 304 where the client has it already, otherwise `undefined`
 * @see RFC 9110, 13.2.2
 */
export function readConditions(headers: Headers, etag: string | null): 304 | 412 | undefined {
  const match = headers.get("If-Match");
  if (match !== null && !listed(match, etag, "strong")) return 412;
  const noneMatch = headers.get("If-None-Match");
  return noneMatch !== null && etag !== null && listed(noneMatch, etag, "weak") ? 304 : undefined;
}

/** Whether `Range` is to be honoured: there is no `If-Range`, or it names the very same bytes. @see RFC 9110, 13.1.5 */
export function isRangeWanted(headers: Headers, etag: string | null): boolean {
  const condition = headers.get("If-Range");
  return condition === null || (etag !== null && condition.trim() === etag);
}

function listed(list: string, etag: string | null, comparison: "strong" | "weak"): boolean {
  return list.split(",").map((each) => each.trim()).some((each) =>
    each === "*" || (etag !== null && (comparison === "weak" ? each.replace(/^W\//, "") : each) === etag)
  );
}
