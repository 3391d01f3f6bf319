import { dirname } from "node:path/posix";
import type { RecordingArchive } from "../archive.ts";
import { chainInstance, MAX_CHAIN_BYTES } from "../chain/chain_writer.ts";
import { holdPath, isThere } from "./legal_hold.ts";
import { type Deletion, type RetentionOptions, RetentionRule } from "./retention.ts";
import { findLiving, readIfThere } from "./retention_living.ts";
import {
  HOLD_SUFFIX,
  RECORDING_SUFFIX,
  type RecordingStore,
  type StoredRecording,
  StoreError,
} from "../store.ts";

/** How many deletions are announced at once: no more than these may be announced and not done when the process dies. */
const BATCH = 64;

/** How many recordings are remembered that the store does not delete. */
const MAX_REFUSED = 10_000;

/** What a sweep needs of others. */
export interface SweepHooks {
  /** Writes an event for each deletion. Where it throws, nothing is deleted. */
  announce(deletions: readonly Deletion[]): Promise<void>;
  /** Told of what is not deleted though it should be, for the log. */
  report(message: string, cause: unknown): void;
}

/** What a sweep did. */
export interface SweepResult {
  deleted: number;
  bytes: number;
}

/** What one sweep knows when it comes to a day. */
interface Sweep {
  rule: RetentionRule;
  day: string;
  /** In bytes; below 0 there is room. */
  excess: number;
  chains: readonly StoredRecording[];
  nowMs: number;
}

/** What lies in the folder of one day. */
interface Day {
  recordings: StoredRecording[];
  held: string[];
  /** What goes with a recording, by its path. */
  beside: ReadonlyMap<string, string[]>;
}

/** What is to be deleted, with what lies beside it. */
interface Due extends Deletion {
  beside?: readonly string[];
}

/** What a store holds, in short. */
interface Overview {
  /** How many bytes the recordings in each folder have. */
  days: Map<string, number>;
  /** In the order of their days. */
  chains: StoredRecording[];
}

/**
 * Deletes the recordings that are not to be kept any longer, from time to time: announced by an event, then by a line in the
 * chain, and then deleted. What is cut off in between is done again by the next sweep. Replicas may sweep one store at once: a
 * recording that is gone is no error.
 *
 * A recording whose session lives, or with a legal hold beside it, stays. A chain is deleted because of its age only, and
 * stays for as long as any recording that it or a chain of an earlier day names: with its own goes what it says of theirs.
 */
export class RetentionSweeper {
  readonly #archive: () => Promise<RecordingArchive | undefined>;
  readonly #options: RetentionOptions;
  readonly #hooks: SweepHooks;
  /** What the store did not delete, though it was announced: it is not announced again by this process. */
  readonly #refused = new Set<string>();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #running: Promise<void> | undefined;
  #isClosed = false;

  /** @param archive where recordings are made, once it is open */
  constructor(
    archive: () => Promise<RecordingArchive | undefined>,
    options: RetentionOptions,
    hooks: SweepHooks,
  ) {
    this.#archive = archive;
    this.#options = options;
    this.#hooks = hooks;
  }

  /** Sweeps from now on; nothing where everything is kept. */
  start(): void {
    if (RetentionRule.isNeeded(this.#options)) this.#wait();
  }

  /** Finishes the deletions that were announced, and begins no more. */
  async close(): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    await this.#running;
  }

  /**
   * Sweeps once.
   *
   * @throws what the store throws, what `announce` throws
   */
  async sweep(nowMs: number): Promise<SweepResult> {
    const result = { deleted: 0, bytes: 0 };
    const archive = await this.#archive();
    if (archive === undefined) return result;
    const rule = new RetentionRule(this.#options, nowMs);
    const { days, chains } = await overviewOf(archive.store);
    let excess = rule.excessOf(sum(days.values()));
    for (const [day, bytes] of [...days].sort()) {
      if (this.#isClosed) break;
      if (excess <= 0 && !rule.isExpired(beginOf(day))) continue;
      const there = await readDay(archive.store, day);
      // What another replica has deleted meanwhile is not to be made up for by younger ones.
      excess += sum(there.recordings.map((recording) => recording.bytes)) - bytes;
      const due = await this.#recordingsDue(archive, there, { rule, day, excess, chains, nowMs });
      const done = await this.#delete(archive, due);
      excess -= done.bytes;
      result.deleted += done.deleted;
      result.bytes += done.bytes;
    }
    await this.#sweepChains(archive, rule, chains);
    return result;
  }

  /** The first sweep comes after a part of the interval, so that replicas that start at once do not sweep at once. */
  #wait(part = Math.random()): void {
    this.#timer = setTimeout(() => {
      this.#running = this.#sweepNow().finally(() => {
        if (!this.#isClosed) this.#wait(1);
      });
    }, part * this.#options.sweepSeconds * 1000);
  }

