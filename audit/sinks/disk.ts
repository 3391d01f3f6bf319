/** Makes the names of new files in a folder as durable as the files. */
export async function syncFolder(path: string): Promise<void> {
  using folder = await Deno.open(path);
  await folder.sync();
}

/** Whether an open file still is what its name leads to: what is written to one without a name is lost. */
export async function hasName(file: Deno.FsFile, path: string): Promise<boolean> {
  const named = await statOrNothing(path);
  const opened = await file.stat();
  return named !== undefined && named.ino === opened.ino && named.dev === opened.dev;
}

/** What is there, if anything is. */
export async function statOrNothing(path: string): Promise<Deno.FileInfo | undefined> {
  try {
    return await Deno.stat(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}
