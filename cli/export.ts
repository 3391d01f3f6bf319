import { AsciicastExporter } from "../recording/export/asciicast.ts";
import type { Exporter } from "../recording/export/exporter.ts";
import { JsonExporter } from "../recording/export/json.ts";
import { RawExporter } from "../recording/export/raw.ts";
import { TextExporter } from "../recording/export/text.ts";
import { printable } from "../recording/printable.ts";
import { readRecording } from "../recording/format/read_recording.ts";
import { parseArguments } from "./arguments.ts";
import { type Command, UsageError } from "./command.ts";
import { readIdentities } from "./identity.ts";
import { readFile } from "./read_file.ts";

const OPTIONS = {
  format: { type: "string", short: "f" },
  stream: { type: "string", multiple: true },
  direction: { type: "string" },
  output: { type: "string", short: "o" },
  identity: { type: "string", multiple: true },
} as const;

/** `postern export`: a recording in a format that other programs read. */
export const exportCommand: Command = {
  words: ["export"],
  usage:
    "FILE --format asciicast|asciicast-v3|text|json|raw [--stream NAME] [--output FILE] [--identity FILE]",
  summary: "write a recording as asciicast, text, JSON or the bytes of one stream",
  help: `Formats:
  asciicast      what asciinema's player plays, version 2; stdout and stderr, and stdin where it was recorded
  asciicast-v3   the same, version 3, with the exit code
  text           stdout and stderr as plain text: colours and cursor movements left out, other control characters
                 made visible
  json           everything, one JSON object for each event, bytes in base64
  raw            the bytes of one stream, exactly; compared with the number on record

Options:
  -f, --format FORMAT   as above
      --stream NAME     which stream, for text (may be repeated) and raw: stdin, stdout, stderr, error, resize, data:PORT,
                        or its number where several have that name
      --direction WAY   which way of the stream, for raw: in (towards the pod) or out
  -o, --output FILE     a new file; without it, the standard output
      --identity FILE   an age identity, for recordings that are encrypted

Of a recording that is cut or was changed, what stands before that place is exported. What was exported is what was written;
who wrote it, \`postern verify\` tells. Exits with 1 when the recording has no end, or what was asked for is not in it.`,
  async run(args, output) {
    const { positionals, values } = parseArguments(args, OPTIONS, ["FILE"]);
    const [file = ""] = positionals;
    const { format, stream = [], direction, identity = [] } = values;
    const exporter = exporterOf({ format, stream, direction });
    if (format === "raw" && values.output === undefined && Deno.stdout.isTerminal()) {
      throw new UsageError("a terminal would execute the bytes: use --output, or postern replay");
    }
    const { header, events } = await readRecording(() => readFile(file), await readIdentities(identity));
    if (header.kind === "portforward" && format !== "json" && format !== "raw") {
      throw new Error("a port-forward has no terminal: export it as json or raw");
    }
    const isWhole = await withFile(values.output, (target) => write(events(), exporter, target));
    if (!isWhole) {
      output.error(`postern: ${printable(file)} has no end: it was exported as far as it goes\n`);
    }
    return isWhole ? 0 : 1;
  },
};

function exporterOf(
  { format, stream, direction }: { format?: string; stream: string[]; direction?: string },
): Exporter {
  if (format !== "text" && format !== "raw" && stream.length > 0) {
    throw new UsageError("--stream goes with --format text or raw");
  }
  if (direction !== undefined && (format !== "raw" || (direction !== "in" && direction !== "out"))) {
    throw new UsageError("--direction in or out goes with --format raw");
  }
  switch (format) {
    case "asciicast":
      return new AsciicastExporter(2);
    case "asciicast-v3":
      return new AsciicastExporter(3);
    case "text":
      return new TextExporter(stream.length > 0 ? stream : undefined);
    case "json":
      return new JsonExporter();
    case "raw": {
      const [name = "stdout", ...more] = stream;
      if (more.length > 0) throw new UsageError("--format raw is of one --stream");
      return new RawExporter({
        stream: /^\d+$/.test(name) ? Number(name) : name,
        ...(direction !== undefined && { direction: direction === "in" ? "in" : "out" }),
      });
    }
    case undefined:
      throw new UsageError("expected --format");
    default:
      throw new UsageError(`unknown format ${JSON.stringify(format)}`);
  }
}

/** @returns whether the recording has an end */
async function write(
  events: ReturnType<Awaited<ReturnType<typeof readRecording>>["events"]>,
  exporter: Exporter,
  target: Deno.FsFile | typeof Deno.stdout,
): Promise<boolean> {
  let isWhole = false;
  try {
    for await (const event of events) {
      isWhole = event.type === "trailer";
      await writeAll(target, exporter.push(event));
    }
  } catch (broken) {
    // What is wrong with the recording is told, rather than what is therefore missing.
    await writeAll(target, exporter.end()).catch(() => {});
    throw broken;
  }
  await writeAll(target, exporter.end());
  return isWhole;
}

async function writeAll(
  target: Deno.FsFile | typeof Deno.stdout,
  pieces: Iterable<Uint8Array>,
): Promise<void> {
  for (let rest of pieces) {
    while (rest.length > 0) rest = rest.subarray(await target.write(rest));
  }
}

/** A new file, that its owner alone may read: nothing is written over. */
async function withFile<T>(
  path: string | undefined,
  use: (target: Deno.FsFile | typeof Deno.stdout) => Promise<T>,
): Promise<T> {
  if (path === undefined) return await use(Deno.stdout);
  using file = await Deno.open(path, { write: true, createNew: true, mode: 0o600 });
  return await use(file);
}
