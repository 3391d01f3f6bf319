import { dirname } from "node:path";
import { type Sink, writeAll } from "../sink.ts";
import { hasName, statOrNothing, syncFolder } from "./disk.ts";

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

/**
 * Lines to a file that only grows: made with mode 0600, never truncated, rotated by size to `<path>.1`, `.2`, …
 *
 * What a crash or a full disk left of a line is ended by a newline when the file is opened, so that the next line
 * can be read. After a failed write the file is opened anew. A file that was moved or deleted by someone else is
 * noticed before the next write, for lines in a file without a name are lost. Rotation only renames: a crash within
 * it leaves a gap in the numbers, which the next one fills.
 *
 * What is no regular file, a device for instance, is only written to. Two processes must not share a file.
 */
export class FileSink implements Sink {
  readonly name: string;
  readonly #options: FileSinkOptions;
  #file: Deno.FsFile | undefined;
  #closed = false;

  constructor(options: FileSinkOptions) {
    this.name = `file ${options.path}`;
    this.#options = options;
  }

  /** Opens the file, so that a start fails where a session would. */
  async open(): Promise<void> {
    this.#file ??= await openForAppend(this.#options);
  }

  async write(lines: Uint8Array): Promise<void> {
    if (this.#closed) throw new Error("the sink is closed");
    try {
      const { file, isRegular } = await this.#ready(lines.length);
      await writeAll(file, lines);
      if (isRegular && this.#options.fsync) await file.syncData();
    } catch (error) {
      this.#drop();
      throw error;
    }
  }

  close(): void {
    this.#closed = true;
    this.#drop();
  }

  /** The file to write `bytes` to: the one that has the name, with room for them. */
  async #ready(bytes: number): Promise<{ file: Deno.FsFile; isRegular: boolean }> {
    if (this.#file && !await hasName(this.#file, this.#options.path)) this.#drop();
    await this.open();
    let file = this.#opened();
    const { isFile, size } = await file.stat();
    if (isFile && size > 0 && size + bytes > this.#options.maxBytes) {
      this.#drop();
      await rotate(this.#options);
      await this.open();
      file = this.#opened();
    }
    return { file, isRegular: isFile };
  }

  #opened(): Deno.FsFile {
    if (!this.#file) throw new Error("the sink was closed while it was opening");
    return this.#file;
  }

  #drop(): void {
    try {
      this.#file?.close();
    } catch {
      // It was closed already: there is nothing left to release.
    }
    this.#file = undefined;
  }
}

async function openForAppend({ path, fsync }: FileSinkOptions): Promise<Deno.FsFile> {
  const file = await Deno.open(path, { read: true, append: true, create: true, mode: 0o600 });
  try {
    const { isFile, isDirectory, size } = await file.stat();
    if (isDirectory) throw new Error(`${path} is a directory`);
    if (!isFile) return file;
    if (size > 0 && await lastByte(file) !== NEWLINE[0]) await writeAll(file, NEWLINE);
    // The name of a new file is durable only when its folder is.
    if (fsync) await syncFolder(dirname(path));
    return file;
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
