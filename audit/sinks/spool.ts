import { join } from "node:path";
import { z } from "zod";
import { writeAll } from "../sink.ts";
import { hasName, syncFolder } from "./disk.ts";

/** Options of a {@linkcode Spool}. */
export interface SpoolOptions {
  /** A folder that is this spool's alone; made with mode 0700 where it is not there. */
  directory: string;
  /** What all files in it may hold together, those set aside among them; a write past it is refused. */
  maxBytes: number;
}

/** The next lines to be sent. */
export interface SpooledBatch {
  /** Each without its newline, in the order of writing; never empty. */
  lines: string[];
  /** Where the lines begin. */
  readonly segment: number;
  readonly offset: number;
  /** Where the next batch begins. */
  readonly end: number;
}

/** A file of lines. Its name is its number. */
interface Segment {
  number: number;
  /** The whole lines in it that are known to be on disk. */
  bytes: number;
}

/** Where the next line to be sent begins. */
const Cursor = z.object({ segment: z.int().min(1), offset: z.int().min(0) });
type Cursor = z.infer<typeof Cursor>;

const NEWLINE = 10;
const SEGMENT_NAME = /^([0-9]{16})\.jsonl$/;
/** Of a segment whose lines are all sent the room is given back; a small spool has small ones. */
const MAX_SEGMENT_BYTES = 8 * 1024 * 1024;
const SEGMENTS = 16;
/** How much is read at once to find where the last line ends. */
const TAIL_BYTES = 65536;

/**
 * Lines on disk that are still to be sent: a queue that outlives the process.
 *
 *     0000000000000007.jsonl   events, one JSON a line, oldest segment first
 *     0000000000000008.jsonl   the one being written
 *     cursor.json              {"segment":7,"offset":4711}: what is before it was sent
 *     rejected/…07.jsonl       events that the receiver would not have, of segment 7
 *     lock                     held while a process has the spool
 *
 * `append` resolves when the disk has the lines. The cursor moves after the receiver's answer, so that lines may be
 * sent twice after a crash, and none is left out. A segment is deleted when the cursor is past it.
 *
 * What a crash or a full disk left of a line has no newline and was never acknowledged: it is not sent. A process never
 * appends to a segment of an earlier one. Where the cursor is lost or makes no sense, everything there is sent again.
 */
export class Spool implements Disposable {
  readonly #directory: string;
  readonly #maxBytes: number;
  readonly #segmentBytes: number;
  #lock: Deno.FsFile | undefined;
  /** In order; the last is the one being written, if `#file` is open. */
  #segments: Segment[] = [];
  #file: Deno.FsFile | undefined;
  #cursor: Cursor = { segment: 1, offset: 0 };
  #rejectedBytes = 0;
  /** Ends when what changes the files has: writer and sender each have their turn. */
  #turn: Promise<unknown> = Promise.resolve();

  private constructor({ directory, maxBytes }: SpoolOptions) {
    this.#directory = directory;
    this.#maxBytes = maxBytes;
    this.#segmentBytes = Math.min(MAX_SEGMENT_BYTES, Math.ceil(maxBytes / SEGMENTS));
  }

  /** @throws where the folder cannot be used, or another process has it */
  static async open(options: SpoolOptions): Promise<Spool> {
    const spool = new Spool(options);
    try {
      await spool.#open();
      return spool;
    } catch (error) {
      spool[Symbol.dispose]();
      throw error;
    }
  }

