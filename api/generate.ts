import { openapiDocument } from "./api.ts";

/** The file that is made from the API's schemas, and what should be in it. */
export function generated(): { url: URL; text: string } {
  return {
    url: new URL("../docs/openapi.json", import.meta.url),
    text: `${JSON.stringify(openapiDocument(), null, 2)}\n`,
  };
}

if (import.meta.main) {
  const { url, text } = generated();
  await Deno.writeTextFile(url, text);
}
