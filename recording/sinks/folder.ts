import { dirname, join } from "node:path";
import type { RecordingFile } from "../recorder.ts";

/** Where a recording lies, below its folder: `2026/11/21/<auditId>.rec`. */
export function recordingPath(auditId: string, startedAt: Date): string {
  const day = startedAt.toISOString().slice(0, 10).replaceAll("-", "/");
  return `${day}/${auditId}.rec`;
}

/**
 * Makes a file that only grows, mode 0600, in a folder of mode 0700. It must not be there yet.
 *
 * @param path below `folder`
 */
export async function createRecordingFile(folder: string, path: string): Promise<RecordingFile> {
  const whole = join(folder, path);
  await Deno.mkdir(dirname(whole), { recursive: true, mode: 0o700 });
  const file = await Deno.open(whole, { append: true, createNew: true, mode: 0o600 });
  try {
    // The name of a new file is durable only when its folder is.
    using parent = await Deno.open(dirname(whole));
    await parent.sync();
  } catch (thrown) {
    file.close();
    throw thrown;
  }
  return new FolderFile(file);
}

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
