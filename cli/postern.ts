import { ConfigurationError } from "../config/fault.ts";
import { printable } from "../recording/printable.ts";
import { type Command, type Output, UsageError } from "./command.ts";
import { configCheck } from "./config_check.ts";
import { configPrint } from "./config_print.ts";
import { configSchema } from "./config_schema.ts";
import { doctor } from "./doctor.ts";
import { exportCommand } from "./export.ts";
import { holdList, holdRelease, holdSet } from "./hold.ts";
import { indexRebuild } from "./index_rebuild.ts";
import { kubeconfigCommand } from "./kubeconfig.ts";
import { replay } from "./replay.ts";
import { sessionsList } from "./sessions_list.ts";
import { sessionsShow } from "./sessions_show.ts";
import { verify } from "./verify.ts";
import { version } from "./version.ts";

const COMMANDS: readonly Command[] = [
  doctor,
  kubeconfigCommand,
  configCheck,
  configPrint,
  configSchema,
  exportCommand,
  replay,
  verify,
  indexRebuild,
  sessionsList,
  sessionsShow,
  holdSet,
  holdRelease,
  holdList,
  version,
];

/**
 * The `postern` command: finds the command that the first words name, and runs it.
 *
 * @returns the exit code: 0 done, 1 failed or the answer is no, 2 called in a way that has no meaning
 */
export async function postern(args: string[], output: Output): Promise<number> {
  const command = COMMANDS.find(({ words }) => words.every((word, index) => args[index] === word));
  const wantsHelp = args.includes("--help") || args.includes("-h");
  if (!command) {
    if (wantsHelp) return answer(output, overview());
    const called = args.length === 0 ? "nothing" : JSON.stringify(args.slice(0, 2).join(" "));
    output.error(`postern: expected a command, got ${called}\n\n${overview()}`);
    return 2;
  }
  if (wantsHelp) return answer(output, helpOf(command));
  try {
    return await command.run(args.slice(command.words.length), output);
  } catch (error) {
    if (error instanceof UsageError) {
      output.error(`postern: ${error.message}\n${usageOf(command)}\n`);
      return 2;
    }
    // A configuration's faults begin with its file, as a compiler's do, so that editors find the line.
    const message = error instanceof Error ? error.message : String(error);
    output.error(error instanceof ConfigurationError ? `${message}\n` : `postern: ${printable(message)}\n`);
    return 1;
  }
}

function answer(output: Output, text: string): number {
  output.out(text);
  return 0;
}

function usageOf({ words, usage }: Command): string {
  return `Usage: postern ${[...words, usage].join(" ").trim()}`;
}

function helpOf(command: Command): string {
  return `${usageOf(command)}\n\n${command.summary}\n\n${command.help}\n`;
}

function overview(): string {
  const names = COMMANDS.map(({ words }) => words.join(" "));
  const width = Math.max(...names.map((name) => name.length));
  const lines = COMMANDS.map(({ summary }, index) => `  ${(names[index] ?? "").padEnd(width)}   ${summary}`);
  return `Usage: postern COMMAND …, or postern COMMAND --help

Commands:
${lines.join("\n")}

Exit codes: 0 done, 1 failed or the answer is no, 2 called in a way that has no meaning.
`;
}

/** What the command says goes to the streams of this process, whole. */
export const PROCESS_OUTPUT: Output = { out: writer(Deno.stdout), error: writer(Deno.stderr) };

function writer(stream: typeof Deno.stdout): (text: string) => void {
  return (text) => {
    let rest = new TextEncoder().encode(text);
    while (rest.length > 0) rest = rest.subarray(stream.writeSync(rest));
  };
}

if (import.meta.main) Deno.exitCode = await postern(Deno.args, PROCESS_OUTPUT);
