// deno-lint-ignore-file no-console -- a command: what was written is what it says
/**
 * `deno task image`: writes the container image as an OCI archive, and its inventory beside it. No daemon, no root.
 *
 *     --platform linux/amd64   one platform, or several with commas; all of them where nothing is said
 *     --output FOLDER          `dist` where nothing is said
 *     --unpacked FOLDER        one platform's files instead, as they lie in the image: for the Containerfile
 */

import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { type Bundle, bundle } from "./bundle.ts";
import { denoBinary } from "./deno_binary.ts";
import { DownloadError, run } from "./download.ts";
import { type Described, describeImage } from "./image_config.ts";
import { libraries } from "./libraries.ts";
import { licenses } from "./licenses.ts";
import { Lock } from "./lock.ts";
import { type Image, makeImage, ociArchive } from "./oci.ts";
import { ownPlatform, parsePlatform, type Platform, PLATFORMS } from "./platform.ts";
import { applicationEntries, runtimeEntries } from "./root.ts";
import { sbom } from "./sbom.ts";
import type { Entry } from "./tar.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));

/** Where what was fetched is kept for the next time. */
const CACHE = join(ROOT, "dist", "cache");

/** The image's name, without its tag. */
export const IMAGE_NAME = "postern.dev/postern";

/** What is the same for every platform. */
interface Source {
  described: Described;
  revision: string | undefined;
  lock: Lock;
  bundled: Bundle;
  licenses: ReadonlyMap<string, string>;
}

/** What is in an image of one platform. */
interface Contents {
  platform: Platform;
  inventory: string;
  layers: { createdBy: string; entries: Entry[] }[];
}

/** What was written where. */
export interface Written {
  /** With its tag. */
  name: string;
  archive: string;
  /** Of the index of platforms: the one a registry would answer with. */
  digest: string;
  images: readonly { platform: string; digest: string; compressedBytes: number }[];
}

/**
 * Writes `postern-VERSION.oci.tar`, and `postern-VERSION.linux-ARCHITECTURE.cdx.json` for each platform.
 *
 * @throws {DownloadError} a part cannot be had
 */
export async function buildImage(platforms: readonly Platform[], output: string): Promise<Written> {
  const source = await readSource();
  const { version, config } = source.described;
  await Deno.mkdir(output, { recursive: true });
  const images: Image[] = [];
  for (const platform of platforms) {
    const { inventory, layers } = await contentsFor(platform, source);
    images.push(makeImage(platform.architecture, config, layers));
    const name = `postern-${version}.linux-${platform.architecture}.cdx.json`;
    await Deno.writeTextFile(join(output, name), inventory);
  }
  const name = `${IMAGE_NAME}:${version}`;
  const { archive, digest } = ociArchive(name, images);
  const path = join(output, `postern-${version}.oci.tar`);
  await Deno.writeFile(path, archive);
  const written = images.map(({ digest, compressedBytes, manifest: { platform } }) => {
    return { platform: `linux/${platform.architecture}`, digest, compressedBytes };
  });
  return { name, archive: path, digest, images: written };
}

async function readSource(): Promise<Source> {
  const read = (name: string) => Deno.readTextFile(join(ROOT, name));
  const revision = await revisionOf(ROOT);
  const described = describeImage(await read("package.json"), await read("deno.json"), revision);
  const lock = Lock.parse(await read("package-lock.json"));
  const bundled = await bundle(ROOT, described.surrenders, revision);
  const packages = bundled.packageFolders.map((folder) => lock.get(folder));
  return { described, revision, lock, bundled, licenses: await licenses(ROOT, packages) };
}

async function contentsFor(platform: Platform, source: Source): Promise<Contents> {
  const { described: { version }, revision, lock, bundled } = source;
  const deno = lock.get(`node_modules/${platform.denoPackage}`);
  const packages = bundled.packageFolders.map((folder) => lock.get(folder));
  const inventory = sbom({ version, revision, platform, deno, packages, dependencies: lock.dependencies });
  const runtime = runtimeEntries(await denoBinary(deno, CACHE), await libraries(platform, CACHE));
  const application = applicationEntries(bundled.files, inventory, source.licenses);
  return {
    platform,
    inventory,
    layers: [
      { createdBy: `Deno ${deno.version} and the libraries it is linked to`, entries: runtime },
      { createdBy: `Postern ${version}`, entries: application },
    ],
  };
}

/** The commit that is checked out; `undefined` where that is not what would be built, or where nobody knows. */
async function revisionOf(root: string): Promise<string | undefined> {
  try {
    const changed = await run("git", ["status", "--porcelain", "--untracked-files=no"], root);
    return changed === "" ? (await run("git", ["rev-parse", "HEAD"], root)).trim() : undefined;
  } catch {
    return undefined;
  }
}

/** Writes what lies in the image into a folder, which must not be there yet. */
async function unpack({ layers }: Contents, folder: string): Promise<void> {
  await Deno.mkdir(folder);
  for (const entry of layers.flatMap(({ entries }) => entries)) {
    const path = join(folder, entry.path);
    await Deno.mkdir(entry.type === "directory" ? path : dirname(path), { recursive: true });
    if (entry.type === "file") await Deno.writeFile(path, entry.bytes);
    if (entry.type === "symlink") await Deno.symlink(entry.target, path);
    else await Deno.chmod(path, entry.mode);
  }
}

async function main(args: string[]): Promise<number> {
  const { values } = parseArgs({
    args,
    options: {
      platform: { type: "string" },
      output: { type: "string", default: "dist" },
      unpacked: { type: "string" },
    },
  });
  const platforms: Platform[] = [];
  for (const text of values.platform?.split(",") ?? []) {
    const platform = parsePlatform(text);
    if (platform === undefined) {
      const known = Object.keys(PLATFORMS).map((name) => `linux/${name}`);
      console.error(`no such platform: ${text}; there are ${known.join(" and ")}`);
      return 2;
    }
    platforms.push(platform);
  }
  if (values.unpacked !== undefined) {
    const [platform = ownPlatform()] = platforms;
    await unpack(await contentsFor(platform, await readSource()), values.unpacked);
    return 0;
  }
  const all = platforms.length > 0 ? platforms : Object.values(PLATFORMS);
  const { name, archive, digest, images } = await buildImage(all, resolve(values.output));
  console.log(`${name}\n${archive}\n${digest}`);
  for (const image of images) {
    const megabytes = (image.compressedBytes / 1e6).toFixed(1);
    console.log(`  ${image.platform}  ${image.digest}  ${megabytes} MB compressed`);
  }
  return 0;
}

if (import.meta.main) {
  try {
    Deno.exitCode = await main(Deno.args);
  } catch (error) {
    if (!(error instanceof DownloadError)) throw error;
    console.error(error.message, ...(error.cause instanceof Error ? [`(${error.cause.message})`] : []));
    Deno.exitCode = 1;
  }
}
