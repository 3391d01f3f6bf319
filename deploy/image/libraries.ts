/**
 * The shared libraries that Deno is linked to: glibc with its loader, and libgcc. They come from Debian's packages, in
 * versions that are pinned here with what they weigh, so that an image depends on no machine it is made on.
 */

import { basename, join } from "node:path";
import { DownloadError, fetchOnce, run } from "./download.ts";
import type { Architecture, Platform } from "./platform.ts";
import type { Entry } from "./tar.ts";

/** A package of Debian bookworm. */
export interface DebianPackage {
  name: string;
  version: string;
  /** The source package, which advisories name. */
  source: string;
  /** As SPDX says it. */
  license: string;
  sha256: Readonly<Record<Architecture, string>>;
  /** Its libraries that are taken; nothing else is, but for the copyright file. */
  libraries: readonly string[];
}

/** After a security update of one of them: `apt-get download` it for both architectures, and write down `sha256sum`. */
export const DEBIAN_PACKAGES: readonly DebianPackage[] = [
  {
    name: "libc6",
    version: "2.36-9+deb12u14",
    source: "glibc",
    license: "LGPL-2.1-or-later",
    sha256: {
      amd64: "ba4f88f73dbc3ae9055f3c20f4523bfdbaf1ad13ff95e258924f77d20b4fbedf",
      arm64: "01f4330719fd4f65580e16ea5a0527f372fca750e8f588d26deaf09f2d3b1cf4",
    },
    libraries: ["libc.so.6", "libdl.so.2", "libm.so.6", "libpthread.so.0", "librt.so.1"],
  },
  {
    name: "libgcc-s1",
    version: "12.2.0-14+deb12u1",
    source: "gcc-12",
    license: "GPL-3.0-or-later WITH GCC-exception-3.1",
    sha256: {
      amd64: "3016e62cb4b7cd8038822870601f5ed131befe942774d0f745622cc77d8a88f7",
      arm64: "576926b283613db80168ddf76380a3bd877602778cf0d226caa7bfbfa71eacf3",
    },
    libraries: ["libgcc_s.so.1"],
  },
  { // the copyright of libgcc-s1 lies here
    name: "gcc-12-base",
    version: "12.2.0-14+deb12u1",
    source: "gcc-12",
    license: "GPL-3.0-or-later WITH GCC-exception-3.1",
    sha256: {
      amd64: "1896a2aacf4ad681ff5eacc24a5b0ca4d5d9c9b9c9e4b6de5197bc1e116ea619",
      arm64: "674cf6cba6d432bd200c45fe866c1652c7a53523cc2e7a613e05bc4abf7b5440",
    },
    libraries: [],
  },
];

/**
 * The libraries for a platform, at the places where the loader looks for them, and their packages' copyright files.
 *
 * @param cache folder of files that were fetched before
 * @throws {DownloadError} a package cannot be had; where Debian has a newer one, the pin above is out of date
 */
export async function libraries(platform: Platform, cache: string): Promise<Entry[]> {
  const folder = `lib/${platform.libraryFolder}`;
  const loader = basename(platform.loader);
  const unpacked = await Deno.makeTempDir();
  try {
    const entries: Entry[] = [];
    const take = async (path: string, mode: number) => {
      const bytes = await Deno.readFile(join(unpacked, path));
      entries.push({ type: "file", path, mode, bytes });
    };
    for (const debian of DEBIAN_PACKAGES) {
      await run("dpkg-deb", ["--extract", await fetchPackage(debian, platform, cache), unpacked]);
      for (const library of debian.libraries) await take(`${folder}/${library}`, 0o755);
      const copyright = `usr/share/doc/${debian.name}/copyright`;
      if (debian.name !== "libgcc-s1") await take(copyright, 0o644);
    }
    await take(`${folder}/${loader}`, 0o755);
    entries.push({ type: "symlink", path: platform.loader, target: `/${folder}/${loader}` });
    return entries;
  } finally {
    await Deno.remove(unpacked, { recursive: true });
  }
}

/** By apt-get, with lists of its own: what this machine has installed, and its architecture, do not matter. */
function fetchPackage(debian: DebianPackage, { architecture }: Platform, cache: string): Promise<string> {
  const { name, version, sha256 } = debian;
  const wanted = { algorithm: "sha256", hex: sha256[architecture] } as const;
  return fetchOnce(cache, `Debian's ${name}`, wanted, async (folder) => {
    const state = join(cache, `apt-${architecture}`);
    await Deno.mkdir(join(state, "lists", "partial"), { recursive: true });
    const options = [
      "--quiet",
      ...["--option", `Dir::State=${state}`],
      ...["--option", `Dir::State::lists=${join(state, "lists")}`],
      ...["--option", `Dir::Cache=${join(state, "cache")}`],
      ...["--option", "Dir::State::status=/dev/null"],
      ...["--option", `APT::Architecture=${architecture}`],
      ...["--option", `APT::Architectures::=${architecture}`],
      ...["--option", "APT::Sandbox::User="],
      ...["--option", "Acquire::Languages=none"],
      ...["--option", "Acquire::Retries=3"],
    ];
    const download = () => run("apt-get", [...options, "download", `${name}=${version}`], folder);
    try {
      await download();
    } catch { // the lists are not there yet, or old
      await run("apt-get", [...options, "update"]);
      await download().catch((cause) => {
        const advice = "if Debian has a newer one, pin that in deploy/image/libraries.ts";
        throw new DownloadError(`${name} ${version} for ${architecture} cannot be had: ${advice}`, { cause });
      });
    }
    for await (const { name: file } of Deno.readDir(folder)) return join(folder, file);
    throw new DownloadError(`apt-get left no ${name}`);
  });
}
