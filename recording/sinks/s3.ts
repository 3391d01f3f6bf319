import type { RecordingFile } from "../recorder.ts";
import {
  type ByteRange,
  CHAIN_SUFFIX,
  checkRange,
  checkRecordingPath,
  isStored,
  type RecordingStore,
  type StoredRecording,
  StoreError,
} from "../store.ts";
import { MemoryBudget } from "./s3_budget.ts";
import { readText, S3Client, type S3ClientOptions } from "./s3_client.ts";
import { joinSegments, lacksBytes, type Segment, totalBytes } from "./s3_join.ts";
import { type ObjectLock, S3Objects } from "./s3_objects.ts";

/** How recordings lie in a bucket. */
export interface S3StoreOptions extends S3ClientOptions {
  /** Whose segments they are; no two processes that share a bucket may have the same. */
  instance: string;
  /** What every key begins with, such as `prod/`. @default "" */
  prefix?: string;
  /** How long whole recordings cannot be removed. The bucket must have been made with object lock. */
  objectLock?: { mode?: "GOVERNANCE" | "COMPLIANCE"; retainDays?: number; legalHold?: boolean };
  /** How the store is to encrypt. */
  encryption?: { algorithm: "AES256" | "aws:kms"; kmsKeyId?: string };
  /**
   * Whether the store refuses `If-None-Match: *` where there is such an object. Where it does not, nothing keeps a gateway that
   * was taken for gone from writing on.
   *
   * @default true
   */
  conditionalWrites?: boolean;
  /** One part of a whole recording, in bytes; S3 wants 5 MiB at least. @default 8_388_608 */
  partBytes?: number;
  /** What all joining together may hold, in bytes. @default 16_777_216 */
  joinBytes?: number;
  /** How long the joining of one recording may take, in milliseconds. @default 600_000 */
  joinTimeoutMs?: number;
  /** When joining that failed is tried again, in milliseconds. @default 60_000 */
  rejoinMs?: number;
  /** Told of what goes wrong where nobody waits for it: nothing is lost by it. */
  onTrouble(message: string, cause: unknown): void;
}

/** A recording that is not whole: it is being written, or its gateway is gone. */
export interface UnjoinedRecording extends StoredRecording {
  /** Who began it; `undefined` where that is not known. */
  instance: string | undefined;
}

/** Largest segment, in bytes: what is appended at once and is longer becomes several. */
const MAX_SEGMENT_BYTES = 8 * 1024 * 1024;

/** What the smallest joining counts as, in bytes: requests cost memory too. */
const MIN_JOIN_BYTES = 256 * 1024;

/** So that keys sort as numbers do: digits of the largest offset. */
const OFFSET_DIGITS = 16;

const DAY_MS = 86_400_000;

/** A chain is written for a day. */
const ABANDONED_CHAIN_DAYS = 2;

/** No session is silent for so long. */
const ABANDONED_RECORDING_DAYS = 30;

/** Beside the segments of a recording: who writes it. Made first, removed last. */
const BEGUN = "begun";

/**
 * Recordings in storage that speaks S3.
 *
 * What is appended is an object of its own, and durable when the store has answered:
 *
 *     <prefix>.parts/<path>/begun               who writes it
 *     <prefix>.parts/<path>/0000000000000000    its first bytes
 *     <prefix>.parts/<path>/0000000000000917    those from byte 917
 *     <prefix><path>                            all of it, once it was closed
 *
 * Nothing is ever written over (`If-None-Match: *`). A recording that was closed is joined into one object, in the background:
 * `open` and `list` do not tell the difference. Its segments go when the object is known to hold what they hold. Those of a
 * gateway that died stay until another one calls {@linkcode S3Store.assemble}, which first makes sure that nothing more can be
 * appended: where the next segment would begin it puts an empty one, which stays.
 *
 * Memory: an append is held once until it is durable; all joining together holds `joinBytes`, and a few segments each.
 */
export class S3Store implements RecordingStore, AsyncDisposable {
  readonly #client: S3Client;
  readonly #objects: S3Objects;
  readonly #options: Required<Omit<S3StoreOptions, "caFile" | "objectLock" | "encryption">> & S3StoreOptions;
  readonly #budget: MemoryBudget;
  /** Paths that this process writes. */
  readonly #writing = new Set<string>();
  /** Paths that are being joined, or are to be. */
  readonly #joining = new Map<string, Promise<void>>();
  /** Paths whose joining failed. */
  readonly #failed = new Map<string, ReturnType<typeof setTimeout>>();
  #assembling: Promise<void> | undefined;
  #isClosed = false;

