import { jsonSchema } from "./json_schema.ts";
import { reference } from "./reference.ts";

/** The files that are made from the schema, and what should be in them. */
export function generated(): { url: URL; text: string }[] {
  return [
    {
      url: new URL("../deploy/config/gateway_configuration.schema.json", import.meta.url),
      text: `${JSON.stringify(jsonSchema(), null, 2)}\n`,
    },
    { url: new URL("../docs/configuration.md", import.meta.url), text: reference() },
  ];
}

if (import.meta.main) {
  for (const { url, text } of generated()) await Deno.writeTextFile(url, text);
}
