import { safeJson } from "../audit/line.ts";
import type { SessionDetail } from "../catalog/tables.ts";
import { parseArguments } from "./arguments.ts";
import { type Command, UsageError } from "./command.ts";
import { INDEX_ARGUMENTS, INDEX_HELP, withIndex } from "./open_index.ts";
import { table, visible, visibleCommand } from "./visible.ts";

/** `postern sessions show`: all that the index has of one session. */
export const sessionsShow: Command = {
  words: ["sessions", "show"],
  usage: "(--config FILE | --sqlite FILE) [--output text|json] AUDIT-ID",
  summary: "show one session with its decisions, streams and connections",
  help: `Where the index is:
${INDEX_HELP}

  -o, --output FORMAT     text (default) or json

Exits with 1 where the index knows no such session. Control characters are shown as \\u001b and the like, and never sent
to the terminal.`,
  async run(args, output) {
    const { values, positionals } = parseArguments(args, {
      ...INDEX_ARGUMENTS,
      output: { type: "string", short: "o", default: "text" },
    }, ["AUDIT-ID"]);
    const { output: format } = values;
    if (format !== "text" && format !== "json") throw new UsageError("expected --output text or json");
    const [auditId = ""] = positionals;
    const session = await withIndex(values, (catalog) => catalog.session(auditId));
    if (!session) {
      output.error(`postern: the index knows no session ${visible(auditId)}\n`);
      return 1;
    }
    output.out(format === "json" ? `${safeJson(session)}\n` : textOf(session));
    return 0;
  },
};

function textOf({ decisions, streams, connections, more, argv, ...facts }: SessionDetail): string {
  const lines = Object.entries(facts).map(([key, value]) => [
    key,
    cellOf(value),
  ]);
  if (argv !== undefined) lines.push(["argv", visibleCommand(argv)]);
  return [
    table(lines),
    section("Decisions", decisions),
    section("Streams", streams),
    section("Connections", connections),
    ...(more ? ["\nThere are more streams or connections than these.\n"] : []),
  ].join("");
}

/** Rows under their keys; those that no row has are left out. */
function section(title: string, rows: readonly Readonly<Record<string, unknown>>[]): string {
  if (rows.length === 0) return "";
  const keys = [...new Set(rows.flatMap((row) => Object.keys(row)))];
  const cells = rows.map((row) => keys.map((key) => cellOf(row[key])));
  return `\n${title}\n${table([keys, ...cells])}`;
}

function cellOf(value: unknown): string {
  const text = Array.isArray(value) ? value.join(" ") : String(value ?? "");
  return text === "" ? "-" : visible(text);
}
