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
import { RecordingEncoder, type RecordingKeys } from "./format/recording_encoder.ts";
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
  /** Bytes that a session may be ahead of what is durable. */
  windowBytes: number;
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
  /** Stream bytes that were seen and are not durable. */
  #aheadBytes = 0;
  #aheadSinceMs: number | undefined;
  #sealedAtMs: number;
  #writing: Promise<void> | undefined;
  #failure: { cause: unknown } | undefined;
  #waiting: PromiseWithResolvers<void> | undefined;

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
    const encoder = new RecordingEncoder(keys);
    const { stdin, streams = "content" } = options;
    const whole = { ...header, startedAt: timestamp(startedAtMs), stdin, streams };
    const first = concat([...encoder.begin(whole), ...encoder.seal(startedAtMs)]);
    await withDeadline(file.append(first), options.appendTimeoutMs);
    return new Recorder(encoder, file, options, startedAtMs, now);
  }

  /** Why the recording broke; absent where it has not. */
  get failure(): unknown {
    return this.#failure?.cause;
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
    if (this.#isWithinWindow()) return;
    this.#waiting ??= Promise.withResolvers();
    return this.#waiting.promise;
  }

  /**
   * Writes the trailer and the last seal.
   *
   * @returns when they are durable: the last link, hexadecimal; `undefined` where the recording broke and need not be whole
   * @throws where it broke and is required
   */
  async end(end: Omit<RecordingTrailer, "endedAt" | "totals">): Promise<string | undefined> {
    await this.#writing;
    if (this.#failure !== undefined) return await this.#broken();
    for (const id of [...this.#streams.keys()]) this.#close(id);
    const atMs = this.#now();
    const trailer = { endedAt: timestamp(atMs), ...end, totals: this.#totals };
    try {
      const last = concat(this.#encoder.end(trailer, atMs));
      await withDeadline(this.#file.append(last), this.#options.appendTimeoutMs);
      await this.#file.close();
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
    this.#aheadBytes += bytes;
    this.#aheadSinceMs ??= this.#now();
  }

  #isWithinWindow(): boolean {
    if (this.#aheadSinceMs === undefined) return true;
    const { windowBytes, windowMs } = this.#options;
    return this.#aheadBytes <= windowBytes && this.#now() - this.#aheadSinceMs <= windowMs;
  }

  /** Appends until nothing is pending. What comes meanwhile goes with the next append. */
  async #write(): Promise<void> {
    // One turn later, what the same read gave rise to shares the first append too.
    await Promise.resolve();
    try {
      while (this.#encoder.isPending) {
        const bytes = this.#aheadBytes;
        const since = this.#now();
        const blocks = [...this.#encoder.flush(), ...this.#sealIfDue(since)];
        await withDeadline(this.#file.append(concat(blocks)), this.#options.appendTimeoutMs);
        this.#aheadBytes -= bytes;
        this.#aheadSinceMs = this.#aheadBytes > 0 ? since : undefined;
        if (this.#isWithinWindow()) this.#release();
      }
    } catch (cause) {
      this.#fail(cause);
    } finally {
      this.#writing = undefined;
    }
  }

  #sealIfDue(atMs: number): Uint8Array[] {
    if (atMs - this.#sealedAtMs < this.#options.sealEveryMs) return [];
    this.#sealedAtMs = atMs;
    return this.#encoder.seal(atMs);
  }

  #release(): void {
    this.#waiting?.resolve();
    this.#waiting = undefined;
  }

  #fail(cause: unknown): void {
    if (this.#failure !== undefined) return;
    this.#failure = { cause };
    this.#options.onFailure(cause);
    if (this.#options.isRequired) this.#waiting?.reject(cause);
    else this.#waiting?.resolve();
    this.#waiting = undefined;
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

/** @throws {RecordingError} `sink_stalled` */
async function withDeadline(append: Promise<void>, ms: number): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    const message = `the recording's store has not answered for ${ms / 1000} seconds`;
    timer = setTimeout(() => reject(new RecordingError("sink_stalled", message)), ms);
  });
  try {
    await Promise.race([append, late]);
  } finally {
    clearTimeout(timer);
  }
}

function concat(parts: readonly Uint8Array[]): Uint8Array {
  const [first] = parts;
  if (first && parts.length === 1) return first;
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}
