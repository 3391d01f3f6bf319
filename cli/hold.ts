import { userInfo } from "node:os";
import { join, relative, resolve, sep } from "node:path";
import {
  type HoldNote,
  type LegalHold,
  listHolds,
  placeHold,
  releaseHold,
} from "../recording/retention/legal_hold.ts";
import { printable, printableJson } from "../recording/printable.ts";
import { FolderStore } from "../recording/sinks/folder.ts";
import { RECORDING_SUFFIX, StoreError } from "../recording/store.ts";
import { parseArguments } from "./arguments.ts";
import { type Command, type Output, UsageError } from "./command.ts";

const CHANGE_OPTIONS = {
  recordings: { type: "string", short: "r" },
  reason: { type: "string" },
  by: { type: "string" },
} as const;

const LIST_OPTIONS = {
  recordings: { type: "string", short: "r" },
  output: { type: "string", short: "o", default: "text" },
} as const;

const CHANGE_HELP = `A recording is named by its session's audit ID, or by its path.

Options:
  -r, --recordings DIR   the folder of the recordings
      --reason TEXT      why; kept with the hold
      --by NAME          who says so; without it, who is logged in

A hold is a file beside the recording, \`<recording>.hold\`: whoever can write there can place and remove it. This command is
for recordings in a folder. In S3, an object of that name holds its recording just so; a legal hold of S3's object lock
protects what is stored from everybody, also where it is deleted from the listing.

Exits with 1 when not everything that was named was `;

/** `postern hold set`. */
export const holdSet: Command = {
  words: ["hold", "set"],
  usage: "AUDITID|PATH… --recordings DIR --reason TEXT [--by NAME]",
  summary: "forbid the deletion of recordings",
  help: `${CHANGE_HELP}found.`,
  run: (args, output) =>
    change(args, output, async (store, recording, note) => {
      const isNew = await placeHold(store, recording, note);
      return isNew ? `held by ${note.by}: ${note.reason}` : "is held already; that hold stays as it is";
    }),
};

/** `postern hold release`. */
export const holdRelease: Command = {
  words: ["hold", "release"],
  usage: "AUDITID|PATH… --recordings DIR --reason TEXT [--by NAME]",
  summary: "allow the deletion of recordings again",
  help: `${CHANGE_HELP}held.`,
  run: (args, output) =>
    change(args, output, async (store, recording, note) => {
      const hold = await releaseHold(store, recording, note);
      if (hold === undefined) throw new StoreError("not_found", "is not held");
      return `released by ${note.by}: ${note.reason} (${was(hold)})`;
    }),
};

/** `postern hold list`. */
export const holdList: Command = {
  words: ["hold", "list"],
  usage: "--recordings DIR [--output text|json]",
  summary: "list the recordings that must not be deleted",
  help: `Options:
  -r, --recordings DIR   the folder of the recordings
  -o, --output FORMAT    text (default), or json: one object on each line`,
  async run(args, output) {
    const { values } = parseArguments(args, LIST_OPTIONS);
    if (values.output !== "text" && values.output !== "json") {
      throw new UsageError(`unknown output format ${JSON.stringify(values.output)}`);
    }
    for await (const hold of listHolds(new FolderStore(await folderOf(values.recordings)))) {
      const line = values.output === "json" ? printableJson(hold) : printable(`${hold.path}: ${was(hold)}`);
      output.out(`${line}\n`);
    }
    return 0;
  },
};

/** Does the same to each recording that is named. @returns the exit code */
async function change(
  args: string[],
  output: Output,
  act: (store: FolderStore, recording: string, note: HoldNote) => Promise<string>,
): Promise<number> {
  const { positionals, values } = parseArguments(args, CHANGE_OPTIONS, ["AUDITID|PATH…"]);
  const folder = await folderOf(values.recordings);
  const reason = values.reason?.trim();
  if (!reason) throw new UsageError("expected --reason: it is kept with the hold");
  const by = values.by?.trim() || whoIsLoggedIn();
  const note = { by, at: new Date().toISOString(), reason };
  const store = new FolderStore(folder);
  let isGood = true;
  for (const { named, path } of await recordingsOf(store, folder, positionals)) {
    try {
      if (path === undefined) throw new StoreError("not_found", "there is no such recording");
      output.out(`${printable(`${path}: ${await act(store, path, note)}`)}\n`);
    } catch (thrown) {
      if (!(thrown instanceof StoreError)) throw thrown;
      isGood = false;
      output.error(`${printable(`postern: ${named}: ${thrown.message}`)}\n`);
    }
  }
  return isGood ? 0 : 1;
}

function whoIsLoggedIn(): string {
  try {
    return userInfo().username;
  } catch (cause) {
    // In a container a user need not have a name, and a process need not be allowed to ask for it.
    throw new UsageError("expected --by: who is logged in cannot be told", { cause });
  }
}

async function folderOf(folder: string | undefined): Promise<string> {
  if (folder === undefined) throw new UsageError("expected --recordings");
  if (!(await Deno.stat(folder)).isDirectory) throw new Error(`${folder} is no folder`);
  return resolve(folder);
}

/** Paths below the store of what is named: a path there, a path of this file system, or an audit ID. */
async function recordingsOf(
  store: FolderStore,
  folder: string,
  names: readonly string[],
): Promise<{ named: string; path: string | undefined }[]> {
  const byId = new Map<string, string>();
  const ids = new Set(names.filter((name) => !name.endsWith(RECORDING_SUFFIX)));
  if (ids.size > 0) {
    for await (const { path } of store.list("")) {
      const [, id] = /([^/]+)\.rec$/.exec(path) ?? [];
      if (id !== undefined && ids.has(id)) byId.set(id, path);
    }
  }
  return names.map((named) => {
    if (ids.has(named)) return { named, path: byId.get(named) };
    const isBelow = resolve(named).startsWith(folder + sep);
    return { named, path: relative(folder, isBelow ? resolve(named) : join(folder, named)) };
  });
}

function was(
  { by = "an unknown person", at = "an unknown time", reason = "no reason is readable" }: LegalHold,
) {
  return `held by ${by} since ${at}: ${reason}`;
}
