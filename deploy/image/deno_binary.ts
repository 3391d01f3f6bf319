import { join } from "node:path";
import { DownloadError, fetchOnce, run } from "./download.ts";
import type { LockedPackage } from "./lock.ts";

/**
 * The Deno program of a platform, whatever this machine's is: out of the npm package that package-lock.json names, and
 * checked against what it says of it.
 *
 * @param cache folder of files that were fetched before
 * @throws {DownloadError}
 */
export async function denoBinary(locked: LockedPackage, cache: string): Promise<Uint8Array> {
  const { name, version, fingerprint } = locked;
  const archive = await fetchOnce(cache, name, fingerprint, async (folder) => {
    const args = ["pack", "--silent", "--prefer-offline", "--ignore-scripts", "--pack-destination", folder];
    await run("npm", [...args, `${name}@${version}`], folder);
    for await (const { name: file } of Deno.readDir(folder)) return join(folder, file);
    throw new DownloadError(`npm left no ${name}`);
  });
  const unpacked = await Deno.makeTempDir();
  try {
    await run("tar", ["-xzf", archive, "-C", unpacked, "package/deno"]);
    return await Deno.readFile(join(unpacked, "package", "deno"));
  } finally {
    await Deno.remove(unpacked, { recursive: true });
  }
}
