import { parseIdentities } from "../recording/format/decrypt_key.ts";

/**
 * Reads identity files, for recordings that are encrypted.
 *
 * @returns `AGE-SECRET-KEY-…`
 * @throws {Error} in one sentence that names the file and says nothing of what is in it
 */
export async function readIdentities(files: readonly string[]): Promise<string[]> {
  const identities: string[] = [];
  for (const file of files) {
    const text = await Deno.readTextFile(file);
    try {
      identities.push(...parseIdentities(text));
    } catch (cause) {
      throw new Error(`${file}: ${cause instanceof Error ? cause.message : cause}`, { cause });
    }
  }
  return identities;
}
