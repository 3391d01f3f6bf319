import { type ChainEntry, DayChain, DayChainVerifier } from "./day_chain.ts";
import type { RecordingFile } from "../recorder.ts";
import { type Signer, Verifier } from "../format/signer.ts";
import type { RecordingStore } from "../store.ts";

const DAY_MS = 86_400_000;

/** How far back the chain is looked for that the gateway of this name wrote last. */
const LOOK_BACK_DAYS = 31;

/** Largest chain that is read, in bytes: some 100,000 sessions. */
export const MAX_CHAIN_BYTES = 64 * 1024 * 1024;

/** Who writes, where, when. */
export interface ChainWriterOptions {
  store: RecordingStore;
  signer: Signer | undefined;
  /** Letters, digits, dots and dashes; no two processes that share a store may have the same. */
  instance: string;
  /** Milliseconds since 1970. */
  now: () => number;
}

interface Waiting {
  entry: ChainEntry;
  resolve(): void;
  reject(cause: unknown): void;
}

/**
 * Keeps the chain of this process: a file for each day (UTC), a new one after each start and after each failed append, each
 * naming the one before. Entries that come while an append is under way share the next.
 */
export class ChainWriter {
  readonly #options: ChainWriterOptions;
  #after: { path: string; line: string } | undefined;
  #current: { chain: DayChain; file: RecordingFile; path: string; day: string } | undefined;
  readonly #own = new Set<string>();
  #queue: Waiting[] = [];
  #writing: Promise<void> | undefined;

  private constructor(options: ChainWriterOptions, after: { path: string; line: string } | undefined) {
    this.#options = options;
    this.#after = after;
  }

  /** Begins the chain: its first line is durable when this resolves. @throws what the store throws */
  static async open(options: ChainWriterOptions): Promise<ChainWriter> {
    const writer = new ChainWriter(options, await latestChain(options));
    writer.#current = await writer.#begin();
    return writer;
  }

  /** Whether this process wrote the chain. */
  isOwn(path: string): boolean {
    return this.#own.has(path);
  }

  /** Resolves when the entry is durable. @throws what the store throws */
  add(entry: ChainEntry): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#queue.push({ entry, resolve, reject });
      this.#writing ??= this.#write();
    });
  }

  /** Waits for what is under way, and ends the chain. */
  async close(): Promise<void> {
    await this.#writing;
    await this.#current?.file.close();
    this.#current = undefined;
  }

  async #write(): Promise<void> {
    await Promise.resolve();
    while (this.#queue.length > 0) {
      const batch = this.#queue.splice(0);
      try {
        await this.#append(batch.map(({ entry }) => entry));
        for (const { resolve } of batch) resolve();
      } catch (cause) {
        for (const { reject } of batch) reject(cause);
      }
    }
    this.#writing = undefined;
  }

  async #append(entries: readonly ChainEntry[]): Promise<void> {
    const nowMs = this.#options.now();
    if (this.#current?.day !== dayOf(nowMs)) {
      await this.#current?.file.close();
      this.#current = undefined;
      this.#current = await this.#begin();
    }
    const { chain, file, path } = this.#current;
    const lines = entries.map((entry) => chain.add(entry, nowMs)).join("");
    try {
      await file.append(new TextEncoder().encode(lines));
    } catch (cause) {
      // What stands there now is not known: nothing may follow it.
      this.#current = undefined;
      await file.close().catch(() => {});
      throw cause;
    }
    this.#after = { path, line: chain.last };
  }

  async #begin() {
    const { store, signer, instance, now } = this.#options;
    const nowMs = now();
    const day = dayOf(nowMs);
    const path = `${day}/${chainName(instance, nowMs)}`;
    const chain = new DayChain(signer);
    const file = await store.create(path);
    this.#own.add(path);
    const after = this.#after;
    const line = chain.add({ event: "chain", instance, ...(after && { after }) }, nowMs);
    try {
      await file.append(new TextEncoder().encode(line));
    } catch (cause) {
      await file.close().catch(() => {});
      throw cause;
    }
    this.#after = { path, line: chain.last };
    return { chain, file, path, day };
  }
}

/** Where a day's recordings and chains lie: `2026/11/21`. */
export function dayOf(ms: number): string {
  return new Date(ms).toISOString().slice(0, 10).replaceAll("-", "/");
}

/** `<instance>_<HHMMSSmmm>-<random>.chain`: those of one instance sort by their time. */
function chainName(instance: string, ms: number): string {
  const time = new Date(ms).toISOString().slice(11, 23).replaceAll(/\D/g, "");
  return `${instance}_${time}-${crypto.randomUUID().slice(0, 8)}.chain`;
}

/** Whose chain a path names, or `undefined`. */
export function chainInstance(path: string): string | undefined {
  return /(?:^|\/)([^/_]+)_\d{9}-[0-9a-f]{8}\.chain$/.exec(path)?.[1];
}

async function latestChain(
  { store, instance, now }: ChainWriterOptions,
): Promise<{ path: string; line: string } | undefined> {
  const nowMs = now();
  for (let back = 0; back <= LOOK_BACK_DAYS; back++) {
    const paths: string[] = [];
    for await (const { path } of store.list(`${dayOf(nowMs - back * DAY_MS)}/`)) {
      if (chainInstance(path) === instance) paths.push(path);
    }
    const path = paths.sort().at(-1);
    if (path !== undefined) {
      const { last } = await readChain(store, path);
      return { path, line: last };
    }
  }
  return undefined;
}

/** Reads a chain as far as its lines are whole and in their places; signatures are not looked at. */
export async function readChain(store: RecordingStore, path: string): Promise<DayChainVerifier> {
  const verifier = new DayChainVerifier(new Verifier([]));
  const decoder = new TextDecoder();
  let bytes = 0;
  for await (const chunk of await store.open(path)) {
    bytes += chunk.length;
    if (bytes > MAX_CHAIN_BYTES) break;
    verifier.push(decoder.decode(chunk, { stream: true }));
  }
  verifier.end();
  return verifier;
}
