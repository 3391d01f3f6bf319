import { rebuildPostgresql, type RebuildSources, rebuildSqlite } from "../catalog/rebuild.ts";
import { FolderStore } from "../recording/sinks/folder.ts";
import { parseArguments } from "./arguments.ts";
import { type Command, UsageError } from "./command.ts";
import { INDEX_ARGUMENTS, INDEX_HELP, indexOptions } from "./open_index.ts";
import { visible } from "./visible.ts";

/** Skipped lines that are named one by one; the others are counted. */
const MAX_NAMED = 20;

/** `postern index rebuild`: the index from nothing but the evidence. */
export const indexRebuild: Command = {
  words: ["index", "rebuild"],
  usage: "(--config FILE | --sqlite FILE) --events FILE… [--recordings DIR]",
  summary: "make the index of sessions anew from events and recordings",
  help: `Where the index is:
${INDEX_HELP}

What it is made from:
  --events FILE           a file of events, and those that it was rotated to (FILE.1, FILE.2, …); may be given more than once:
                          those of every gateway that shares the index
  --recordings DIR        the folder of recordings, for sessions whose events are missing

The old index is replaced in one step when the new one is whole, and stays where anything fails. An index in SQLite must not be
in use: stop the gateway first. One in PostgreSQL may be; what gateways write meanwhile is read from the files again.
Lines and recordings that cannot be read are left out and told on the standard error.`,
  async run(args, output) {
    const { values } = parseArguments(args, {
      ...INDEX_ARGUMENTS,
      events: { type: "string", multiple: true },
      recordings: { type: "string" },
    });
    const { events = [], recordings } = values;
    if (events.length === 0) throw new UsageError("expected --events FILE, got nothing");
    const options = await indexOptions(values);
    let skipped = 0;
    const sources: RebuildSources = {
      events,
      ...(recordings !== undefined && { recordings: new FolderStore(recordings) }),
      onSkipped: (message) => {
        if (++skipped <= MAX_NAMED) output.error(`left out: ${visible(message)}\n`);
      },
    };
    const result = options.type === "postgresql"
      ? await rebuildPostgresql(options.postgresql, sources)
      : await rebuildSqlite(options.type === "file" ? options.path : options.sqlite.path, sources);
    output.out(
      `made from ${result.events} events and ${result.recordings} recordings` +
        `${skipped === 0 ? "" : `; ${skipped} could not be read and were left out`}\n`,
    );
    return 0;
  },
};
