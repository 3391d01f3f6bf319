import { HEARTBEAT_MS } from "./archive.ts";
import { chainInstance, dayOf, readChain } from "./chain_writer.ts";
import { RecordingError } from "./recording_error.ts";
import { RecordingReader } from "./recording_reader.ts";
import { CHAIN_SUFFIX, RECORDING_SUFFIX, type RecordingStore, StoreError } from "./store.ts";

const DAY_MS = 86_400_000;

/** A gateway whose chain was silent for so long, with sessions open, is gone; in milliseconds. */
export const SILENCE_MS = 5 * HEARTBEAT_MS;

/** A recording that was begun by a gateway that is gone, and has no end. */
export interface LostRecording {
  path: string;
  auditId: string;
}

/** What can still be said of a session whose gateway is gone. */
export interface LostSession extends LostRecording {
  header: Record<string, unknown>;
  /** Where the session itself had ended, and only its last event may be missing. */
  trailer?: Record<string, unknown>;
  /** By name. What an encrypted recording holds is not known here. */
  streams: { name: string; count: number; bytesIn: number; bytesOut: number }[];
  /** From the session's begin to the last that is durable. */
  durationMs: number;
}

/**
 * Recordings without an end whose gateway is gone: another one that has been silent for {@linkcode SILENCE_MS}, or an earlier
 * process of this instance.
 *
 * @param instance this process's
 * @param ownChain the chain that this process writes now: its recordings live
 * @param days how many days back chains are looked at
 */
export async function findLostRecordings(
  store: RecordingStore,
  { instance, isOwn, nowMs, days }: {
    instance: string;
    isOwn: (path: string) => boolean;
    nowMs: number;
    days: number;
  },
): Promise<LostRecording[]> {
  const open = new Map<string, { auditId: string; chain: string; writer: string }>();
  const over = new Set<string>();
  const heardMs = new Map<string, number>();
  for (let back = days; back >= 0; back--) {
    for await (const { path: chain } of store.list(`${dayOf(nowMs - back * DAY_MS)}/`)) {
      const writer = chainInstance(chain);
      if (writer === undefined) continue;
      const { entries, lastAt } = await readChain(store, chain);
      // A session of yesterday lives for as long as its gateway is heard in today's chain.
      heardMs.set(writer, Math.max(heardMs.get(writer) ?? 0, Date.parse(lastAt) || 0));
      for (const entry of entries) {
        if (entry.event === "began") open.set(entry.recording, { auditId: entry.auditId, chain, writer });
        if (entry.event === "ended" || entry.event === "broke" || entry.event === "deleted") {
          over.add(entry.recording);
        }
      }
    }
  }
  const isGone = (chain: string, writer: string) =>
    writer === instance ? !isOwn(chain) : nowMs - (heardMs.get(writer) ?? 0) > SILENCE_MS;
  return [...open]
    .filter(([path, { chain, writer }]) => !over.has(path) && isGone(chain, writer))
    .map(([path, { auditId }]) => ({ path, auditId }));
}

/**
 * Makes sure that of all replicas that find a lost recording one alone writes its end: whoever makes the mark beside it.
 *
 * @returns what to call when the end is written; `undefined` where another replica does it
 */
export async function claim(
  store: RecordingStore,
  { path }: LostRecording,
  nowMs: number,
): Promise<(() => Promise<void>) | undefined> {
  const mark = lostMarkOf(path);
  for await (const { bytes, modifiedAt } of store.list(mark)) {
    // An empty mark is of someone who is at it, or died doing so.
    if (bytes > 0 || nowMs - modifiedAt.getTime() < SILENCE_MS) return undefined;
    await store.remove(mark);
  }
  try {
    const file = await store.create(mark);
    return async () => {
      await file.append(new TextEncoder().encode("the end of this session was written by another gateway\n"));
      await file.close();
    };
  } catch (thrown) {
    if (thrown instanceof StoreError && thrown.code === "exists") return undefined;
    throw thrown;
  }
}

/** Where the mark lies that the end of a recording's session is written by another gateway. */
export function lostMarkOf(recording: string): string {
  return `${recording.slice(0, -RECORDING_SUFFIX.length)}-lost${CHAIN_SUFFIX}`;
}

/** Reads a lost recording as far as it goes. @returns `undefined` where not even its header is there */
export async function readLostSession(
  store: RecordingStore,
  { path, auditId }: LostRecording,
): Promise<LostSession | undefined> {
  let header: Record<string, unknown> | undefined;
  let trailer: Record<string, unknown> | undefined;
  let lastUs = 0;
  const streams = new Map<string, LostSession["streams"][number]>();
  const reader = new RecordingReader();
  try {
    for await (const chunk of await store.open(path)) {
      for (const event of reader.push(chunk)) {
        if (event.type === "header") header = event.header;
        if (event.type === "trailer") trailer = event.trailer;
        if (event.type === "header" || event.type === "trailer") continue;
        lastUs = event.atUs;
        const sum = streams.get(event.name) ?? { name: event.name, count: 0, bytesIn: 0, bytesOut: 0 };
        if (event.type === "opened") sum.count++;
        if (event.type === "data") {
          sum[event.direction === "in" ? "bytesIn" : "bytesOut"] += event.bytes.length;
        }
        streams.set(event.name, sum);
      }
    }
  } catch (thrown) {
    // As far as it goes.
    if (!(thrown instanceof RecordingError) && !(thrown instanceof StoreError)) throw thrown;
  }
  if (header === undefined) return undefined;
  const found = { path, auditId, header, streams: [...streams.values()], durationMs: lastUs / 1000 };
  return { ...found, ...(trailer && { trailer }) };
}
