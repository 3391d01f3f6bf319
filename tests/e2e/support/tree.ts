import { join } from "node:path";

/** Files as people have them: names with spaces and umlauts, modes, links, empty folders, one large, many small. */
export async function makeTree(folder: string): Promise<void> {
  for (const path of ["deep/er", "empty", "many"]) await Deno.mkdir(join(folder, path), { recursive: true });
  const files: Record<string, string | Uint8Array> = {
    "plain.txt": "plain\n",
    "with space.txt": "space\n",
    "grüße 🚪.txt": "umlauts\n",
    "nothing": "",
    ".hidden": "hidden\n",
    "deep/er/large.bin": Uint8Array.from(
      { length: 3_000_000 },
      (_, index) => (index * 7 + (index >> 8)) & 0xff,
    ),
  };
  for (let index = 0; index < 40; index++) files[`many/${index}`] = `${index}\n`;
  for (const [path, content] of Object.entries(files)) {
    const bytes = typeof content === "string" ? new TextEncoder().encode(content) : content;
    await Deno.writeFile(join(folder, path), bytes);
  }
  await Deno.writeTextFile(join(folder, "script.sh"), "#!/bin/sh\n", { mode: 0o755 });
  await Deno.chmod(join(folder, "script.sh"), 0o755);
  await Deno.symlink("plain.txt", join(folder, "link"));
  await Deno.symlink("../plain.txt", join(folder, "deep", "up"));
  await Deno.symlink("nowhere", join(folder, "dangling"));
}

/** For `sh -c`: says of each path below a folder what it is, in an order of its own; a file has its mode and SHA-256. */
export const SAY_TREE = `cd "$1" && find . | LC_ALL=C sort | while IFS= read -r path; do
  if [ -L "$path" ]; then echo "$path -> $(readlink "$path")"
  elif [ -d "$path" ]; then echo "$path/"
  else echo "$path $(stat -c %a "$path") $(sha256sum < "$path")"; fi
done`;
