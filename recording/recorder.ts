import { createHash, type Hash } from "node:crypto";
import { CHUNK, type ChunkKind } from "./format/chunk.ts";
import {
  encodeDocument,
  type RecordingHeader,
  type RecordingTrailer,
  type StdinMode,
  type StreamTotals,
  timestamp,
} from "./format/document.ts";
import { type Packer, RecordingEncoder, type RecordingKeys } from "./format/recording_encoder.ts";
import { RecordingError } from "./format/recording_error.ts";

/** `in` is towards the pod, `out` is towards the client. */
type Direction = "in" | "out";

/** What a session tells of its streams, before it forwards it. */
export type RecordedEvent =
  | { type: "opened"; id: number; stream: string }
  | { type: "data"; id: number; stream: string; direction: Direction; bytes: Uint8Array }
  | { type: "half_closed"; id: number; stream: string; direction: Direction }
  | { type: "reset"; id: number; stream: string; direction: Direction; status: number };

/** Where one recording goes. Appends are made one after the other. */
export interface RecordingFile {
  /** Resolves when the bytes will outlive a power cut. After it has rejected nothing more is appended. */
  append(bytes: Uint8Array): Promise<void>;
  /** The last append was made. */
  close(): Promise<void>;
}

/** Bounds of one recording. */
export interface RecorderOptions {
  /** Bytes that a session may be ahead of what is durable, however slow its file is. */
  windowBytes: number;
  /** Bytes that a session may be ahead whose file is fast: what it takes in `windowMs`, but no more. @default {windowBytes} */
  maxWindowBytes?: number;
  /** How long a session may be ahead, in milliseconds. */
  windowMs: number;
  /** How long one append may take before the recording counts as broken, in milliseconds. */
  appendTimeoutMs: number;
  /** How often a seal is written while something is, in milliseconds. */
  sealEveryMs: number;
  stdin: StdinMode;
  /** What of all other streams is kept. @default {"content"} */
  streams?: "digest" | "content";
  /** Whether the session ends where its recording cannot be written. */
  isRequired: boolean;
  /** Makes the blocks. @default right here */
  packer?: Packer;
  /** Called once, where the recording broke. */
  onFailure(cause: unknown): void;
}

/** Time, as a recorder needs it: milliseconds since 1970 with fractions. */
export type Clock = () => number;

/** The time of day now, and from then on as it passes, whoever sets the clock. */
function steadyClock(): Clock {
  const originMs = Date.now() - performance.now();
  return () => originMs + performance.now();
}

/** Largest piece of a stream in one chunk, in bytes: a block holds several. */
const MAX_CHUNK_BYTES = 64 * 1024;

/** An append of so many bytes of streams, or more, is one of bulk: the next is worth waiting for. */
const BULK_BYTES = 32 * 1024;

/** How much of bulk is gathered for one append, in bytes, where the window has room for it. */
const GATHER_BYTES = 512 * 1024;

/** How long bulk is gathered for one append, in milliseconds. */
const GATHER_MS = 4;

interface StreamState {
  /** Its number in the recording. */
  number: number;
  name: string;
  bytes: Record<Direction, number>;
  hashes: Partial<Record<Direction, Hash>>;
  /** Ways that were closed. */
  closed: Set<Direction>;
}

/**
 * A tap that writes down what it sees. What it returns is waited for before bytes are forwarded, so a session is never
 * further ahead of its recording than the window, and ends where the recording does.
 *
 * While one append is under way what comes gathers for the next, so a slow disk makes larger blocks and not more of them.
 */
export class Recorder {
  readonly #encoder: RecordingEncoder;
  readonly #file: RecordingFile;
  readonly #options: RecorderOptions;
  readonly #now: Clock;
  readonly #startedAtMs: number;
  /** Those that are open. */
  readonly #streams = new Map<number, StreamState>();
  readonly #totals = { streams: 0, bytesIn: 0, bytesOut: 0 };
  /** Bytes of streams that are being appended. */
  #appendingBytes = 0;
  /** Bytes of streams that were seen and are not yet being appended. */
  #gatheredBytes = 0;
  /** Since when the session has been ahead; the oldest byte that is not durable was seen then, or later. */
  #aheadSinceMs: number | undefined;
  /** What the session may be ahead now, in bytes. */
  #windowBytes: number;
  #sealedAtMs: number;
  #writing: Promise<void> | undefined;
  #isEnding = false;
  /** Ends the gathering of bulk, while there is some. */
  #gathered: (() => void) | undefined;
  #failure: { cause: unknown } | undefined;
  #waiting: PromiseWithResolvers<void> | undefined;
  #waitingSinceMs = 0;
  #waitedMs = 0;

  private constructor(
    encoder: RecordingEncoder,
    file: RecordingFile,
    options: RecorderOptions,
    startedAtMs: number,
    now: Clock,
  ) {
    this.#encoder = encoder;
    this.#file = file;
    this.#options = options;
    this.#startedAtMs = startedAtMs;
    this.#sealedAtMs = startedAtMs;
    this.#windowBytes = options.windowBytes;
    this.#now = now;
  }

