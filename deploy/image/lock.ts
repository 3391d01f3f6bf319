import { Buffer } from "node:buffer";
import { z } from "zod";
import type { Fingerprint } from "./download.ts";

const lockSchema = z.object({
  packages: z.record(
    z.string(),
    z.object({
      version: z.string().optional(),
      integrity: z.string().optional(),
      license: z.string().optional(),
      dependencies: z.record(z.string(), z.string()).optional(),
    }),
  ),
});

/** A package as package-lock.json has it. */
export interface LockedPackage {
  /** The folder that it lies in, `node_modules/zod` say. */
  folder: string;
  name: string;
  version: string;
  /** As SPDX says it; absent where the package says nothing. */
  license?: string;
  /** Of the archive that the registry has. */
  fingerprint: Fingerprint;
  /** Names of what it asks for itself. */
  dependencies: readonly string[];
}

/** The packages of a lock, by their folders. */
export class Lock {
  readonly #packages: ReadonlyMap<string, LockedPackage>;
  /** Names of what the project itself asks for; what it only needs for development is not among them. */
  readonly dependencies: readonly string[];

  private constructor(packages: ReadonlyMap<string, LockedPackage>, dependencies: readonly string[]) {
    this.#packages = packages;
    this.dependencies = dependencies;
  }

  /** @throws {TypeError} the text is no package-lock.json of version 3, or names no SHA-512 of a package */
  static parse(text: string): Lock {
    const { packages } = lockSchema.parse(JSON.parse(text));
    const found = new Map<string, LockedPackage>();
    for (const [folder, locked] of Object.entries(packages)) {
      if (folder === "") continue; // the project itself
      const { version, integrity = "", license, dependencies = {} } = locked;
      const [, base64 = ""] = /(?:^|\s)sha512-(\S+)/.exec(integrity) ?? [];
      const hex = Buffer.from(base64, "base64").toString("hex");
      if (version === undefined || hex.length !== 128) {
        throw new TypeError(`${folder} is locked without SHA-512`);
      }
      found.set(folder, {
        folder,
        name: folder.slice(folder.lastIndexOf("node_modules/") + "node_modules/".length),
        version,
        ...(license !== undefined && { license }),
        fingerprint: { algorithm: "sha512", hex },
        dependencies: Object.keys(dependencies),
      });
    }
    return new Lock(found, Object.keys(packages[""]?.dependencies ?? {}));
  }

  /** @throws {RangeError} there is none in that folder */
  get(folder: string): LockedPackage {
    const locked = this.#packages.get(folder);
    if (locked === undefined) throw new RangeError(`${folder} is not in package-lock.json`);
    return locked;
  }
}

/**
 * Which of some packages another one means by a name: that in its own folder, or else the nearest further up.
 *
 * @param folder of the package that asks; `""` is the project
 */
export function resolvePackage(
  packages: readonly LockedPackage[],
  folder: string,
  name: string,
): LockedPackage | undefined {
  for (let from = folder;; from = from.slice(0, Math.max(0, from.lastIndexOf("/node_modules/")))) {
    const wanted = from === "" ? `node_modules/${name}` : `${from}/node_modules/${name}`;
    const found = packages.find((locked) => locked.folder === wanted);
    if (found !== undefined || from === "") return found;
  }
}
