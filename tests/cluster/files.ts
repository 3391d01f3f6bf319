/** Files, where Deno's own call leaves something to say. */

/** Writes a file that only its owner may read, even where it was there before with another mode. */
export async function writeSecret(path: string, text: string): Promise<void> {
  await Deno.writeTextFile(path, text, { mode: 0o600 });
  await Deno.chmod(path, 0o600);
}

/** Removes a file or a folder with all in it; one that is not there is as good. */
export async function removeIfThere(path: string): Promise<void> {
  try {
    await Deno.remove(path, { recursive: true });
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}