  /**
   * Begins a recording: the header is durable when this resolves.
   *
   * @throws what the file throws
   */
  static async begin(
    header: Omit<RecordingHeader, "startedAt" | "stdin" | "streams">,
    keys: RecordingKeys,
    file: RecordingFile,
    options: RecorderOptions,
    now: Clock = steadyClock(),
  ): Promise<Recorder> {
    const startedAtMs = now();
    const encoder = new RecordingEncoder(keys, options.packer);
    const { stdin, streams = "content" } = options;
    const whole = { ...header, startedAt: timestamp(startedAtMs), stdin, streams };
    encoder.begin(whole);
    await appendTo(file, encoder.take(startedAtMs), options.appendTimeoutMs);
    encoder.rest();
    return new Recorder(encoder, file, options, startedAtMs, now);
  }

  /** Why the recording broke; absent where it has not. */
  get failure(): unknown {
    return this.#failure?.cause;
  }

  /** For how long the session has been ahead of what is durable, in milliseconds; 0 where it is not. */
  get lagMs(): number {
    return this.#aheadSinceMs === undefined ? 0 : Math.max(0, this.#now() - this.#aheadSinceMs);
  }

  /** How long the session was held up so far, in milliseconds. */
  get waitedMs(): number {
    return this.#waitedMs + (this.#waiting === undefined ? 0 : this.#now() - this.#waitingSinceMs);
  }

  /** @throws where the recording is required and cannot be written */
  push(event: RecordedEvent): void | Promise<void> {
    if (this.#failure !== undefined) return this.#broken();
    switch (event.type) {
      case "opened":
        this.#open(event.id, event.stream);
        break;
      case "data":
        this.#data(event.id, event.direction, event.bytes);
        break;
      case "half_closed":
        this.#halfClose(event.id, event.direction);
        break;
      case "reset":
        this.#reset(event.id, event.direction, event.status);
        break;
      default:
        event satisfies never;
    }
    this.#writing ??= this.#write();
    if (this.#gatheredBytes >= this.#gatherBytes) this.#gathered?.();
    if (this.#isWithinWindow()) return;
    if (this.#waiting === undefined) {
      this.#waiting = Promise.withResolvers();
      this.#waitingSinceMs = this.#now();
    }
    return this.#waiting.promise;
  }

  /**
   * Writes the trailer and the last seal.
   *
   * @returns when they are durable: the last link, hexadecimal; `undefined` where the recording broke and need not be whole
   * @throws where it broke and is required
   */
  async end(end: Omit<RecordingTrailer, "endedAt" | "totals">): Promise<string | undefined> {
    this.#isEnding = true;
    this.#gathered?.();
    await this.#writing;
    if (this.#failure !== undefined) return await this.#broken();
    for (const id of [...this.#streams.keys()]) this.#close(id);
    const atMs = this.#now();
    const trailer = { endedAt: timestamp(atMs), ...end, totals: this.#totals };
    try {
      this.#encoder.end(trailer);
      await this.#append(atMs);
      await this.#file.close();
      this.#encoder.rest();
      return this.#encoder.link.toHex();
    } catch (cause) {
      this.#fail(cause);
      return await this.#broken();
    }
  }

  #open(id: number, name: string): void {
    this.#close(id); // a number that is used anew
    const number = this.#totals.streams++;
    this.#streams.set(id, {
      number,
      name,
      bytes: { in: 0, out: 0 },
      hashes: {},
      closed: new Set(),
    });
    this.#chunk(id, CHUNK.OPENED, new TextEncoder().encode(JSON.stringify({ id, stream: name })));
  }

  #data(id: number, direction: Direction, bytes: Uint8Array): void {
    const state = this.#streams.get(id);
    if (state === undefined) return;
    state.bytes[direction] += bytes.length;
    const { stdin, streams = "content" } = this.#options;
    const mode = state.name === "stdin" && direction === "in" ? stdin : streams;
    if (mode === "none") return;
    if (mode === "digest") {
      (state.hashes[direction] ??= createHash("sha256")).update(bytes);
      return;
    }
    this.#ahead(bytes.length);
    for (let at = 0; at < bytes.length; at += MAX_CHUNK_BYTES) {
      const piece = bytes.subarray(at, at + MAX_CHUNK_BYTES);
      this.#chunk(id, direction === "in" ? CHUNK.IN : CHUNK.OUT, piece);
    }
  }

  #halfClose(id: number, direction: Direction): void {
    const state = this.#streams.get(id);
    if (state === undefined || state.closed.has(direction)) return;
    this.#chunk(id, direction === "in" ? CHUNK.CLOSED_IN : CHUNK.CLOSED_OUT);
    state.closed.add(direction);
    if (state.closed.size === 2) this.#close(id);
  }

  #reset(id: number, direction: Direction, status: number): void {
    const kind = direction === "in" ? CHUNK.RESET_IN : CHUNK.RESET_OUT;
    this.#chunk(id, kind, new TextEncoder().encode(String(status)));
    this.#close(id);
  }

  /** Says what a stream came to, and forgets it: a session may have any number of streams one after the other. */
  #close(id: number): void {
    const state = this.#streams.get(id);
    if (state === undefined) return;
    this.#chunk(id, CHUNK.ENDED, encodeDocument(totalsOf(state)));
    this.#totals.bytesIn += state.bytes.in;
    this.#totals.bytesOut += state.bytes.out;
    this.#streams.delete(id);
  }

