import { toYaml } from "../config/effective.ts";
import { API_VERSION, KIND } from "../config/gateway_configuration.ts";
import { loadConfiguration, parseConfiguration } from "../config/load.ts";
import { parseArguments } from "./arguments.ts";
import type { Command } from "./command.ts";

/** `postern config print`: what the gateway would work with. */
export const configPrint: Command = {
  words: ["config", "print"],
  usage: "[--config FILE]",
  summary: "show the effective configuration, every default filled in",
  help: `Options:
  -c, --config FILE   the configuration; without it, the defaults alone

The output is YAML, every path in it absolute, and is itself a configuration.`,
  async run(args, output) {
    const { values } = parseArguments(args, { config: { type: "string", short: "c" } });
    const configuration = values.config === undefined
      ? parseConfiguration(`apiVersion: ${API_VERSION}\nkind: ${KIND}\n`, "defaults")
      : await loadConfiguration(values.config);
    output.out(toYaml(configuration));
    return 0;
  },
};
