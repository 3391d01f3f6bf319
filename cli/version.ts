import manifest from "../package.json" with { type: "json" };
import { parseArguments } from "./arguments.ts";
import type { Command } from "./command.ts";

/** `postern version`. */
export const version: Command = {
  words: ["version"],
  usage: "",
  summary: "print the versions of Postern and of its runtime",
  help: "One line each: postern, deno, v8.",
  run(args, output) {
    parseArguments(args, {});
    output.out(`postern ${manifest.version}\ndeno ${Deno.version.deno}\nv8 ${Deno.version.v8}\n`);
    return 0;
  },
};