  #chunk(id: number, kind: ChunkKind, bytes: Uint8Array = new Uint8Array()): void {
    const state = this.#streams.get(id);
    if (state === undefined) return;
    const atUs = Math.round((this.#now() - this.#startedAtMs) * 1000);
    this.#encoder.push({ atUs, stream: state.number, kind, bytes });
  }

  #ahead(bytes: number): void {
    this.#gatheredBytes += bytes;
    this.#aheadSinceMs ??= this.#now();
  }

  /** Half of the window is gathered while the other half is appended: neither the session nor the file waits for all of it. */
  #isWithinWindow(): boolean {
    if (this.#aheadSinceMs === undefined) return true;
    const [appending, gathered] = [this.#appendingBytes, this.#gatheredBytes];
    if (appending > 0 && gathered > this.#windowBytes / 2) return false;
    return appending + gathered <= this.#windowBytes &&
      this.#now() - this.#aheadSinceMs <= this.#options.windowMs;
  }

  /** Appends until nothing is pending. What comes meanwhile goes with the next append. */
  async #write(): Promise<void> {
    // One turn later, what the same read gave rise to shares the first append too.
    await Promise.resolve();
    try {
      while (this.#encoder.isPending) {
        const startMs = this.#now();
        const bytes = this.#appendingBytes = this.#gatheredBytes;
        const isSealDue = startMs - this.#sealedAtMs >= this.#options.sealEveryMs;
        if (isSealDue) this.#sealedAtMs = startMs;
        const appended = this.#append(isSealDue ? startMs : undefined);
        this.#gatheredBytes = 0;
        if (this.#isWithinWindow()) this.#release();
        await appended;
        this.#appendingBytes = 0;
        this.#aheadSinceMs = this.#gatheredBytes > 0 ? startMs : undefined;
        this.#adaptWindow(bytes, this.#now() - startMs);
        if (this.#isWithinWindow()) this.#release();
        if (bytes >= BULK_BYTES) await this.#gather();
      }
      this.#encoder.rest();
    } catch (cause) {
      this.#fail(cause);
    } finally {
      this.#writing = undefined;
    }
  }

  /** What the file takes in `windowMs`, as it took these bytes; never less than the one bound, nor more than the other. */
  #adaptWindow(bytes: number, ms: number): void {
    const { windowBytes, maxWindowBytes = windowBytes, windowMs } = this.#options;
    const paceBytes = bytes * windowMs / Math.max(ms, 0.001);
    this.#windowBytes = Math.max(windowBytes, Math.min(maxWindowBytes, paceBytes));
  }

  get #gatherBytes(): number {
    return Math.min(GATHER_BYTES, this.#windowBytes / 2);
  }

  /** Waits for enough to be worth an append. */
  async #gather(): Promise<void> {
    if (this.#isEnding || this.#gatheredBytes >= this.#gatherBytes) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, GATHER_MS);
    this.#gathered = resolve;
    await promise;
    this.#gathered = undefined;
    clearTimeout(timer);
  }

  #append(sealAtMs: number | undefined): Promise<void> {
    return appendTo(this.#file, this.#encoder.take(sealAtMs), this.#options.appendTimeoutMs);
  }

  #release(): void {
    this.#waiting?.resolve();
    this.#waited();
  }

  #waited(): void {
    this.#waitedMs = this.waitedMs;
    this.#waiting = undefined;
  }

  #fail(cause: unknown): void {
    if (this.#failure !== undefined) return;
    this.#failure = { cause };
    this.#options.onFailure(cause);
    if (this.#options.isRequired) this.#waiting?.reject(cause);
    else this.#waiting?.resolve();
    this.#waited();
    this.#aheadSinceMs = undefined;
  }

  /** What a session is told that goes on after its recording broke. */
  #broken(): undefined | Promise<never> {
    return this.#options.isRequired ? Promise.reject(this.#failure?.cause) : undefined;
  }
}

function totalsOf({ bytes, hashes }: StreamState): StreamTotals {
  return {
    bytesIn: bytes.in,
    bytesOut: bytes.out,
    ...(hashes.in && { sha256In: hashes.in.digest("hex") }),
    ...(hashes.out && { sha256Out: hashes.out.digest("hex") }),
  };
}

/** Makes blocks durable. @throws {RecordingError} `sink_stalled`; what the file throws, and what making them threw */
async function appendTo(file: RecordingFile, blocks: Promise<Uint8Array>, ms: number): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    const message = `the recording's store has not answered for ${ms / 1000} seconds`;
    timer = setTimeout(() => reject(new RecordingError("sink_stalled", message)), ms);
  });
  try {
    await Promise.race([blocks.then((bytes) => file.append(bytes)), late]);
  } finally {
    clearTimeout(timer);
  }
}
