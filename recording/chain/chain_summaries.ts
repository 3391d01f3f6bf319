import { readChain } from "./chain_writer.ts";
import type { RecordingStore, StoredRecording } from "../store.ts";

/** What one chain leaves open, and what it says of recordings of others. */
export interface ChainSummary {
  /** Recordings that it began and did not end: path and audit ID. */
  open: ReadonlyMap<string, string>;
  /** Recordings that it ended and did not begin. */
  over: ReadonlySet<string>;
  /** When its last line was written, in milliseconds since 1970; 0 where it has none. */
  heardMs: number;
}

/** Chains, summed up; each is read again only when it has grown. */
export class ChainSummaries {
  readonly #store: RecordingStore;
  readonly #known = new Map<string, { bytes: number; summary: ChainSummary }>();

  constructor(store: RecordingStore) {
    this.#store = store;
  }

  /** @throws what the store throws */
  async of({ path, bytes }: Pick<StoredRecording, "path" | "bytes">): Promise<ChainSummary> {
    const known = this.#known.get(path);
    if (known?.bytes === bytes) return known.summary;
    const summary = await summarise(this.#store, path);
    this.#known.set(path, { bytes, summary });
    return summary;
  }

  /** Forgets all but these. */
  keep(paths: ReadonlySet<string>): void {
    for (const path of this.#known.keys()) if (!paths.has(path)) this.#known.delete(path);
  }
}

async function summarise(store: RecordingStore, path: string): Promise<ChainSummary> {
  const { entries, lastAt } = await readChain(store, path);
  const open = new Map<string, string>();
  const over = new Set<string>();
  for (const entry of entries) {
    if (entry.event === "began") open.set(entry.recording, entry.auditId);
    if (entry.event !== "ended" && entry.event !== "broke" && entry.event !== "deleted") continue;
    if (!open.delete(entry.recording)) over.add(entry.recording);
  }
  return { open, over, heardMs: Date.parse(lastAt) || 0 };
}
