import { SILENCE_MS } from "../chain/lost_recordings.ts";
import { chainInstance, readChain } from "../chain/chain_writer.ts";
import { type RecordingStore, StoreError } from "../store.ts";

/**
 * A recording without an end whose gateway is gone is left alone for so long after it was written to last: its session's end is
 * read from it by then. In milliseconds.
 */
const GRACE_MS = 86_400_000;

/** Who asks, and when. */
export interface LivingOptions {
  /** This process's. */
  instance: string;
  /** Whether this process wrote a chain: what it began and did not end lives. */
  isOwn: (chain: string) => boolean;
  nowMs: number;
}

/**
 * Which of some recordings live, or may: no chain says that they ended, and their gateway is not gone. A gateway with sessions
 * says in its chain every minute that it lives; a later process of the same instance does so in its place, until it has said
 * what became of them.
 *
 * @param candidates when each was written to last, by path; all of one day
 * @param chains of the store, in the order of their days, from the candidates' on
 */
export async function findLiving(
  store: RecordingStore,
  candidates: ReadonlyMap<string, Date>,
  chains: Iterable<string>,
  { instance, isOwn, nowMs }: LivingOptions,
): Promise<Set<string>> {
  const living = new Set(candidates.keys());
  const writers = new Map<string, string>();
  const heardMs = new Map<string, number>();
  for (const chain of chains) {
    if (living.size === 0) break;
    const read = await readIfThere(store, chain);
    const writer = chainInstance(chain);
    if (read === undefined || writer === undefined) continue;
    heardMs.set(writer, Math.max(heardMs.get(writer) ?? 0, Date.parse(read.lastAt) || 0));
    for (const entry of read.entries) {
      if (entry.event === "began" && candidates.has(entry.recording)) writers.set(entry.recording, chain);
      if (entry.event === "ended" || entry.event === "broke" || entry.event === "deleted") {
        living.delete(entry.recording);
      }
    }
  }
  for (const path of living) {
    const chain = writers.get(path);
    const writer = chain === undefined ? undefined : chainInstance(chain);
    const isHeard = chain !== undefined && writer !== undefined &&
      (writer === instance ? isOwn(chain) : nowMs - (heardMs.get(writer) ?? 0) < SILENCE_MS);
    const isFresh = nowMs - (candidates.get(path)?.getTime() ?? 0) < GRACE_MS;
    if (!isHeard && !isFresh) living.delete(path);
  }
  return living;
}

/** A chain, as far as it can be read; `undefined` where another replica deleted it meanwhile. */
export async function readIfThere(store: RecordingStore, path: string) {
  try {
    return await readChain(store, path);
  } catch (thrown) {
    if (thrown instanceof StoreError && thrown.code === "not_found") return undefined;
    throw thrown;
  }
}