  private constructor(client: S3Client, options: S3StoreOptions) {
    this.#client = client;
    this.#options = {
      prefix: "",
      addressing: "path",
      conditionalWrites: true,
      partBytes: 8 * 1024 * 1024,
      joinBytes: 16 * 1024 * 1024,
      joinTimeoutMs: 600_000,
      rejoinMs: 60_000,
      requestTimeoutMs: 10_000,
      deadlineMs: 15_000,
      maxAttempts: 5,
      backoffMs: 100,
      ...options,
    };
    if (!/^([A-Za-z0-9_-][A-Za-z0-9._-]*\/)*$/.test(this.#options.prefix)) {
      throw new TypeError("the prefix of the recording store is none: such as prod/ or a/b/");
    }
    this.#objects = new S3Objects(client, this.#options.conditionalWrites);
    this.#budget = new MemoryBudget(this.#options.joinBytes);
  }

  /** Nothing is asked of the store yet. @throws where options make no sense, or the authorities cannot be read */
  static async open(options: S3StoreOptions): Promise<S3Store> {
    const client = await S3Client.open(options);
    try {
      return new S3Store(client, options);
    } catch (thrown) {
      client[Symbol.dispose]();
      throw thrown;
    }
  }

  /** Begins a recording; a second `create` of its path is refused from now on, by every process. */
  async create(path: string): Promise<RecordingFile> {
    checkRecordingPath(path);
    if (this.#isClosed) throw new StoreError("refused", "the recording store is closed");
    if (this.#writing.has(path)) throw new StoreError("exists", `there is a recording ${path} already`);
    // Before anything of it can be seen: what this process writes must never look abandoned to it.
    this.#writing.add(path);
    try {
      await this.#begin(path);
    } catch (thrown) {
      this.#writing.delete(path);
      throw thrown;
    }
    return new S3File(
      (offset, bytes) => this.#append(path, offset, bytes),
      (isIntact) => {
        this.#writing.delete(path);
        this.#joinLater(path, !isIntact, isIntact ? 0 : this.#options.rejoinMs);
      },
    );
  }

  async #begin(path: string): Promise<void> {
    const until = this.#deadline();
    const nonce = crypto.randomUUID();
    const begun = encode(JSON.stringify({ instance: this.#options.instance, nonce }));
    const key = this.#segmentsPrefix(path) + BEGUN;
    await this.#objects.putOnce(key, begun, this.#encryptionHeaders(), until);
    // What is whole was begun before, and who began it is forgotten.
    if (await this.#objects.head(this.#key(path), until) !== undefined) {
      await this.#objects.remove([key], until);
      throw new StoreError("exists", `there is a recording ${path} already`);
    }
  }

  async open(path: string, range: ByteRange = {}): Promise<ReadableStream<Uint8Array>> {
    const { offset, end } = checkRange(range);
    const reading = this.#read(checkRecordingPath(path), offset, end);
    // What is not there is said now, and not when the first bytes are asked for.
    let first: IteratorResult<Uint8Array, void> | undefined = await reading.next();
    return new ReadableStream<Uint8Array>({
      async pull(controller) {
        const { done, value } = first ?? await reading.next();
        first = undefined;
        if (done) controller.close();
        else controller.enqueue(value);
      },
      async cancel() {
        await reading.return();
      },
    }, { highWaterMark: 0 });
  }

  /** Whole ones first, then those that are not; memory grows with the number of these. */
  async *list(prefix: string): AsyncGenerator<StoredRecording, void, undefined> {
    const unjoined = new Map<string, StoredRecording>();
    for await (const recording of this.#unjoined(prefix)) unjoined.set(recording.path, recording);
    const { prefix: root } = this.#options;
    for await (const { key, bytes, modifiedAt } of this.#objects.list(root + prefix)) {
      const path = key.slice(root.length);
      if (path.startsWith(".") || !isStored(path)) continue;
      unjoined.delete(path);
      yield { path, bytes, modifiedAt };
    }
    yield* unjoined.values();
  }

  /** Where the bucket keeps versions, or the object is locked, what is removed can still be had from there. */
  async remove(path: string): Promise<void> {
    const { segments, others } = await this.#segments(checkRecordingPath(path));
    await this.#objects.remove([this.#key(path), ...segments.map(({ key }) => key), ...others]);
  }

  /**
   * Recordings that are not whole and that this process does not write. Whether their gateway is gone is for others to know.
   *
   * @param prefix of their paths
   */
  async *unjoined(prefix: string = ""): AsyncGenerator<UnjoinedRecording, void, undefined> {
    for await (const recording of this.#unjoined(prefix)) {
      if (this.#writing.has(recording.path) || this.#joining.has(recording.path)) continue;
      yield { ...recording, instance: await this.#instanceOf(recording.path) };
    }
  }

  /**
   * Makes one object of a recording whose gateway is gone, after which that gateway can append nothing more. Harmless where
   * there is nothing to do, and where another does it at the same time.
   *
   * @throws {StoreError} `exists` where it turns out to be written still; `damaged` where bytes are missing
   */
  async assemble(path: string): Promise<void> {
    checkRecordingPath(path);
    if (this.#writing.has(path)) throw new StoreError("exists", `${path} is being written by this process`);
    await this.#join(path, true);
  }

  /**
   * Assembles what nobody writes any more: what an earlier process of this instance left, chains of another one that are
   * older than any that is written, and recordings that are older than any session.
   *
   * @returns how many there were; what could not be assembled is told to `onTrouble`, and is left
   */
  async assembleAbandoned(nowMs: number): Promise<number> {
    let count = 0;
    for await (const { path, modifiedAt, instance } of this.unjoined()) {
      if (this.#isClosed) break;
      const days = path.endsWith(CHAIN_SUFFIX) ? ABANDONED_CHAIN_DAYS : ABANDONED_RECORDING_DAYS;
      const isOld = nowMs - modifiedAt.getTime() > days * DAY_MS;
      if (!isOld && instance !== this.#options.instance) continue;
      try {
        await this.assemble(path);
        count++;
      } catch (cause) {
        if (this.#isClosed) break;
        this.#options.onTrouble(`${path}, which a gateway left, is not one object yet`, cause);
      }
    }
    return count;
  }

  /** The same in the background, until the store is closed. */
  startAssembling(nowMs: number): void {
    this.#assembling = this.assembleAbandoned(nowMs).then(() => {}, (cause) => {
      if (!this.#isClosed) this.#options.onTrouble("what was abandoned could not be listed", cause);
    });
  }

  /** Waits until everything that was closed is one object, or failed to become one. */
  async settle(): Promise<void> {
    while (this.#joining.size > 0) await Promise.all(this.#joining.values());
  }

  /** Waits for joining that is under way, as long as for a request. What is not joined then is for the next process to assemble. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    for (const timer of this.#failed.values()) clearTimeout(timer);
    this.#failed.clear();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const patience = new Promise<void>((resolve) => timer = setTimeout(resolve, this.#options.deadlineMs));
    await Promise.race([Promise.all([this.settle(), this.#assembling]), patience]);
    clearTimeout(timer);
    this.#client[Symbol.dispose]();
  }

  #append(path: string, offset: number, bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    const key = this.#segmentKey(path, offset);
    return this.#objects.putOnce(key, bytes, this.#encryptionHeaders(), this.#deadline());
  }

  #joinLater(path: string, isFenced: boolean, afterMs: number): void {
    if (this.#isClosed && afterMs > 0) return;
    if (afterMs > 0) {
      const timer = setTimeout(() => {
        this.#failed.delete(path);
        this.#joinLater(path, isFenced, 0);
      }, afterMs);
      this.#failed.set(path, timer);
      return;
    }
    const joining = this.#join(path, isFenced).catch((cause) => {
      this.#options.onTrouble(`the segments of ${path} are not one object yet`, cause);
      this.#joinLater(path, isFenced, this.#options.rejoinMs);
    }).finally(() => this.#joining.delete(path));
    this.#joining.set(path, joining);
  }

  /** @param isFenced whether it must be made sure that nobody appends to it */
  async #join(path: string, isFenced: boolean): Promise<void> {
    const until = performance.now() + this.#options.joinTimeoutMs;
    const found = await this.#segments(path);
    if (found.others.length === 0 && totalBytes(found.segments) === 0) return;
    const fence = isFenced ? await this.#fence(path, found.segments) : undefined;
    const { segments } = found;
    const { partBytes } = this.#options;
    const lock = this.#lock();
    const holds = Math.max(MIN_JOIN_BYTES, Math.min(partBytes, totalBytes(segments)));
    await this.#budget.spend(holds, () =>
      joinSegments({
        objects: this.#objects,
        key: this.#key(path),
        segments,
        headers: { ...this.#encryptionHeaders(), ...lockHeaders(lock) },
        lock,
        partBytes,
        until,
      }));
    const keys = segments.map(({ key }) => key).filter((key) => key !== fence);
    await this.#objects.remove([...keys, ...found.others], until);
  }

  /**
   * Takes the place of the next segment, for good: whoever would have written it finds it taken, also when all is done.
   *
   * @returns the key of what must stay
   */
  async #fence(path: string, segments: readonly Segment[]): Promise<string | undefined> {
    const last = segments.at(-1);
    if (last?.bytes === 0) return last.key;
    if (!this.#options.conditionalWrites) return undefined;
    // It was joined already, and only what was left of it is to be removed.
    if (await this.#objects.head(this.#key(path)) !== undefined) return undefined;
    const offset = last === undefined ? 0 : last.offset + last.bytes;
    const key = this.#segmentKey(path, offset);
    try {
      await this.#objects.putOnce(key, new Uint8Array(), this.#encryptionHeaders(), this.#deadline());
    } catch (cause) {
      if (!(cause instanceof StoreError) || cause.code !== "exists") throw cause;
      throw new StoreError("exists", `${path} is being written by a gateway that lives`, { cause });
    }
    return key;
  }

  async *#read(path: string, offset: number, end: number): AsyncGenerator<Uint8Array, void, undefined> {
    let at = offset;
    if (at >= end) {
      if (!await this.#isThere(path)) throw notFound(path);
      return;
    }
    // Joined between two looks: then the next look finds it whole.
    for (let looks = 0; looks < 3; looks++) {
      try {
        const facts = await this.#objects.head(this.#key(path));
        const bytes = facts === undefined
          ? this.#readSegments(path, at, end)
          : at < facts.bytes
          ? this.#objects.stream(this.#key(path), at, Math.min(end, facts.bytes))
          : [];
        for await (const piece of bytes) {
          at += piece.length;
          yield piece;
        }
        return;
      } catch (thrown) {
        if (!(thrown instanceof StoreError) || thrown.code !== "not_found") throw thrown;
      }
    }
    throw notFound(path);
  }

  async *#readSegments(
    path: string,
    offset: number,
    end: number,
  ): AsyncGenerator<Uint8Array, void, undefined> {
    const { segments, others } = await this.#segments(path);
    if (others.length === 0 && totalBytes(segments) === 0) throw notFound(path);
    let stop = 0;
    for (const segment of segments) {
      if (segment.offset >= end) return;
      if (segment.offset !== stop) throw lacksBytes(stop, segment.offset);
      stop += segment.bytes;
      if (stop <= offset) continue;
      const bytes = await this.#objects.get(segment.key, segment.bytes);
      yield bytes.subarray(
        Math.max(0, offset - segment.offset),
        Math.min(segment.bytes, end - segment.offset),
      );
    }
  }

  async #isThere(path: string): Promise<boolean> {
    if (await this.#objects.head(this.#key(path)) !== undefined) return true;
    const { segments, others } = await this.#segments(path);
    return others.length > 0 || totalBytes(segments) > 0;
  }

  /** What there is of a recording that is not whole, in its order. */
  async #segments(path: string): Promise<{ segments: Segment[]; others: string[] }> {
    const prefix = this.#segmentsPrefix(path);
    const segments: Segment[] = [];
    const others: string[] = [];
    for await (const { key, bytes } of this.#objects.list(prefix)) {
      const name = key.slice(prefix.length);
      if (/^\d{16}$/.test(name)) segments.push({ key, offset: Number(name), bytes });
      else if (name === BEGUN) others.push(key);
    }
    return { segments, others };
  }

  async *#unjoined(prefix: string): AsyncGenerator<StoredRecording, void, undefined> {
    const root = `${this.#options.prefix}.parts/`;
    let last: StoredRecording | undefined;
    // What was assembled keeps one empty segment, and is whole.
    let isWhole = true;
    for await (const { key, bytes, modifiedAt } of this.#objects.list(root + prefix)) {
      const [, path, name] = /^(.+)\/([^/]+)$/.exec(key.slice(root.length)) ?? [];
      if (path === undefined || name === undefined || !isStored(path) || !path.startsWith(prefix)) continue;
      if (last?.path !== path) {
        if (last !== undefined && !isWhole) yield last;
        last = { path, bytes: 0, modifiedAt };
        isWhole = true;
      }
      if (name === BEGUN || bytes > 0) isWhole = false;
      if (name !== BEGUN) last.bytes += bytes;
      if (modifiedAt > last.modifiedAt) last.modifiedAt = modifiedAt;
    }
    if (last !== undefined && !isWhole) yield last;
  }

  async #instanceOf(path: string): Promise<string | undefined> {
    const key = this.#segmentsPrefix(path) + BEGUN;
    try {
      const text = await this.#client.send({ method: "GET", key }, readText);
      const begun: unknown = JSON.parse(text);
      const isKnown = typeof begun === "object" && begun !== null && "instance" in begun;
      return isKnown && typeof begun.instance === "string" ? begun.instance : undefined;
    } catch (thrown) {
      if (thrown instanceof SyntaxError) return undefined;
      if (thrown instanceof StoreError && thrown.code === "not_found") return undefined;
      throw thrown;
    }
  }

  #key(path: string): string {
    return this.#options.prefix + path;
  }

  #segmentsPrefix(path: string): string {
    return `${this.#options.prefix}.parts/${path}/`;
  }

  #segmentKey(path: string, offset: number): string {
    return this.#segmentsPrefix(path) + String(offset).padStart(OFFSET_DIGITS, "0");
  }

  #deadline(): number {
    return performance.now() + this.#options.deadlineMs;
  }

  #encryptionHeaders(): Record<string, string> {
    const { encryption } = this.#options;
    if (encryption === undefined) return {};
    return {
      "x-amz-server-side-encryption": encryption.algorithm,
      ...(encryption.kmsKeyId !== undefined && {
        "x-amz-server-side-encryption-aws-kms-key-id": encryption.kmsKeyId,
      }),
    };
  }

  /** As from now. */
  #lock(): ObjectLock | undefined {
    const { objectLock } = this.#options;
    if (objectLock === undefined) return undefined;
    const { mode = "GOVERNANCE", retainDays, legalHold = false } = objectLock;
    const retainUntil = retainDays === undefined ? undefined : new Date(Date.now() + retainDays * DAY_MS);
    return { mode, retainUntil, hasLegalHold: legalHold };
  }
}

function lockHeaders(lock: ObjectLock | undefined): Record<string, string> {
  if (lock === undefined) return {};
  const { mode, retainUntil, hasLegalHold } = lock;
  return {
    ...(retainUntil && {
      "x-amz-object-lock-mode": mode,
      "x-amz-object-lock-retain-until-date": retainUntil.toISOString(),
    }),
    ...(hasLegalHold && { "x-amz-object-lock-legal-hold": "ON" }),
  };
}

class S3File implements RecordingFile {
  readonly #append: (offset: number, bytes: Uint8Array<ArrayBuffer>) => Promise<void>;
  readonly #onClose: (isIntact: boolean) => void;
  #offset = 0;
  #state: "ready" | "appending" | "broken" | "closed" = "ready";

