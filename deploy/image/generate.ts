import { containerfile } from "./containerfile.ts";
import { describeImage } from "./image_config.ts";

const ROOT = new URL("../../", import.meta.url);

/** The file that is made from package.json and deno.json, and what should be in it. */
export async function generated(): Promise<{ url: URL; text: string }> {
  const read = (name: string) => Deno.readTextFile(new URL(name, ROOT));
  const described = describeImage(await read("package.json"), await read("deno.json"), undefined);
  return { url: new URL("Containerfile", ROOT), text: containerfile(described) };
}

if (import.meta.main) {
  const { url, text } = await generated();
  await Deno.writeTextFile(url, text);
}
