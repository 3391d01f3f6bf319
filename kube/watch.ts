import { ApiError, ApiUnreachable, type KubeClient } from "./client.ts";

/** One change that a watch tells of. */
export interface WatchEvent<T> {
  type: "ADDED" | "MODIFIED" | "DELETED" | "BOOKMARK";
  object: T;
}

/** Longest line of a watch, in bytes: an object is no larger than what etcd takes, 1.5 MiB, whatever its encoding. */
const MAX_LINE_BYTES = 4 * 1024 * 1024;

const TYPES: ReadonlySet<unknown> = new Set(["ADDED", "MODIFIED", "DELETED", "BOOKMARK"]);
const NEWLINE = 0x0a;

/**
 * Watches, as the gateway, until the API server ends it, as it does every few minutes, or `signal` does. Leaving the loop
 * closes the connection; so does a slow reader's pace slow the API server down.
 *
 * @param path of a collection, of escaped segments, with its query; `watch=true` is up to the caller
 * @throws {ApiError} also where the watch itself tells of one, e.g. 410 when it is too old; {@linkcode ApiUnreachable}
 */
export async function* watch<T>(
  client: Pick<KubeClient, "open">,
  path: string,
  signal: AbortSignal,
): AsyncGenerator<WatchEvent<T>, void, undefined> {
  const body = await client.open(path, signal);
  try {
    for await (const line of readLines(body)) yield readEvent<T>(line);
  } catch (thrown) {
    if (signal.aborted) return;
    if (thrown instanceof ApiError || thrown instanceof ApiUnreachable) throw thrown;
    throw new ApiUnreachable("the watch was lost", { cause: thrown });
  }
}

function readEvent<T>(line: string): WatchEvent<T> {
  const event = parse(line);
  if (event.type === "ERROR") {
    const status = typeof event.object === "object" && event.object !== null ? event.object : {};
    const code = "code" in status && typeof status.code === "number" ? status.code : 500;
    throw new ApiError(code, status);
  }
  if (!TYPES.has(event.type)) throw new ApiUnreachable("the watch tells of something unknown");
  return event as WatchEvent<T>;
}

function parse(line: string): { type?: unknown; object?: unknown } {
  try {
    const event: unknown = JSON.parse(line);
    if (typeof event === "object" && event !== null) return event;
  } catch {
    // Told below.
  }
  throw new ApiUnreachable("a line of the watch is no JSON object");
}

/** Whole lines. What follows the last line break is one that was cut off, and not given out. */
export async function* readLines(
  body: ReadableStream<Uint8Array>,
  maxLineBytes: number = MAX_LINE_BYTES,
): AsyncGenerator<string, void, undefined> {
  let held: Uint8Array[] = [];
  let heldBytes = 0;
  for await (const chunk of body) {
    let from = 0;
    for (;;) {
      const end = chunk.indexOf(NEWLINE, from);
      const piece = chunk.subarray(from, end === -1 ? undefined : end);
      heldBytes += piece.length;
      if (heldBytes > maxLineBytes) {
        throw new ApiUnreachable(`a line of the watch exceeds ${maxLineBytes} bytes`);
      }
      held.push(piece);
      if (end === -1) break;
      yield decode(held);
      held = [];
      heldBytes = 0;
      from = end + 1;
    }
  }
}

function decode(pieces: readonly Uint8Array[]): string {
  const decoder = new TextDecoder();
  return pieces.map((piece) => decoder.decode(piece, { stream: true })).join("") + decoder.decode();
}
