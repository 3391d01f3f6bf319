import type { Row } from "./figures/figure.ts";
import { median } from "./figures/statistics.ts";
import type { Machine } from "./lab/machine.ts";

const HEADINGS = ["figure", "route", "median", "min", "max", "unit", "ratio (min to max)", "target"] as const;

/** Columns of numbers, which stand to the right. */
const RIGHT: ReadonlySet<string> = new Set(["median", "min", "max"]);

/** Whether a row keeps its target; `undefined` where it has none. */
export function verdict({ values, target }: Row): boolean | undefined {
  if (target === undefined) return undefined;
  return "below" in target ? median(values) < target.below : median(values) >= target.atLeast;
}

/** The table for a terminal. */
export function asText(rows: readonly Row[]): string {
  const bodies = rows.map(cells);
  const widths = HEADINGS.map((heading, column) =>
    Math.max(heading.length, ...bodies.map((body) => body[column]!.length))
  );
  const line = (body: readonly string[]) =>
    body.map((cell, column) =>
      RIGHT.has(HEADINGS[column]!) ? cell.padStart(widths[column]!) : cell.padEnd(widths[column]!)
    ).join("  ").trimEnd();
  const parts = sections(rows).map(([name, of]) => [`\n${name}`, ...of.map((row) => line(cells(row)))]);
  return [line(HEADINGS), ...parts.flat()].join("\n") + "\n";
}

/** The whole report, as it is kept. */
export function asMarkdown(rows: readonly Row[], machine: Machine, remarks: readonly string[]): string {
  const line = (body: readonly string[]) => `| ${body.join(" | ")} |`;
  const rule = HEADINGS.map((heading) => RIGHT.has(heading) ? "---:" : "---");
  const parts = sections(rows).map((
    [name, of],
  ) => ["", `## ${name}`, "", line(HEADINGS), line(rule), ...of.map((row) => line(cells(row)))]);
  return [
    "<!-- deno-fmt-ignore-file -->",
    "",
    "# Results of the benchmark",
    "",
    "<!-- Written by `deno task bench`; change nothing here. NOTES.md says what was tried. -->",
    "",
    ...Object.entries(machine).map(([name, value]) => `- ${name}: ${value}`),
    ...remarks.map((remark) => `- ${remark}`),
    ...parts.flat(),
    "",
  ].join("\n");
}

function sections(rows: readonly Row[]): [string, Row[]][] {
  return [...Map.groupBy(rows, ({ section }) => section)];
}

function cells(row: Row): string[] {
  const { figure, route, unit, values, ratio, target } = row;
  const ratios = ratio === undefined
    ? ""
    : `${number(median(ratio.values))} × ${ratio.to} (${range(ratio.values)})`;
  const [least, most] = [Math.min(...values), Math.max(...values)];
  return [
    figure,
    route,
    ...[median(values), least, most].map(number),
    unit,
    ratios,
    told(target, verdict(row)),
  ];
}

function told(target: Row["target"], kept: boolean | undefined): string {
  if (target === undefined) return "";
  const bound = "below" in target ? `< ${target.below}` : `≥ ${target.atLeast}`;
  return `${bound}: ${kept ? "pass" : "FAIL"}`;
}

function range(values: readonly number[]): string {
  return `${number(Math.min(...values))} to ${number(Math.max(...values))}`;
}

/** Three digits that count, no more: the fourth is noise. */
function number(value: number): string {
  const digits = Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : Math.abs(value) >= 1 ? 2 : 3;
  return value.toFixed(digits);
}
