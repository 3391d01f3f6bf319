import { join, relative } from "node:path";

/** What a demo writes and the next one begins without. */
const LEFTOVERS = [
  ...["audit.log", "gateway.log", "kubeconfig", "pods"],
  ...["recordings", "index.sqlite", "index.sqlite-shm", "index.sqlite-wal"],
];

/** The folder of one running demo: nobody else may read it, and no other demo may use it. */
export class DemoFolder implements Disposable {
  readonly #lock: Deno.FsFile;

  private constructor(readonly path: string, lock: Deno.FsFile) {
    this.#lock = lock;
  }

  /**
   * Makes it, or takes it over and clears what an earlier demo left.
   *
   * @returns `undefined` where another demo is using it
   */
  static async open(path: string): Promise<DemoFolder | undefined> {
    await Deno.mkdir(path, { recursive: true, mode: 0o700 });
    const lock = await Deno.open(join(path, "lock"), { create: true, write: true });
    if (!await lock.tryLock(true)) {
      lock.close();
      return undefined;
    }
    for (const name of LEFTOVERS) await removeAny(join(path, name));
    return new DemoFolder(path, lock);
  }

  /** Where a file of that name lies. */
  at(name: string): string {
    return join(this.path, name);
  }

  /** The same, as someone in the current folder would type it. */
  shown(name: string): string {
    const path = relative(Deno.cwd(), this.at(name));
    return path.startsWith("..") ? this.at(name) : path;
  }

  /** Writes a file, for its owner alone: most hold a token or a key. @returns its path */
  async write(name: string, text: string): Promise<string> {
    await removeAny(this.at(name));
    await Deno.writeTextFile(this.at(name), text, { mode: 0o600 });
    return this.at(name);
  }

  [Symbol.dispose](): void {
    this.#lock.close();
  }
}

async function removeAny(path: string): Promise<void> {
  try {
    await Deno.remove(path, { recursive: true });
  } catch (cause) {
    if (!(cause instanceof Deno.errors.NotFound)) throw cause;
  }
}
