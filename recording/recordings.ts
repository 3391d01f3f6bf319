import {
  RecordingArchive,
  type RecordingFacts,
  type RecordingLoad,
  type SessionRecording,
} from "./archive.ts";
import type { StdinMode } from "./format/document.ts";
import { isRecipient } from "./format/encryption.ts";
import { Signer } from "./format/signer.ts";
import type { RecordingStore } from "./store.ts";
import { FolderStore } from "./sinks/folder.ts";
import { openS3Sink, type S3Sink } from "./sinks/s3_sink.ts";

/** What an operator says about recordings. */
export interface RecordingOptions {
  mode: "required" | "best-effort" | "off";
  stdin: StdinMode;
  portForward: "digest" | "content";
  instance?: string;
  windowBytes: number;
  maxWindowBytes: number;
  windowMilliseconds: number;
  writeTimeoutSeconds: number;
  sealSeconds: number;
  signingKeyFile: string;
  recipients: readonly string[];
  sink: { type: "folder"; path: string } | S3Sink;
}

/** Told of everything that could not be written, for the log. */
export type ReportFailure = (message: string, cause: unknown, auditId?: string) => void;

/**
 * How long a recording that could not be written counts, in milliseconds. None is begun while no session comes, and none comes to
 * a gateway that is not ready: so it is tried again after a while by whoever comes first.
 */
const FAULT_COUNTS_MS = 30_000;

/** Decides which sessions are recorded, and how; holds the archive that they are recorded to. */
export class Recordings {
  readonly #options: RecordingOptions;
  readonly #open: () => Promise<RecordingArchive>;
  readonly #report: ReportFailure;
  #archive: Promise<RecordingArchive> | undefined;
  /** The same, since it is open. */
  #current: RecordingArchive | undefined;
  #fault: { message: string; atMs: number } | undefined;

  private constructor(
    options: RecordingOptions,
    open: () => Promise<RecordingArchive>,
    report: ReportFailure,
  ) {
    this.#options = options;
    this.#open = open;
    this.#report = report;
  }

  /**
   * Opens the archive. Where recordings are required, one that cannot be opened stops the start; where they are not, it is tried
   * again with every session.
   *
   * @throws where recordings are required
   */
  static async open(
    options: RecordingOptions,
    host: () => string,
    report: ReportFailure,
  ): Promise<Recordings> {
    const recordings: Recordings = new Recordings(
      options,
      () => openArchive(options, host, report, (cause) => recordings.#failed(cause)),
      report,
    );
    if (options.mode === "off") return recordings;
    try {
      await recordings.#opened();
    } catch (cause) {
      if (options.mode === "required") throw cause;
      report("recordings cannot be written", cause);
    }
    return recordings;
  }

  /**
   * Begins a session's recording, where there is to be one.
   *
   * @param isObliged a rule demands it, whatever the configuration says
   * @throws where there must be one and cannot
   */
  async record(facts: RecordingFacts, isObliged: boolean): Promise<SessionRecording | undefined> {
    const { mode, portForward } = this.#options;
    const isRequired = isObliged || mode === "required";
    if (!isRequired && mode === "off") return undefined;
    const streams = facts.kind === "portforward" ? portForward : "content";
    try {
      const archive = await this.#opened();
      const recording = await archive.begin(facts, { isRequired, streams });
      this.#fault = undefined;
      return recording;
    } catch (cause) {
      this.#failed(cause);
      if (isRequired) throw cause;
      this.#report("a session is not recorded", cause, facts.auditId);
      return undefined;
    }
  }

  /** The archive, once it is open. */
  get archive(): Promise<RecordingArchive | undefined> {
    return this.#archive?.catch(() => undefined) ?? Promise.resolve(undefined);
  }

  /** How the recordings that are being made do. */
  get load(): RecordingLoad {
    return this.#current?.load ?? { open: 0, lagMs: 0, waitedMs: 0 };
  }

  /** What is wrong, in one sentence for people, where sessions cannot be without a recording and there was none lately. */
  get fault(): string | undefined {
    if (this.#options.mode !== "required" || this.#fault === undefined) return undefined;
    const { message, atMs } = this.#fault;
    return performance.now() - atMs < FAULT_COUNTS_MS
      ? `recordings cannot be written: ${message}`
      : undefined;
  }

  async close(): Promise<void> {
    await (await this.archive)?.close();
  }

  #failed(cause: unknown): void {
    this.#fault = {
      message: cause instanceof Error ? cause.message : String(cause),
      atMs: performance.now(),
    };
  }

  async #opened(): Promise<RecordingArchive> {
    try {
      return this.#current = await (this.#archive ??= this.#open());
    } catch (thrown) {
      this.#archive = undefined;
      throw thrown;
    }
  }
}

async function openArchive(
  options: RecordingOptions,
  host: () => string,
  report: ReportFailure,
  onBroken: (cause: unknown) => void,
): Promise<RecordingArchive> {
  const { recipients, signingKeyFile, windowMilliseconds, writeTimeoutSeconds, sealSeconds } = options;
  const wrong = recipients.find((recipient) => !isRecipient(recipient));
  if (wrong !== undefined) throw new TypeError(`${wrong} is no age recipient`);
  const { stdin, windowBytes, maxWindowBytes } = options;
  const instance = options.instance ?? host().replaceAll(/[^A-Za-z0-9.-]/g, "-").slice(0, 63);
  const signer = await readSigner(signingKeyFile);
  const store: RecordingStore = options.sink.type === "folder"
    ? new FolderStore(options.sink.path)
    : await openS3Sink(options.sink, { instance, writeTimeoutSeconds, onTrouble: report });
  const archiveOptions = {
    instance,
    stdin,
    windowBytes,
    maxWindowBytes,
    windowMs: windowMilliseconds,
    appendTimeoutMs: writeTimeoutSeconds * 1000,
    sealEveryMs: sealSeconds * 1000,
    recipients,
    onFailure: (message: string, cause: unknown, auditId?: string) => {
      onBroken(cause);
      report(message, cause, auditId);
    },
  };
  try {
    return await RecordingArchive.open(store, signer, archiveOptions);
  } catch (thrown) {
    await store[Symbol.asyncDispose]?.();
    throw thrown;
  }
}

async function readSigner(path: string): Promise<Signer> {
  try {
    return new Signer(await Deno.readTextFile(path));
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    // What OpenSSL says of a key names no part of it.
    throw new Error(`the recordings' signing key ${path} cannot be used: ${why}`, { cause });
  }
}
