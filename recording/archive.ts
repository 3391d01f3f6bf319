import { ChainSummaries } from "./chain/chain_summaries.ts";
import { ChainWriter, dayOf } from "./chain/chain_writer.ts";
import type { RecordingHeader, RecordingTrailer, StdinMode } from "./format/document.ts";
import { newRecordingKey } from "./format/encryption.ts";
import { PackingThread } from "./format/packing_thread.ts";
import { type RecordedEvent, Recorder, type RecordingFile } from "./recorder.ts";
import type { Signer } from "./format/signer.ts";
import type { RecordingStore } from "./store.ts";

/** How often the chain says that sessions live, in milliseconds. */
export const HEARTBEAT_MS = 60_000;

/** What is recorded, and how far a session may be ahead of it. */
export interface ArchiveOptions {
  /** No two processes that share a store may have the same. */
  instance: string;
  stdin: StdinMode;
  windowBytes: number;
  /** What the window may grow to while the store is fast. @default {windowBytes} */
  maxWindowBytes?: number;
  windowMs: number;
  appendTimeoutMs: number;
  sealEveryMs: number;
  /** To whom recordings are encrypted (`age1…`); empty: they are not. */
  recipients: readonly string[];
  /** Told of everything that could not be written, for the log. */
  onFailure(message: string, cause: unknown, auditId?: string): void;
}

/** What a session says of itself when its recording begins. */
export type RecordingFacts = Omit<RecordingHeader, "startedAt" | "stdin" | "streams" | "encryption">;

/** How one session is to be recorded. */
export interface RecordingTerms {
  /** Whether the session ends where its recording cannot be written. */
  isRequired: boolean;
  streams: "digest" | "content";
}

/** Where recordings are made: one for each session, and a chain that names them all. */
export class RecordingArchive {
  readonly #store: RecordingStore;
  readonly #signer: Signer | undefined;
  readonly #options: ArchiveOptions;
  readonly #chain: ChainWriter;
  readonly #heartbeat: ReturnType<typeof setInterval>;
  readonly #thread = new PackingThread();
  readonly #givenUp = new Set<string>();
  /** Of the chains of others. */
  readonly summaries: ChainSummaries;
  /** Recordings that were begun and have not ended. */
  readonly #open = new Set<Recorder>();
  /** How long sessions that have ended were held up, in milliseconds. */
  #waitedMs = 0;

