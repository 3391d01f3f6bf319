import { RECORDING_SUFFIX, type RecordingStore, StoreError } from "../recording/store.ts";
import { Refusal, type Status } from "../kube/status.ts";
import { type ByteSpan, isRangeWanted, readByteRange, readConditions } from "./byte_range.ts";
import type { ApiCall, ApiGate } from "./call.ts";
import { notFound, reach } from "./guard.ts";
import { locate } from "./located_session.ts";

type Store = Pick<RecordingStore, "open" | "list">;

/** Bytes of the link that every block of a recording ends with. */
const LINK_BYTES = 32;

/**
 * The bytes of a session's recording, or a range of them. Of one that is being written: what is durable, which only grows, so that
 * a reader may go on where it stopped. When the session has ended, the last link is its ETag.
 *
 * That it is read is written down before the first byte is given, and how much was given when that is over.
 */
export async function readRecording(
  request: Request,
  call: ApiCall,
  gate: ApiGate,
  auditId: string,
): Promise<Response> {
  const grant = { resource: "recordings", verb: "get" } as const;
  const { found, reason } = await reach(call, gate, grant, auditId, () => locate(gate, auditId));
  const store = await gate.store();
  if (found.recording === undefined || store === undefined) throw notFound("recordings", auditId);
  const path = found.recording;
  try {
    const sizeBytes = await sizeOf(store, path);
    if (sizeBytes === undefined) throw notFound("recordings", auditId);
    const etag = found.isOver ? await lastLink(store, path, sizeBytes) : null;
    const isHead = call.method === "HEAD";
    const answer = plan(request.headers, sizeBytes, etag, isHead);
    await call.allow(reason);
    return respond(answer, isHead ? null : await bodyOf(answer, store, path), auditId);
  } catch (thrown) {
    throw refusalOf(thrown, auditId);
  }
}

/** What is to be answered: bytes, or a Status where there are none. */
interface Answer {
  code: number;
  headers: Headers;
  span?: ByteSpan;
  /** JSON. */
  status: string | null;
}

function plan(request: Headers, sizeBytes: number, etag: string | null, isHead: boolean): Answer {
  const headers = new Headers({ "Accept-Ranges": "bytes" });
  if (etag !== null) headers.set("ETag", etag);
  const condition = readConditions(request, etag);
  if (condition === 304) return { code: 304, headers, status: null };
  if (condition === 412) return failure(412, headers, "the recording is not the one that If-Match names");
  // A range is asked for by GET alone.
  const isWanted = !isHead && isRangeWanted(request, etag);
  const range = isWanted ? readByteRange(request.get("Range"), sizeBytes) : undefined;
  if (range === "unsatisfiable") {
    headers.set("Content-Range", `bytes */${sizeBytes}`);
    return failure(416, headers, `the recording has ${sizeBytes} bytes, and none where the range begins`);
  }
  const span = range ?? { start: 0, end: sizeBytes };
  headers.set("Content-Type", "application/octet-stream");
  headers.set("Content-Length", String(span.end - span.start));
  if (range === undefined) return { code: 200, headers, span, status: null };
  headers.set("Content-Range", `bytes ${span.start}-${span.end - 1}/${sizeBytes}`);
  return { code: 206, headers, span, status: null };
}

/** `metav1.StatusReason` has no word for these. */
function failure(code: number, headers: Headers, message: string): Answer {
  headers.set("Content-Type", "application/json");
  const status: Status = {
    kind: "Status",
    apiVersion: "v1",
    metadata: {},
    status: "Failure",
    message,
    code,
  };
  return { code, headers, status: `${JSON.stringify(status)}\n` };
}

async function bodyOf({ span, status }: Answer, store: Store, path: string): Promise<BodyInit | null> {
  return span === undefined ? status : await store.open(path, { offset: span.start, end: span.end });
}

function respond({ code, headers, span }: Answer, body: BodyInit | null, auditId: string): Response {
  if (span) headers.set("Content-Disposition", `attachment; filename="${auditId}${RECORDING_SUFFIX}"`);
  return new Response(body, { status: code, headers });
}

/** How much is there, in bytes. */
async function sizeOf(store: Store, path: string): Promise<number | undefined> {
  for await (const stored of store.list(path)) {
    if (stored.path === path) return stored.bytes;
  }
  return undefined;
}

/** The link of the last block, which says what every byte before it is. */
async function lastLink(store: Store, path: string, sizeBytes: number): Promise<string | null> {
  if (sizeBytes < LINK_BYTES) return null;
  const stream = await store.open(path, { offset: sizeBytes - LINK_BYTES, end: sizeBytes });
  const link = new Uint8Array(await new Response(stream).arrayBuffer());
  return link.length === LINK_BYTES ? `"${link.toHex()}"` : null;
}

function refusalOf(thrown: unknown, auditId: string): unknown {
  if (!(thrown instanceof StoreError)) return thrown;
  if (thrown.code === "not_found" || thrown.code === "path_refused") return notFound("recordings", auditId);
  return new Refusal("ServiceUnavailable", "the store of recordings cannot be read", { cause: thrown });
}
