import { createHash } from "node:crypto";
import { join } from "node:path";

/** How a file from elsewhere is known to be the right one. */
export interface Fingerprint {
  algorithm: "sha256" | "sha512";
  /** Lower-case hexadecimal digits. */
  hex: string;
}

/** A file that was asked for is not there, or is another one. The message says what to do. */
export class DownloadError extends Error {}

/**
 * A file by its fingerprint: from the folder of those that were fetched before, or else fetched now. What is handed out has
 * that fingerprint, wherever it comes from.
 *
 * @param cache folder of files named by their fingerprints; made where there is none
 * @param name for messages
 * @param fetchInto has an ordinary client of the file's registry write it into an empty folder; returns its path
 * @returns the file's path in the cache
 * @throws {DownloadError} what was fetched has another fingerprint
 */
export async function fetchOnce(
  cache: string,
  name: string,
  wanted: Fingerprint,
  fetchInto: (folder: string) => Promise<string>,
): Promise<string> {
  await Deno.mkdir(cache, { recursive: true });
  const kept = join(cache, wanted.hex.slice(0, 64));
  if (await isSame(kept, wanted)) return kept;
  const folder = await Deno.makeTempDir({ dir: cache });
  try {
    const fetched = await fetchInto(folder);
    if (!await isSame(fetched, wanted)) {
      throw new DownloadError(`${name}: what was fetched has another ${wanted.algorithm} than is pinned`);
    }
    await Deno.rename(fetched, kept);
    return kept;
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

async function isSame(path: string, { algorithm, hex }: Fingerprint): Promise<boolean> {
  try {
    return createHash(algorithm).update(await Deno.readFile(path)).digest("hex") === hex;
  } catch (cause) {
    if (cause instanceof Deno.errors.NotFound) return false;
    throw cause;
  }
}

/**
 * Runs a program to its end.
 *
 * @returns what it said on its standard output
 * @throws {DownloadError} it failed, with the last lines of what it said
 */
export async function run(program: string, args: readonly string[], cwd?: string): Promise<string> {
  const command = new Deno.Command(program, { args: [...args], ...(cwd !== undefined && { cwd }) });
  let output: Deno.CommandOutput;
  try {
    output = await command.output();
  } catch (cause) {
    if (!(cause instanceof Deno.errors.NotFound)) throw cause;
    throw new DownloadError(`there is no ${program} on this machine`, { cause });
  }
  const [out, error] = [output.stdout, output.stderr].map((bytes) => new TextDecoder().decode(bytes));
  if (output.success) return out ?? "";
  const lines = (error ?? "").trim().split("\n").slice(-3);
  throw new DownloadError(`${program} ${args.at(0) ?? ""} failed: ${lines.join("; ")}`);
}