  async #sweepNow(): Promise<void> {
    try {
      await this.sweep(Date.now());
    } catch (cause) {
      this.#hooks.report("recordings that are not to be kept could not be deleted", cause);
    }
  }

  /** Those of one day. Which of them live is looked up only for those that would be deleted otherwise. */
  async #recordingsDue(archive: RecordingArchive, there: Day, sweep: Sweep): Promise<Due[]> {
    const { recordings, held, beside } = there;
    const { rule, day, excess, chains, nowMs } = sweep;
    const kept = new Set([...held, ...this.#refused]);
    for (const looked = new Set<string>();;) {
      const due = rule.due(
        recordings.map((recording) => ({ ...recording, isKept: kept.has(recording.path) })),
        excess,
      );
      const unknown = due.filter(({ path }) => !looked.has(path));
      if (unknown.length === 0) {
        return due.map((deletion) => ({ ...deletion, beside: beside.get(deletion.path) ?? [] }));
      }
      const living = await findLiving(
        archive.store,
        new Map(unknown.map(({ path, modifiedAt }) => [path, modifiedAt])),
        chains.map(({ path }) => path).filter((path) => path >= day),
        { instance: archive.instance, isOwn: (chain) => archive.isOwn(chain), nowMs },
      );
      for (const { path } of unknown) looked.add(path);
      for (const path of living) kept.add(path);
    }
  }

  /**
   * Day by day, up to the first of which any chain is still needed: what a later chain calls deleted, an earlier one may name.
   */
  async #sweepChains(archive: RecordingArchive, rule: RetentionRule, chains: readonly StoredRecording[]) {
    for (const ofDay of Map.groupBy(chains, ({ path }) => dirname(path)).values()) {
      const isOver = ({ path, modifiedAt }: StoredRecording) =>
        rule.isExpired(modifiedAt.getTime()) && !archive.isOwn(path);
      if (this.#isClosed || !ofDay.every(isOver)) return;
      const due: Deletion[] = [];
      for (const { path, bytes, modifiedAt } of ofDay) {
        const named = await namedBy(archive.store, path, bytes);
        if (named === undefined || this.#refused.has(path)) continue;
        if (await isAnyThere(archive.store, named)) return;
        due.push({ path, bytes, modifiedAt, reason: "age", message: rule.ageMessage });
      }
      await this.#delete(archive, due);
    }
  }

  async #delete(archive: RecordingArchive, deletions: readonly Due[]): Promise<SweepResult> {
    const done = { deleted: 0, bytes: 0 };
    for (let at = 0; at < deletions.length && !this.#isClosed; at += BATCH) {
      const batch = deletions.slice(at, at + BATCH);
      await this.#hooks.announce(batch);
      await Promise.all(batch.map(({ path, message }) => archive.tombstone(path, message)));
      for (const due of batch) {
        try {
          await remove(archive.store, due);
          done.deleted++;
          done.bytes += due.bytes;
        } catch (cause) {
          if (isRefusal(cause) && this.#refused.size < MAX_REFUSED) this.#refused.add(due.path);
          this.#hooks.report(`${due.path} was announced to be deleted, and is not`, cause);
        }
      }
    }
    return done;
  }
}

async function overviewOf(store: RecordingStore): Promise<Overview> {
  const days = new Map<string, number>();
  const chains: StoredRecording[] = [];
  for await (const file of store.list("")) {
    const day = dirname(file.path);
    if (file.path.endsWith(RECORDING_SUFFIX)) days.set(day, (days.get(day) ?? 0) + file.bytes);
    if (chainInstance(file.path) !== undefined) chains.push(file);
  }
  chains.sort((one, other) => (one.path < other.path ? -1 : 1));
  return { days, chains };
}

async function readDay(store: RecordingStore, day: string): Promise<Day> {
  const recordings: StoredRecording[] = [];
  const held: string[] = [];
  const beside = new Map<string, string[]>();
  for await (const file of store.list(prefixOf(day))) {
    const { path } = file;
    if (dirname(path) !== day) continue;
    if (path.endsWith(RECORDING_SUFFIX)) recordings.push(file);
    else if (path.endsWith(HOLD_SUFFIX)) held.push(path.slice(0, -HOLD_SUFFIX.length));
    else {
      const recording = recordingBeside(path);
      if (recording !== undefined) beside.set(recording, [...beside.get(recording) ?? [], path]);
    }
  }
  return { recordings, held, beside };
}

/** Beside which recording a file lies: a release of its hold, or the mark that another gateway wrote its session's end. */
function recordingBeside(path: string): string | undefined {
  const [, released] = /^(.*\.rec)\.\d+\.released$/.exec(path) ?? [];
  const [, lost] = /^(.*)-lost\.chain$/.exec(path) ?? [];
  return released ?? (lost === undefined ? undefined : `${lost}${RECORDING_SUFFIX}`);
}

/** Removes a recording, and before it what lies beside it, so that nothing is left alone; or a chain. */
async function remove(store: RecordingStore, { path, beside = [] }: Due): Promise<void> {
  if (path.endsWith(RECORDING_SUFFIX) && await isThere(store, holdPath(path))) {
    throw new Error("it was put on legal hold meanwhile");
  }
  for (const other of beside) await store.remove(other);
  await store.remove(path);
}

/** Whether the store will say no again: the object is locked, or it may not. */
function isRefusal(cause: unknown): boolean {
  return cause instanceof StoreError && cause.code === "refused";
}

/**
 * The recordings that a chain names. Of a last line that is cut nobody was told that it is durable: it names none.
 *
 * @returns `undefined` where it cannot be read, so that nobody knows
 */
async function namedBy(
  store: RecordingStore,
  chain: string,
  bytes: number,
): Promise<Set<string> | undefined> {
  if (bytes > MAX_CHAIN_BYTES) return undefined;
  const verifier = await readIfThere(store, chain);
  const fault = verifier?.end();
  if (verifier === undefined || (fault !== undefined && fault.code !== "tail_missing")) return undefined;
  const named = new Set<string>();
  for (const entry of verifier.entries) {
    // Signatures were not looked at: whoever can write there may have written anything.
    if (entry.event === "began" && isRecordingPath(entry.recording)) named.add(entry.recording);
  }
  return named;
}

function isRecordingPath(path: unknown): boolean {
  return typeof path === "string" && path.endsWith(RECORDING_SUFFIX);
}

async function isAnyThere(store: RecordingStore, recordings: ReadonlySet<string>): Promise<boolean> {
  for (const day of new Set([...recordings].map((path) => dirname(path)))) {
    for await (const { path } of store.list(prefixOf(day))) {
      if (recordings.has(path)) return true;
    }
  }
  return false;
}

/** What everything in a folder of the store begins with. */
function prefixOf(folder: string): string {
  return folder === "." ? "" : `${folder}/`;
}

/** When the day of a folder began; 1970 for another folder. */
function beginOf(folder: string): number {
  return Date.parse(folder.replaceAll("/", "-")) || 0;
}

function sum(numbers: Iterable<number>): number {
  let total = 0;
  for (const number of numbers) total += number;
  return total;
}
