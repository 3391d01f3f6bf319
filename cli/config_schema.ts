import { jsonSchema } from "../config/json_schema.ts";
import { parseArguments } from "./arguments.ts";
import type { Command } from "./command.ts";

/** `postern config schema`: the JSON Schema of the configuration. */
export const configSchema: Command = {
  words: ["config", "schema"],
  usage: "",
  summary: "print the JSON Schema of the configuration",
  help: "For editors and for CI: JSON Schema 2020-12, with descriptions, bounds and defaults.",
  run(args, output) {
    parseArguments(args, {});
    output.out(`${JSON.stringify(jsonSchema(), null, 2)}\n`);
    return 0;
  },
};
