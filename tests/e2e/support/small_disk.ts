/** A file system of its own that a test may fill. Mounting takes root, as the cluster does. */
export class SmallDisk implements AsyncDisposable {
  private constructor(readonly folder: string) {}

  static async mount(bytes: number): Promise<SmallDisk> {
    const folder = await Deno.makeTempDir({ prefix: "postern-e2e-disk-" });
    await run("mount", "-t", "tmpfs", "-o", `size=${bytes}`, "postern-e2e", folder);
    return new SmallDisk(folder);
  }

  /** Writes a file until there is no room for another byte. */
  async fill(path: string): Promise<void> {
    using file = await Deno.open(path, { write: true, createNew: true });
    const block = new Uint8Array(4096);
    try {
      for (;;) await file.write(block);
    } catch { /* full */ }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await run("umount", this.folder);
    await Deno.remove(this.folder);
  }
}

async function run(command: string, ...args: string[]): Promise<void> {
  const { success, stderr } = await new Deno.Command(command, { args, stdout: "null" }).output();
  if (!success) throw new Error(`${command}: ${new TextDecoder().decode(stderr)}`);
}
