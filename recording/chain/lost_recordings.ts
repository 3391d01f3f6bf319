import { HEARTBEAT_MS } from "../archive.ts";
import type { ChainSummaries, ChainSummary } from "./chain_summaries.ts";
import { chainInstance, dayOf } from "./chain_writer.ts";
import { RecordingError } from "../format/recording_error.ts";
import { RecordingReader } from "../format/recording_reader.ts";
import { CHAIN_SUFFIX, RECORDING_SUFFIX, type RecordingStore, StoreError } from "../store.ts";

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

/** Where lost recordings are looked for, and by whom. */
export interface LostSearch {
  store: RecordingStore;
  summaries: ChainSummaries;
  /** This process's. */
  instance: string;
  /** Whether this process writes a chain, now or before midnight: its recordings live. */
  isOwn(chain: string): boolean;
  /** Whether this process has said that a recording of another is over. */
  isGivenUp(recording: string): boolean;
  nowMs: number;
  /** How many days back chains are looked at. */
  days: number;
}

/**
 * Recordings without an end whose gateway is gone: another one that has been silent for {@linkcode SILENCE_MS}, or an earlier
 * process of this instance.
 *
 * @throws what the store throws
 */
export async function findLostRecordings(search: LostSearch): Promise<LostRecording[]> {
  const { store, summaries, instance, nowMs, days } = search;
  const chains = new Map<string, ChainSummary & { writer: string }>();
  for (let back = days; back >= 0; back--) {
    for await (const file of store.list(`${dayOf(nowMs - back * DAY_MS)}/`)) {
      const writer = chainInstance(file.path);
      if (writer === undefined || search.isOwn(file.path)) continue;
      chains.set(file.path, { ...await summaries.of(file), writer });
    }
  }
  summaries.keep(new Set(chains.keys()));
  // A session of yesterday lives for as long as its gateway is heard in today's chain.
  const heardMs = new Map<string, number>();
  for (const { writer, heardMs: ms } of chains.values()) {
    heardMs.set(writer, Math.max(heardMs.get(writer) ?? 0, ms));
  }
  const isOver = (path: string) =>
    search.isGivenUp(path) || chains.values().some(({ over }) => over.has(path));
  return [...chains.values()]
    .filter(({ writer }) => writer === instance || nowMs - (heardMs.get(writer) ?? 0) > SILENCE_MS)
    .flatMap(({ open }) => [...open])
    .filter(([path]) => !isOver(path))
    .map(([path, auditId]) => ({ path, auditId }));
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
