import { randomUUID } from "node:crypto";
import { dirname, join } from "node:path";

/**
 * Holds a kubeconfig as kubectl does when it writes one: by a file `<path>.lock` beside it, so that neither loses what the other
 * wrote.
 *
 * @throws {Error} where somebody else holds it
 */
export async function whileLocked<T>(path: string, work: () => Promise<T>): Promise<T> {
  const lock = `${path}.lock`;
  try {
    (await Deno.open(lock, { createNew: true, write: true, mode: 0o600 })).close();
  } catch (cause) {
    if (!(cause instanceof Deno.errors.AlreadyExists)) throw cause;
    throw new Error(
      `${lock} is there: somebody is writing the file, or was stopped; in that case remove it`,
      {
        cause,
      },
    );
  }
  try {
    return await work();
  } finally {
    await Deno.remove(lock);
  }
}

/** Puts a text in a file's place, in one step: whoever reads finds the old one or the new one, whole. Mode 0600. */
export async function replaceFile(path: string, text: string): Promise<void> {
  const temporary = join(dirname(path), `.postern-${randomUUID()}`);
  try {
    {
      using file = await Deno.open(temporary, { createNew: true, write: true, mode: 0o600 });
      let rest = new TextEncoder().encode(text);
      while (rest.length > 0) rest = rest.subarray(await file.write(rest));
      await file.sync();
    }
    await Deno.rename(temporary, path);
  } catch (thrown) {
    await Deno.remove(temporary).catch(() => {});
    throw thrown;
  }
}
