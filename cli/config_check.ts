import { loadConfiguration } from "../config/load.ts";
import { parseArguments } from "./arguments.ts";
import type { Command } from "./command.ts";

/** `postern config check`: whether the gateway would start with a file. */
export const configCheck: Command = {
  words: ["config", "check"],
  usage: "FILE",
  summary: "check a configuration file, and name every fault in it",
  help:
    `Reads FILE as the gateway does when it starts. The files and addresses that it names are not looked at.
Exits with 1 when there are faults, which are written to the standard error, one per line.`,
  async run(args, output) {
    const { positionals } = parseArguments(args, {}, ["FILE"]);
    const [file = ""] = positionals;
    await loadConfiguration(file);
    output.out(`${file}: no faults\n`);
    return 0;
  },
};
