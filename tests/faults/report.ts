import { join } from "node:path";
import { run } from "../cluster/processes.ts";
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

/**
 * Writes what was seen into the document. What was not tried this time stays as it is there.
 *
 * @param titles of all faults, in their order
 */
export async function writeFailureModes(
  titles: readonly string[],
  findings: readonly Finding[],
): Promise<void> {
  const before = await Deno.readTextFile(FILE);
  const rows: string[] = [];
  const sections: string[] = [];
  for (const title of titles) {
    const finding = findings.find(({ fault }) => fault.title === title);
    const row = finding === undefined ? rowBefore(before, title) : rowOf(finding);
    const section = finding === undefined ? sectionBefore(before, title) : sectionOf(finding);
    if (row !== undefined) rows.push(row);
    if (section !== undefined) sections.push(section);
  }
  const head = [
    "| what fails | with so many live | live sessions | the reason in their last events | new sessions meanwhile | new sessions work again |",
    "| --- | --- | --- | --- | --- | --- |",
  ];
  await writePart("faults", [...head, ...rows, "", sections.join("\n\n")].join("\n"));
}

function rowBefore(document: string, title: string): string | undefined {
  return document.split("\n").find((line) => line.replace(/^\| /, "").split(" | ")[0]?.trim() === title);
}

function sectionBefore(document: string, title: string): string | undefined {
  const sections = document.split(/^(?=### |<!-- )/m);
  return sections.find((each) => each.startsWith(`### ${title}\n`))?.trimEnd();
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
  await run([Deno.execPath(), "fmt", "--quiet", FILE], { cwd: ROOT });
}

function rowOf({ fault, sessions, meanwhile, reasons, toldAfterMs, recoveredAfterMs }: Finding): string {
  const cells = [
    fault.title,
    String(sessions),
    toldAfterMs === undefined ? "go on" : `end within ${range(toldAfterMs)}`,
    [...reasons.keys()].toSorted().map((reason) => `\`${reason}\``).join(", ") || "none: they go on",
    meanwhile === undefined ? fault.meanwhile ?? "work" : "are refused, with a reason",
    `within ${range(recoveredAfterMs)}`,
  ];
  return `| ${cells.join(" | ")} |`;
}

function sectionOf({ fault, told, meanwhile }: Finding): string {
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
  return lines.join("\n").trimEnd();
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