  /** Bytes that are not sent yet. */
  get pendingBytes(): number {
    const written = this.#segments.reduce((sum, { bytes }) => sum + bytes, 0);
    return written - (this.#segments[0]?.number === this.#cursor.segment ? this.#cursor.offset : 0);
  }

  /** Bytes of events that the receiver would not have. */
  get rejectedBytes(): number {
    return this.#rejectedBytes;
  }

  /**
   * Resolves when the disk has the lines.
   *
   * @param lines each with its newline
   * @throws where the spool or the disk is full; nothing of the lines will be sent by this process then
   */
  append(lines: Uint8Array): Promise<void> {
    return this.#inTurn(() => this.#append(lines));
  }

  async #append(lines: Uint8Array): Promise<void> {
    if (this.#lock === undefined) throw new Error("the spool is closed");
    const used = this.#segments.reduce((sum, { bytes }) => sum + bytes, this.#rejectedBytes);
    if (used + lines.length > this.#maxBytes) {
      throw new Error(`the spool is full: it holds ${used} bytes of at most ${this.#maxBytes}`);
    }
    try {
      const { file, segment } = await this.#writable(lines.length);
      await writeAll(file, lines);
      await file.syncData();
      segment.bytes += lines.length;
    } catch (error) {
      // What is in the file past the bytes we know of is not read; the next write begins another.
      this.#closeFile();
      throw error;
    }
  }

  /**
   * The oldest lines not sent yet, up to the bounds, but at least one; `undefined` where there are none.
   * The same again until {@linkcode advance} or {@linkcode reject} is told of it.
   */
  async peek(maxLines: number, maxBytes: number): Promise<SpooledBatch | undefined> {
    const segment = this.#unsent();
    if (segment === undefined) return undefined;
    const { number, bytes } = segment;
    const offset = number === this.#cursor.segment ? this.#cursor.offset : 0;
    using file = await Deno.open(this.#path(number));
    for (let wanted = maxBytes;; wanted *= 2) {
      const chunk = await readAt(file, offset, Math.min(wanted, bytes - offset));
      const found = takeLines(chunk, maxLines, maxBytes);
      if (found) return { ...found, segment: number, offset, end: offset + found.bytes };
      if (chunk.length < Math.min(wanted, bytes - offset) || wanted >= bytes - offset) {
        throw new Error(`${this.#path(number)} ends before byte ${bytes}: somebody else changed it`);
      }
    }
  }

  /**
   * The batch was sent: moves the cursor past it, and gives back the room of what is sent wholly.
   *
   * @throws where the disk cannot have the cursor; this process goes on after the batch all the same
   */
  advance(batch: SpooledBatch): Promise<void> {
    return this.#inTurn(async () => {
      this.#cursor = { segment: batch.segment, offset: batch.end };
      // First the room: on a full disk the cursor needs some. Where a segment is gone, the next one's begin is next.
      await this.#deleteSent();
      await this.#writeCursor();
    });
  }

