import { dirname, join, resolve, sep } from "node:path";
import type { RecordingFile } from "../recorder.ts";
import {
  type ByteRange,
  checkRange,
  checkRecordingPath,
  isStored,
  type RecordingStore,
  type StoredRecording,
  StoreError,
} from "../store.ts";

/** How much of a file is read at once, in bytes. */
const READ_BYTES = 64 * 1024;

/** Recordings as files below a folder. What is appended is durable when the disk has it. */
export class FolderStore implements RecordingStore {
  readonly #folder: string;
  readonly #known: KnownFolder = {};

  /** @param folder made when the first recording is */
  constructor(folder: string) {
    this.#folder = folder;
  }

  create(path: string): Promise<RecordingFile> {
    return createRecordingFile(this.#folder, path, this.#known);
  }

  async open(path: string, range: ByteRange = {}): Promise<ReadableStream<Uint8Array>> {
    const { offset, end } = checkRange(range);
    const whole = await locate(this.#folder, path);
    if (whole === undefined) throw new StoreError("not_found", `there is no recording ${path}`);
    return await read(whole, offset, end);
  }

  async *list(prefix: string): AsyncGenerator<StoredRecording, void, undefined> {
    yield* walk(this.#folder, "", prefix);
  }

  async remove(path: string): Promise<void> {
    const whole = await locate(this.#folder, path);
    if (whole === undefined) return;
    await Deno.remove(whole).catch(ignoreMissing);
    await syncFolder(dirname(whole));
  }
}

/** The folder that the last recording went to, whose own name is durable: most sessions go to the same one. */
interface KnownFolder {
  durable?: string;
}

/**
 * Makes a file that only grows, mode 0600, in a folder of mode 0700. It must not be there yet.
 *
 * @param path below `folder`
 * @param known remembers the folder from one call to the next
 * @throws {StoreError} `path_refused`, `exists`
 */
async function createRecordingFile(
  folder: string,
  path: string,
  known: KnownFolder = {},
): Promise<RecordingFile> {
  const root = resolve(folder);
  const whole = join(root, checkRecordingPath(path));
  const inner = dirname(whole);
  if (known.durable !== inner || await Deno.lstat(inner).catch(ignoreMissing) === undefined) {
    delete known.durable;
    await Deno.mkdir(inner, { recursive: true, mode: 0o700 });
  }
  await checkIsBelow(root, inner);
  const file = await openNew(whole, path);
  try {
    // The name of a new file is durable only when its folder is, and so on up to the one that all lie in.
    await syncFolder(inner);
    if (known.durable !== inner) {
      for (let at = inner; at !== root;) await syncFolder(at = dirname(at));
      known.durable = inner;
    }
  } catch (thrown) {
    file.close();
    throw thrown;
  }
  return new FolderFile(file);
}

async function openNew(whole: string, path: string): Promise<Deno.FsFile> {
  try {
    return await Deno.open(whole, { append: true, createNew: true, mode: 0o600 });
  } catch (cause) {
    if (!(cause instanceof Deno.errors.AlreadyExists)) throw cause;
    throw new StoreError("exists", `there is a recording ${path} already`, { cause });
  }
}

/**
 * O_DSYNC would save the second call, but only `node:fs` can open so, and it writes on the thread that all sessions share:
 * a disk that stalls would stop the gateway.
 */
class FolderFile implements RecordingFile {
  readonly #file: Deno.FsFile;
  #isClosed = false;

  constructor(file: Deno.FsFile) {
    this.#file = file;
  }

  async append(bytes: Uint8Array): Promise<void> {
    let offset = 0;
    while (offset < bytes.length) offset += await this.#file.write(bytes.subarray(offset));
    await this.#file.syncData();
  }

  close(): Promise<void> {
    if (!this.#isClosed) this.#file.close();
    this.#isClosed = true;
    return Promise.resolve();
  }
}

/** The file of a recording that is there, and that no link leads out of the folder. */
async function locate(folder: string, path: string): Promise<string | undefined> {
  const whole = join(folder, checkRecordingPath(path));
  const found = await Deno.lstat(whole).catch(ignoreMissing);
  if (found === undefined) return undefined;
  if (!found.isFile) throw new StoreError("path_refused", `${path} is no file`);
  await checkIsBelow(folder, dirname(whole));
  return whole;
}

async function checkIsBelow(folder: string, inner: string): Promise<void> {
  const [root, real] = await Promise.all([Deno.realPath(folder), Deno.realPath(inner)]);
  if (real === root || real.startsWith(root.endsWith(sep) ? root : root + sep)) return;
  throw new StoreError("path_refused", "a link leads out of the folder of recordings");
}

async function read(whole: string, offset: number, end: number): Promise<ReadableStream<Uint8Array>> {
  const file = await Deno.open(whole);
  try {
    await file.seek(offset, Deno.SeekMode.Start);
  } catch (thrown) {
    file.close();
    throw thrown;
  }
  let at = offset;
  return new ReadableStream<Uint8Array>({
    async pull(controller) {
      try {
        const buffer = new Uint8Array(Math.max(0, Math.min(READ_BYTES, end - at)));
        const count = buffer.length === 0 ? null : await file.read(buffer);
        if (count === null) {
          file.close();
          controller.close();
          return;
        }
        at += count;
        controller.enqueue(buffer.subarray(0, count));
      } catch (thrown) {
        file.close();
        throw thrown;
      }
    },
    cancel: () => file.close(),
  }, { highWaterMark: 0 });
}

/** Sorted in every folder, so that days come in their order. What goes away meanwhile is left out. */
async function* walk(folder: string, below: string, prefix: string): AsyncGenerator<StoredRecording> {
  for (const { name, isDirectory, isFile } of await entries(join(folder, below))) {
    const path = below + name;
    if (isDirectory && (`${path}/`.startsWith(prefix) || prefix.startsWith(`${path}/`))) {
      yield* walk(folder, `${path}/`, prefix);
    }
    if (!isFile || !isStored(path) || !path.startsWith(prefix)) continue;
    const { size, mtime } = await Deno.lstat(join(folder, path)).catch(ignoreMissing) ?? {};
    if (size === undefined) continue;
    yield { path, bytes: size, modifiedAt: mtime ?? new Date(0) };
  }
}

async function entries(folder: string): Promise<Deno.DirEntry[]> {
  const found: Deno.DirEntry[] = [];
  try {
    for await (const entry of Deno.readDir(folder)) found.push(entry);
  } catch (thrown) {
    ignoreMissing(thrown);
  }
  return found.sort((one, other) => (one.name < other.name ? -1 : 1));
}

async function syncFolder(folder: string): Promise<void> {
  using opened = await Deno.open(folder);
  await opened.sync();
}

function ignoreMissing(thrown: unknown): undefined {
  if (!(thrown instanceof Deno.errors.NotFound)) throw thrown;
}
