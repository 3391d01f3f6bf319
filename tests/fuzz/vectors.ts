import { createHash } from "node:crypto";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const VECTORS = fileURLToPath(new URL("../vectors", import.meta.url));

/** Inputs that once broke a parser's promise, or are known to break that of others; one file each, its bytes. */
export async function readVectors(target: string): Promise<{ file: string; bytes: Uint8Array }[]> {
  const vectors: { file: string; bytes: Uint8Array }[] = [];
  try {
    for await (const { name, isFile } of Deno.readDir(join(VECTORS, target))) {
      if (isFile) vectors.push({ file: name, bytes: await Deno.readFile(join(VECTORS, target, name)) });
    }
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  return vectors.sort((one, other) => one.file < other.file ? -1 : 1);
}

/** The targets that have vectors. */
export async function vectorFolders(): Promise<string[]> {
  const folders: string[] = [];
  for await (const { name, isDirectory } of Deno.readDir(VECTORS)) if (isDirectory) folders.push(name);
  return folders.sort();
}

/** Keeps an input. @returns its path */
export async function writeVector(target: string, bytes: Uint8Array): Promise<string> {
  const path = vectorPath(target, bytes);
  await Deno.mkdir(join(VECTORS, target), { recursive: true });
  await Deno.writeFile(path, bytes);
  return path;
}

/** Where an input is kept: by what is in it. */
export function vectorPath(target: string, bytes: Uint8Array): string {
  return join(VECTORS, target, `crash-${createHash("sha256").update(bytes).digest("hex").slice(0, 12)}`);
}
