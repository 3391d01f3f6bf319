/** How much of a file is read at once, in bytes. */
const READ_BYTES = 1024 * 1024;

/** A file's bytes from its first one; never more of it in memory than one piece. Each piece may be kept. */
export async function* readFile(path: string): AsyncGenerator<Uint8Array, void, undefined> {
  using file = await Deno.open(path);
  for (;;) {
    const buffer = new Uint8Array(READ_BYTES);
    const count = await file.read(buffer);
    if (count === null) return;
    yield buffer.subarray(0, count);
  }
}
