import { join } from "node:path";
import { ROOT } from "../e2e/support/cluster.ts";
import type { Finding } from "./fault.ts";
import { general } from "./fault.ts";

const FILE = join(ROOT, "docs", "failure-modes.md");

/** Upper ends of the ranges that times are told in, in seconds: what one run measures, the next should find again. */
const RANGES = [1, 2, 5, 10, 20, 30, 60];

/** One line for the terminal. */
export function lineOf({ fault, sessions, reasons, toldAfterMs, recoveredAfterMs }: Finding): string {
  const ends = [...reasons].toSorted().map(([reason, count]) => `${count} ${reason}`).join(", ");
  const live = toldAfterMs === undefined
    ? `${sessions} sessions go on`
    : `${ends} after ${seconds(toldAfterMs)}`;
  return `${fault.title}: ${live}; new ones after ${seconds(recoveredAfterMs)} ... ok`;
}

/** Writes what was seen into the document, and leaves the rest of it as it is. */
export async function writeFailureModes(findings: readonly Finding[]): Promise<void> {
  const [first] = findings;
  if (first === undefined) return;
  const summary = [
    `${first.sessions} sessions of every kind were live each time.`,
    "",
    "| what fails | live sessions | the reason in their last events | new sessions meanwhile | new sessions work again |",
    "| --- | --- | --- | --- | --- |",
    ...findings.map(rowOf),
    "",
    ...findings.flatMap(detailsOf),
  ];
  await writePart("faults", summary.join("\n").trimEnd());
}

/** Replaces what stands between the marks of this part. */
export async function writePart(name: string, text: string): Promise<void> {
  const [begin, end] = [`<!-- ${name}: written by the run -->`, `<!-- ${name}: end -->`];
  const document = await Deno.readTextFile(FILE);
  const [from, to] = [document.indexOf(begin), document.indexOf(end)];
  if (from < 0 || to < from) throw new Error(`docs/failure-modes.md has no place for ${name}`);
  await Deno.writeTextFile(
    FILE,
    `${document.slice(0, from)}${begin}\n\n${text}\n\n${document.slice(to)}`,
  );
}

function rowOf({ fault, meanwhile, reasons, toldAfterMs, recoveredAfterMs }: Finding): string {
  const cells = [
    fault.title,
    toldAfterMs === undefined ? "go on" : `end within ${range(toldAfterMs)}`,
    [...reasons.keys()].toSorted().map((reason) => `\`${reason}\``).join(", ") || "none: they go on",
    meanwhile === undefined ? fault.meanwhile ?? "work" : "are refused, with a reason",
    `within ${range(recoveredAfterMs)}`,
  ];
  return `| ${cells.join(" | ")} |`;
}

function detailsOf({ fault, told, meanwhile }: Finding): string[] {
  const lines = [`### ${fault.title}`, "", fault.how, ""];
  const byText = [...told].toSorted(([a], [b]) => a < b ? -1 : 1);
  if (byText.length > 0) {
    lines.push("Clients of live sessions are told:", "");
    for (const [said, kinds] of byText) lines.push(`- ${quoted(said)}: ${[...kinds].toSorted().join(", ")}`);
    lines.push("");
  }
  if (meanwhile !== undefined) {
    lines.push("A client that opens a session meanwhile is told:", "", `- ${quoted(general(meanwhile))}`, "");
  }
  return lines;
}

function quoted(said: string): string {
  return said === "" ? "nothing; it ends as if all were well" : `\`${said.replaceAll("`", "'")}\``;
}

/** "2 s": the upper end of the range that a time lies in. */
function range(ms: number): string {
  const upper = RANGES.find((each) => ms <= each * 1000);
  return upper === undefined ? `${Math.ceil(ms / 60_000)} min` : `${upper} s`;
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`;
}