  /** @param onClose told whether all that was appended is durable */
  constructor(
    append: (offset: number, bytes: Uint8Array<ArrayBuffer>) => Promise<void>,
    onClose: (isIntact: boolean) => void,
  ) {
    this.#append = append;
    this.#onClose = onClose;
  }

  async append(bytes: Uint8Array): Promise<void> {
    if (this.#state !== "ready") {
      throw new StoreError("refused", `nothing can be appended to a recording that is ${this.#state}`);
    }
    this.#state = "appending";
    try {
      for (let at = 0; at < bytes.length; at += MAX_SEGMENT_BYTES) {
        const segment = bytes.slice(at, at + MAX_SEGMENT_BYTES);
        await this.#append(this.#offset, segment);
        this.#offset += segment.length;
      }
      if (this.#state === "appending") this.#state = "ready";
    } catch (thrown) {
      if (this.#state === "appending") this.#state = "broken";
      throw thrown;
    }
  }

  close(): Promise<void> {
    if (this.#state !== "closed") {
      const isIntact = this.#state === "ready";
      this.#state = "closed";
      this.#onClose(isIntact);
    }
    return Promise.resolve();
  }
}

function notFound(path: string): StoreError {
  return new StoreError("not_found", `there is no recording ${path}`);
}

function encode(text: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(text);
}
