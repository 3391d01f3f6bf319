import { createHash } from "node:crypto";
import { StoreError } from "../store.ts";
import type { Until } from "./s3_client.ts";
import {
  digestOfParts,
  type ObjectLock,
  type S3Objects,
  sameBytes,
  type UploadedPart,
} from "./s3_objects.ts";

/** What was durable with one append. */
export interface Segment {
  key: string;
  /** Of its first byte in the recording. */
  offset: number;
  bytes: number;
}

/** What is to become one object. */
export interface Joining {
  objects: S3Objects;
  /** Of the object. */
  key: string;
  /** In their order. */
  segments: readonly Segment[];
  /** What the object is written with. */
  headers: Readonly<Record<string, string>>;
  /** What the object must be locked with before its segments may go. */
  lock: ObjectLock | undefined;
  /** Bytes that are held at once, beside a few segments; S3 wants 5 MiB at least. */
  partBytes: number;
  until: Until;
}

/** How many segments are asked for before they are needed. */
const READ_AHEAD = 4;

/** S3 takes so many parts of one object. */
const MAX_PARTS = 10_000;

/**
 * Makes one object of a recording's segments, and makes sure that it holds what they hold: only then may they go. May be done
 * by two at once, or again after it was cut short.
 *
 * @throws {StoreError} `damaged` where bytes are missing, `exists` where the object is there and holds something else
 */
export async function joinSegments(joining: Joining): Promise<void> {
  const { objects, key, lock, until } = joining;
  await writeOrCompare(joining);
  if (lock !== undefined) await objects.ensureLock(key, lock, until);
}

async function writeOrCompare(joining: Joining): Promise<void> {
  const { objects, key, segments, until } = joining;
  if (await objects.head(key, until) !== undefined) return await compare(joining);
  checkOrder(segments);
  try {
    await write(joining);
  } catch (thrown) {
    // Somebody else was faster, or the answer to our own success was lost.
    const mayBeThere = thrown instanceof StoreError && /^(exists|not_found)$/.test(thrown.code);
    if (!mayBeThere || await objects.head(key, until) === undefined) throw thrown;
    await compare(joining);
  }
}

/** How many bytes segments hold together. */
export function totalBytes(segments: readonly Segment[]): number {
  return segments.reduce((sum, { bytes }) => sum + bytes, 0);
}

/** Says that a segment does not begin where the one before ends. */
export function lacksBytes(end: number, next: number): StoreError {
  return new StoreError(
    "damaged",
    `a recording lacks its bytes from ${end}: the next are those from ${next}`,
  );
}

/** @throws {StoreError} `damaged` */
function checkOrder(segments: readonly Segment[]): void {
  let end = 0;
  for (const { offset, bytes } of segments) {
    if (offset !== end) throw lacksBytes(end, offset);
    end += bytes;
  }
}

async function write(joining: Joining): Promise<void> {
  const { objects, key, headers, until } = joining;
  const total = totalBytes(joining.segments);
  const partBytes = Math.max(joining.partBytes, Math.ceil(total / MAX_PARTS));
  if (total > partBytes) return await upload({ ...joining, partBytes }, total);
  const whole = await collect(joining, total);
  await objects.put(key, whole, headers, until);
  await checkWritten(joining, total, undefined);
}

async function collect(joining: Joining, total: number): Promise<Uint8Array<ArrayBuffer>> {
  const whole = new Uint8Array(total);
  let at = 0;
  for await (const bytes of read(joining)) {
    whole.set(bytes, at);
    at += bytes.length;
  }
  return whole;
}

async function upload(joining: Joining, total: number): Promise<void> {
  const { objects, key, headers, partBytes, until } = joining;
  const name = await objects.beginUpload(key, headers, until);
  try {
    const parts: UploadedPart[] = [];
    const buffer = new Uint8Array(partBytes);
    let held = 0;
    // Digested as it comes: the whole part at once would be copied, or hold up all else.
    let hash = createHash("sha256");
    const put = async () => {
      const body = buffer.subarray(0, held);
      parts.push(await objects.putPart(key, name, parts.length + 1, body, hash.digest(), until));
      hash = createHash("sha256");
      held = 0;
    };
    for await (const bytes of read(joining)) {
      for (let at = 0; at < bytes.length;) {
        const piece = bytes.subarray(at, at + partBytes - held);
        buffer.set(piece, held);
        hash.update(piece);
        held += piece.length;
        at += piece.length;
        if (held === partBytes) await put();
      }
    }
    if (held > 0) await put();
    await objects.completeUpload(key, name, parts, until);
    await checkWritten(joining, total, digestOfParts(parts));
  } catch (thrown) {
    await objects.abortUpload(key, name).catch(() => {
      // It is over already, or the store cannot be reached: a lifecycle rule of the bucket removes what is left.
    });
    throw thrown;
  }
}

/** @throws {StoreError} `damaged` where the store says of the object what cannot be */
async function checkWritten({ objects, key, until }: Joining, total: number, sha256: string | undefined) {
  const facts = await objects.head(key, until);
  const isOther = sha256 !== undefined && facts?.sha256?.includes("-") && facts.sha256 !== sha256;
  if (facts?.bytes === total && !isOther) return;
  throw new StoreError("damaged", `the recording store says that ${key} is not what was written`);
}

/** Whether the object holds, where each of the segments belongs, the same bytes. @throws {StoreError} `exists` */
async function compare({ objects, key, segments, until }: Joining): Promise<void> {
  for (const segment of segments) {
    if (segment.bytes === 0) continue;
    const [one, other] = await Promise.all([
      objects.get(segment.key, segment.bytes, until),
      objects.getRange(key, segment.offset, segment.bytes, until).catch((thrown) => {
        // Past its end.
        if (thrown instanceof StoreError && thrown.code === "refused") return new Uint8Array();
        throw thrown;
      }),
    ]);
    if (!sameBytes(one, other)) {
      throw new StoreError("exists", `there is a ${key} already, and it holds something else`);
    }
  }
}

/** The segments' bytes, in their order. */
async function* read({ objects, segments, until }: Joining): AsyncGenerator<Uint8Array, void, undefined> {
  const ahead: Promise<Uint8Array>[] = [];
  let next = 0;
  try {
    for (;;) {
      while (ahead.length < READ_AHEAD && next < segments.length) {
        const segment = segments[next++];
        if (segment === undefined || segment.bytes === 0) continue;
        const reading = objects.get(segment.key, segment.bytes, until);
        // Noticed when it is its turn.
        reading.catch(() => {});
        ahead.push(reading);
      }
      const first = ahead.shift();
      if (first === undefined) return;
      yield await first;
    }
  } finally {
    await Promise.allSettled(ahead);
  }
}
