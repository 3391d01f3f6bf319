import { safeJson } from "../audit/line.ts";
import { cursorOf, MAX_PAGE } from "../catalog/filter.ts";
import type { SessionRow } from "../catalog/tables.ts";
import { parseArguments } from "./arguments.ts";
import { type Command, UsageError } from "./command.ts";
import { INDEX_ARGUMENTS, INDEX_HELP, withIndex } from "./open_index.ts";
import { FILTER_ARGUMENTS, FILTER_HELP, filterOf } from "./session_filter.ts";
import { fit, table, visible, visibleCommand } from "./visible.ts";

/** Of a command, in a table, in characters. */
const COMMAND_COLUMNS = 60;

/** Of a name, in a table, in characters. */
const NAME_COLUMNS = 40;

/** `postern sessions list`: who was where, when, and what became of it. */
export const sessionsList: Command = {
  words: ["sessions", "list"],
  usage: "(--config FILE | --sqlite FILE) [FILTER…] [--limit N] [--after CURSOR] [--output table|json]",
  summary: "list sessions, the newest first",
  help: `Where the index is:
${INDEX_HELP}

Filters, all of which must hold:
${FILTER_HELP}

Pages:
  --limit N               so many at most, 1 to ${MAX_PAGE}; 50 without it
  --after CURSOR          those behind a page; each page says the cursor of the next one

  -o, --output FORMAT     table (default) or json: one object with sessions, and next where there are more

Control characters of names and commands are shown as \\u001b and the like, and never sent to the terminal.`,
  async run(args, output) {
    const { values } = parseArguments(args, {
      ...INDEX_ARGUMENTS,
      ...FILTER_ARGUMENTS,
      limit: { type: "string", default: "50" },
      after: { type: "string" },
      output: { type: "string", short: "o", default: "table" },
    });
    const { config, sqlite, limit: limitText, after, output: format, ...filter } = values;
    const limit = parseLimit(limitText);
    if (format !== "table" && format !== "json") throw new UsageError("expected --output table or json");
    const wanted = filterOf(filter);
    const sessions = await withIndex({ config, sqlite }, async (catalog) => {
      return await catalog.sessions(wanted, { limit, ...(after !== undefined && { after }) });
    });
    const last = sessions.length === limit ? sessions.at(-1) : undefined;
    const next = last && cursorOf(last);
    if (format === "json") {
      output.out(`${safeJson({ sessions, ...(next !== undefined && { next }) })}\n`);
    } else {
      output.out(table([HEAD, ...sessions.map(rowOf)]));
      if (next !== undefined) output.error(`There may be more: --after ${next}\n`);
    }
    return 0;
  },
};

const HEAD = [
  "STARTED",
  "USER",
  "NAMESPACE/POD",
  "CONTAINER",
  "KIND",
  "OUTCOME",
  "LASTED",
  "AUDIT ID",
  "COMMAND",
];

function rowOf(session: SessionRow): string[] {
  const { startedAt, username, impersonatedUser, namespace, pod, container, kind, durationMs, auditId } =
    session;
  const who = impersonatedUser === undefined ? username ?? "-" : `${impersonatedUser} (${username ?? "-"})`;
  return [
    `${startedAt.slice(0, 19)}Z`,
    name(who),
    name(`${namespace ?? "-"}/${pod ?? "-"}`),
    name(container ?? "-"),
    name(kind ?? "-"),
    name(outcomeOf(session)),
    durationMs === undefined ? "-" : duration(durationMs),
    visible(auditId),
    session.argv === undefined ? "-" : fit(visibleCommand(session.argv), COMMAND_COLUMNS),
  ];
}

function name(text: string): string {
  return fit(visible(text), NAME_COLUMNS);
}

/** What became of a session, in one or two words. */
function outcomeOf({ allowed, outcome, openedAt, endReason, exitCode, code }: SessionRow): string {
  if (allowed === false) return "denied";
  if (outcome === "refusal") return `refused ${code ?? ""}`.trim();
  if (outcome === "response") return `answered ${code ?? ""}`.trim();
  if (outcome === undefined) return openedAt === undefined ? "decided" : "live";
  return exitCode === undefined ? endReason ?? "ended" : `exit ${exitCode}`;
}

/** `0.4s`, `12s`, `3m05s`, `2h07m`. */
function duration(ms: number): string {
  const seconds = Math.round(ms / 1000);
  const two = (value: number) => Math.floor(value).toString().padStart(2, "0");
  if (ms < 9_950) return `${(ms / 1000).toFixed(1)}s`;
  if (seconds < 60) return `${seconds}s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)}m${two(seconds % 60)}s`;
  return `${Math.floor(seconds / 3600)}h${two(seconds % 3600 / 60)}m`;
}

function parseLimit(text: string): number {
  const limit = Number(text);
  if (/^\d+$/.test(text) && limit >= 1 && limit <= MAX_PAGE) return limit;
  throw new UsageError(`expected a whole number from 1 to ${MAX_PAGE} after --limit`);
}