  private constructor(
    store: RecordingStore,
    signer: Signer | undefined,
    options: ArchiveOptions,
    chain: ChainWriter,
  ) {
    this.#store = store;
    this.#signer = signer;
    this.#options = options;
    this.#chain = chain;
    this.summaries = new ChainSummaries(store);
    this.#heartbeat = setInterval(() => {
      if (this.#open.size > 0) {
        chain.add({ event: "alive" }).catch((cause) => options.onFailure("the chain broke", cause));
      }
    }, HEARTBEAT_MS);
  }

  /** Begins this process's chain, so that a store that cannot be written to is known at the start. @throws what the store throws */
  static async open(
    store: RecordingStore,
    signer: Signer | undefined,
    options: ArchiveOptions,
  ): Promise<RecordingArchive> {
    const chain = await ChainWriter.open({ store, signer, instance: options.instance, now: Date.now });
    return new RecordingArchive(store, signer, options, chain);
  }

  /**
   * Begins a session's recording: its header and its line in the chain are durable when this resolves.
   *
   * @throws what the store throws, and that no answer came in time
   */
  async begin(facts: RecordingFacts, terms: RecordingTerms): Promise<SessionRecording> {
    const { recipients, onFailure, ...bounds } = this.#options;
    const path = `${dayOf(Date.now())}/${facts.auditId}.rec`;
    const encryption = recipients.length > 0 ? await newRecordingKey(recipients) : undefined;
    const header = { ...facts, ...(encryption && { encryption: encryption.header }) };
    const keys = { signer: this.#signer, ...(encryption && { key: encryption.key }) };
    const file = await this.#store.create(path);
    try {
      const [recorder] = await Promise.all([
        Recorder.begin(header, keys, file, {
          ...bounds,
          ...terms,
          packer: (...batch) => this.#thread.pack(...batch),
          onFailure: (cause) => onFailure("a recording broke", cause, facts.auditId),
        }),
        this.#chain.add({ event: "began", recording: path, auditId: facts.auditId }),
      ]);
      this.#open.add(recorder);
      const onEnd = () => {
        if (this.#open.delete(recorder)) this.#waitedMs += recorder.waitedMs;
      };
      return new SessionRecording(path, facts.auditId, recorder, file, this.#chain, onEnd);
    } catch (cause) {
      await file.close().catch(() => {});
      throw cause;
    }
  }

  /** How the recordings that are being made do. */
  get load(): RecordingLoad {
    let [lagMs, waitedMs] = [0, this.#waitedMs];
    for (const recorder of this.#open) {
      lagMs = Math.max(lagMs, recorder.lagMs);
      waitedMs += recorder.waitedMs;
    }
    return { open: this.#open.size, lagMs, waitedMs };
  }

  /** Where everything lies. */
  get store(): RecordingStore {
    return this.#store;
  }

  /** Whose chain this process writes. */
  get instance(): string {
    return this.#options.instance;
  }

  /** Whether this process wrote a chain. */
  isOwn(chain: string): boolean {
    return this.#chain.isOwn(chain);
  }

  /** Says in the chain that a recording of another process, which is gone, gets no further. @throws what the store throws */
  async giveUp(recording: string, auditId: string, reason: string): Promise<void> {
    await this.#chain.add({ event: "broke", recording, auditId, reason });
    this.#givenUp.add(recording);
  }

  /** Whether this process has said that a recording of another is over. */
  isGivenUp(recording: string): boolean {
    return this.#givenUp.has(recording);
  }

  /** Says in the chain that a recording, or a chain, is deleted on purpose: before it is. @throws what the store throws */
  async tombstone(recording: string, reason: string): Promise<void> {
    await this.#chain.add({ event: "deleted", recording, reason });
  }

  /** Ends the chain. */
  async close(): Promise<void> {
    clearInterval(this.#heartbeat);
    await this.#thread.close();
    await this.#chain.close();
    await this.#store[Symbol.asyncDispose]?.();
  }
}

/** How recordings do that are being made. */
export interface RecordingLoad {
  open: number;
  /** For how long the session that is furthest ahead of its recording has been so, in milliseconds. */
  lagMs: number;
  /** How long sessions were held up by their recordings so far, all together, in milliseconds. */
  waitedMs: number;
}

/** What became of a recording. */
export interface RecordingResult {
  path: string;
  /** The last link, hexadecimal; absent where the recording is not whole. */
  link?: string;
  /** Why it is not whole. */
  failure?: unknown;
}

/** The recording of one session, while it lasts: a tap. */
export class SessionRecording {
  constructor(
    /** Below the store. */
    readonly path: string,
    readonly auditId: string,
    readonly recorder: Recorder,
    readonly file: RecordingFile,
    readonly chain: ChainWriter,
    readonly onEnd: () => void,
  ) {}

  push(event: RecordedEvent): void | Promise<void> {
    return this.recorder.push(event);
  }

  /** Ends the recording. Never throws. */
  async end(end: Omit<RecordingTrailer, "endedAt" | "totals">): Promise<RecordingResult> {
    const { path } = this;
    try {
      const link = await this.recorder.end(end);
      if (link === undefined) throw this.recorder.failure ?? new Error("the recording broke");
      return { path, link };
    } catch (failure) {
      await this.file.close().catch(() => {});
      return { path, failure };
    }
  }

  /**
   * Says in the chain that nothing more is to be written of this session: after its last event, so that what a crash leaves out
   * is noticed by whoever looks at the chain. @throws what the store throws
   */
  async settle({ link, failure }: RecordingResult): Promise<void> {
    const about = { recording: this.path, auditId: this.auditId };
    try {
      await this.chain.add(
        link === undefined
          ? { event: "broke", ...about, reason: sentence(failure) }
          : { event: "ended", ...about, link },
      );
    } finally {
      this.onEnd();
    }
  }
}

function sentence(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}
