import { join } from "node:path";
import type { LockedPackage } from "./lock.ts";

/** Names that packages give the file with their licence. */
const LICENSE_FILE = /^(un)?licen[cs]e(\.(md|txt))?$|^copying$/i;

/**
 * The texts that must go with what is handed on: of Postern itself and of the packages in its bundle. A package without
 * such a file only names its licence; then that is written down.
 *
 * @returns by file name
 */
export async function licenses(
  root: string,
  packages: readonly LockedPackage[],
): Promise<Map<string, string>> {
  const texts = new Map([["postern", await Deno.readTextFile(join(root, "LICENSE"))]]);
  for (const { folder, name, version, license = "unknown" } of packages) {
    const files: string[] = [];
    for await (const file of Deno.readDir(join(root, folder))) {
      if (file.isFile && LICENSE_FILE.test(file.name)) files.push(file.name);
    }
    const [file] = files.sort();
    const text = file === undefined
      ? `${name}: ${license}, says its package.json; it has no file with the text.\n`
      : await Deno.readTextFile(join(root, folder, file));
    texts.set(`${name.replace("/", "+")}@${version}`, text);
  }
  return texts;
}