  /** The receiver will not have the batch: keeps it apart, durably, and goes on after it. */
  async reject(batch: SpooledBatch): Promise<void> {
    const path = join(this.#directory, "rejected", segmentName(batch.segment));
    const bytes = new TextEncoder().encode(batch.lines.map((line) => `${line}\n`).join(""));
    using file = await Deno.open(path, { append: true, create: true, mode: 0o600 });
    await writeAll(file, bytes);
    await file.syncData();
    await syncFolder(join(this.#directory, "rejected"));
    this.#rejectedBytes += bytes.length;
    await this.advance(batch);
  }

  /** Lets go of the folder; what is not sent stays there. */
  [Symbol.dispose](): void {
    this.#closeFile();
    this.#lock?.close();
    this.#lock = undefined;
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#turn.then(work);
    this.#turn = done.catch(() => {});
    return done;
  }

  async #open(): Promise<void> {
    const rejected = join(this.#directory, "rejected");
    await Deno.mkdir(rejected, { recursive: true, mode: 0o700 });
    this.#lock = await Deno.open(join(this.#directory, "lock"), { write: true, create: true, mode: 0o600 });
    if (!await this.#lock.tryLock(true)) {
      throw new Error(`${this.#directory} is in use by another process`);
    }
    for await (const { name } of Deno.readDir(rejected)) {
      this.#rejectedBytes += (await Deno.stat(join(rejected, name))).size;
    }
    for await (const { name } of Deno.readDir(this.#directory)) {
      const number = Number(SEGMENT_NAME.exec(name)?.[1] ?? 0);
      if (number > 0) this.#segments.push({ number, bytes: await wholeLines(this.#path(number)) });
    }
    this.#segments.sort((one, other) => one.number - other.number);
    this.#cursor = await this.#readCursor();
    await this.#deleteSent();
  }

  /** The file being written, with room for `bytes`; a new one where there is none. */
  async #writable(bytes: number): Promise<{ file: Deno.FsFile; segment: Segment }> {
    const last = this.#segments.at(-1);
    if (this.#file && last && !await hasName(this.#file, this.#path(last.number))) {
      throw new Error(`${this.#path(last.number)} is gone: somebody else took it away`);
    }
    if (this.#file && last && (last.bytes === 0 || last.bytes + bytes <= this.#segmentBytes)) {
      return { file: this.#file, segment: last };
    }
    this.#closeFile();
    // A number is not used twice, for the cursor may be at it; but one in which nothing was ever acknowledged is.
    const reused = last?.bytes === 0 ? this.#segments.pop() : undefined;
    const number = reused?.number ?? Math.max(last?.number ?? 0, this.#cursor.segment) + 1;
    const segment = { number, bytes: 0 };
    this.#segments.push(segment);
    this.#file = await Deno.open(this.#path(number), {
      write: true,
      create: true,
      truncate: true,
      mode: 0o600,
    });
    // The name of a new file is durable only when its folder is.
    await syncFolder(this.#directory);
    return { file: this.#file, segment };
  }

  /** The oldest segment that has something to send. */
  #unsent(): Segment | undefined {
    const { segment, offset } = this.#cursor;
    return this.#segments.find(({ number, bytes }) =>
      number >= segment && bytes > (number === segment ? offset : 0)
    );
  }

  /** Deletes what the cursor is past, but for the file being written while it has room. */
  async #deleteSent(): Promise<void> {
    const unsent = this.#unsent()?.number ?? Infinity;
    const writing = this.#file ? this.#segments.at(-1) : undefined;
    const isKept = (segment: Segment) =>
      segment.number >= unsent || (segment === writing && segment.bytes < this.#segmentBytes);
    const kept = this.#segments.filter(isKept);
    for (const segment of this.#segments) {
      if (isKept(segment)) continue;
      if (segment === writing) this.#closeFile();
      await Deno.remove(this.#path(segment.number)).catch(ignoreMissing);
    }
    this.#segments = kept;
  }

  async #readCursor(): Promise<Cursor> {
    const oldest = { segment: this.#segments[0]?.number ?? 1, offset: 0 };
    const text = await Deno.readTextFile(join(this.#directory, "cursor.json")).catch(ignoreMissing);
    const { success, data } = Cursor.safeParse(parseJson(text ?? ""));
    if (!success) return oldest;
    const segment = this.#segments.find(({ number }) => number === data.segment);
    // A place that is not there is no place: a line too many is evidence, a line too few is none.
    return segment && data.offset > segment.bytes ? oldest : data;
  }

  /** Whole or not at all, also where the power goes. */
  async #writeCursor(): Promise<void> {
    const path = join(this.#directory, "cursor.json");
    {
      using file = await Deno.open(`${path}.new`, { write: true, create: true, truncate: true, mode: 0o600 });
      await writeAll(file, new TextEncoder().encode(JSON.stringify(this.#cursor)));
      await file.syncData();
    }
    await Deno.rename(`${path}.new`, path);
  }

  #path(number: number): string {
    return join(this.#directory, segmentName(number));
  }

  #closeFile(): void {
    this.#file?.close();
    this.#file = undefined;
  }
}

function segmentName(number: number): string {
  return `${number.toString().padStart(16, "0")}.jsonl`;
}

/** As many whole lines of the chunk as the bounds allow, at least one; `undefined` where not even one is in it. */
function takeLines(
  chunk: Uint8Array,
  maxLines: number,
  maxBytes: number,
): { lines: string[]; bytes: number } | undefined {
  const lines: string[] = [];
  let bytes = 0;
  while (lines.length < maxLines) {
    const newline = chunk.indexOf(NEWLINE, bytes);
    if (newline === -1 || (lines.length > 0 && newline + 1 > maxBytes)) break;
    lines.push(new TextDecoder().decode(chunk.subarray(bytes, newline)));
    bytes = newline + 1;
  }
  return lines.length > 0 ? { lines, bytes } : undefined;
}

/** Up to `length` bytes; fewer where the file ends. */
async function readAt(file: Deno.FsFile, offset: number, length: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(length);
  await file.seek(offset, Deno.SeekMode.Start);
  let filled = 0;
  while (filled < length) {
    const read = await file.read(bytes.subarray(filled));
    if (read === null) break;
    filled += read;
  }
  return bytes.subarray(0, filled);
}

/** The size of a file without what follows its last newline. */
async function wholeLines(path: string): Promise<number> {
  using file = await Deno.open(path);
  let end = (await file.stat()).size;
  while (end > 0) {
    const start = Math.max(0, end - TAIL_BYTES);
    const newline = (await readAt(file, start, end - start)).lastIndexOf(NEWLINE);
    if (newline !== -1) return start + newline + 1;
    end = start;
  }
  return 0;
}

function ignoreMissing(error: unknown): undefined {
  if (error instanceof Deno.errors.NotFound) return undefined;
  throw error;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
