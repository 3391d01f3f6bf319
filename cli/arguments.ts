import { parseArgs, type ParseArgsConfig } from "node:util";
import { UsageError } from "./command.ts";

/**
 * Parses a command's arguments by `node:util` parseArgs, strictly.
 *
 * @param positionals names of the arguments that must be there, e.g. `["FILE"]`; of the last, any number where it ends in `…`
 * @throws {UsageError} on unknown options, missing values, and too many or too few arguments
 */
export function parseArguments<const Options extends NonNullable<ParseArgsConfig["options"]>>(
  args: string[],
  options: Options,
  positionals: readonly string[] = [],
) {
  const parsed = parse(args, options);
  const missing = positionals[parsed.positionals.length];
  if (missing !== undefined) throw new UsageError(`expected ${missing}, got nothing`);
  const surplus = positionals.at(-1)?.endsWith("…") ? undefined : parsed.positionals[positionals.length];
  if (surplus !== undefined) throw new UsageError(`expected nothing more, got ${JSON.stringify(surplus)}`);
  return parsed;
}

function parse<const Options extends NonNullable<ParseArgsConfig["options"]>>(
  args: string[],
  options: Options,
) {
  try {
    return parseArgs({ args, options, allowPositionals: true, strict: true });
  } catch (error) {
    // Node's sentences name the option; what follows the first one is advice about "--".
    throw new UsageError(error instanceof Error ? error.message.split(". ")[0] : String(error), {
      cause: error,
    });
  }
}
