import { dirname } from "node:path";
import { type Sink, writeAll } from "../sink.ts";
import { statOrNothing, syncFolder } from "./disk.ts";

/** Options of a {@linkcode FileSink}. */
export interface FileSinkOptions {
  path: string;
  /** Size that is not grown over, but by a single write that is larger. */
  maxBytes: number;
  /** Files kept, the one being written among them; at least 2. */
  maxFiles: number;
  /** Wait for the disk. */
  fsync: boolean;
}

const NEWLINE = new Uint8Array([10]);

/** How often lines are written to a file that someone moves or deletes in that very moment. */
const MAX_TRIES = 3;

/** A file that was opened, and what tells it from every other. */
interface OpenedFile {
  file: Deno.FsFile;
  isRegular: boolean;
  ino: number | null;
  dev: number;
  /** Its size after the last write. */
  bytes: number;
}

/**
 * Lines to a file that only grows: made with mode 0600, never truncated, rotated by size to `<path>.1`, `.2`, …
 *
 * What a crash or a full disk left of a line is ended by a newline when the file is opened, so that the next line
 * can be read. After a failed write the file is opened anew. Lines in a file without a name are lost, so after each write it is
 * looked whether the name still leads to the file, while the disk is waited for; where it does not, because someone moved or
 * deleted the file, the lines are written once more, to the one that has the name. Rotation only renames: a crash within it leaves
 * a gap in the numbers, which the next one fills.
 *
 * What is no regular file, a device for instance, is only written to. Two processes must not share a file.
 */
export class FileSink implements Sink {
  readonly name: string;
  readonly #options: FileSinkOptions;
  #opened: OpenedFile | undefined;
  #closed = false;

  constructor(options: FileSinkOptions) {
    this.name = `file ${options.path}`;
    this.#options = options;
  }

  /** Opens the file, so that a start fails where a session would. */
  async open(): Promise<void> {
    await this.#open();
  }

  async write(lines: Uint8Array): Promise<void> {
    if (this.#closed) throw new Error("the sink is closed");
    try {
      for (let tries = 0; tries < MAX_TRIES; tries++) {
        const opened = await this.#withRoom(lines.length);
        await writeAll(opened.file, lines);
        if (await this.#settle(opened)) return;
        this.#drop();
      }
      throw new Error("the file is moved or deleted as soon as it is written to");
    } catch (error) {
      this.#drop();
      throw error;
    }
  }

  close(): void {
    this.#closed = true;
    this.#drop();
  }

  /** Makes durable what was written. @returns whether it is where the name leads */
  async #settle(opened: OpenedFile): Promise<boolean> {
    const { path, fsync } = this.#options;
    const [named] = await Promise.all([
      statOrNothing(path),
      opened.isRegular && fsync ? opened.file.syncData() : undefined,
    ]);
    opened.bytes = named?.size ?? 0;
    return named !== undefined && named.ino === opened.ino && named.dev === opened.dev;
  }

  /** The file to write `bytes` to. */
  async #withRoom(bytes: number): Promise<OpenedFile> {
    const opened = await this.#open();
    if (!opened.isRegular || opened.bytes === 0 || opened.bytes + bytes <= this.#options.maxBytes) {
      return opened;
    }
    this.#drop();
    await rotate(this.#options);
    return await this.#open();
  }

  async #open(): Promise<OpenedFile> {
    const opened = this.#opened ??= await openForAppend(this.#options);
    if (!this.#closed) return opened;
    this.#drop();
    throw new Error("the sink was closed while it was opening");
  }

  #drop(): void {
    try {
      this.#opened?.file.close();
    } catch {
      // It was closed already: there is nothing left to release.
    }
    this.#opened = undefined;
  }
}

async function openForAppend({ path, fsync }: FileSinkOptions): Promise<OpenedFile> {
  const file = await Deno.open(path, { read: true, append: true, create: true, mode: 0o600 });
  try {
    const { isFile: isRegular, isDirectory, size, ino, dev } = await file.stat();
    if (isDirectory) throw new Error(`${path} is a directory`);
    const opened = { file, isRegular, ino, dev, bytes: size };
    if (!isRegular) return opened;
    if (size > 0 && await lastByte(file) !== NEWLINE[0]) {
      await writeAll(file, NEWLINE);
      opened.bytes++;
    }
    // The name of a new file is durable only when its folder is.
    if (fsync) await syncFolder(dirname(path));
    return opened;
  } catch (error) {
    file.close();
    throw error;
  }
}

async function lastByte(file: Deno.FsFile): Promise<number | undefined> {
  const byte = new Uint8Array(1);
  await file.seek(-1, Deno.SeekMode.End);
  await file.read(byte);
  return byte[0];
}

/** Renames from the highest number down to the file itself; the one past `maxFiles` is replaced. */
async function rotate({ path, maxFiles }: FileSinkOptions): Promise<void> {
  let free = 1;
  while (free < maxFiles - 1 && await statOrNothing(`${path}.${free}`) !== undefined) free++;
  for (let number = free; number > 1; number--) {
    await Deno.rename(`${path}.${number - 1}`, `${path}.${number}`);
  }
  await Deno.rename(path, `${path}.1`);
}
