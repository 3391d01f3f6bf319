import type { Row, Series } from "./figures/figure.ts";
import { growthExponent, median } from "./figures/statistics.ts";
import type { Machine } from "./lab/machine.ts";

const HEADINGS = ["figure", "route", "median", "min", "max", "unit", "target"] as const;

/** Columns of numbers, which stand to the right. */
const RIGHT: ReadonlySet<string> = new Set(["median", "min", "max"]);

/** Characters of the longest bar of a plot. */
const BAR_WIDTH = 40;

/** Whether a row keeps its target; `undefined` where it has none. */
export function verdict({ values, target }: Row): boolean | undefined {
  if (target === undefined) return undefined;
  return "atMost" in target ? median(values) <= target.atMost : median(values) >= target.atLeast;
}

/** The table and the plots for a terminal. */
export function asText(rows: readonly Row[], series: readonly Series[]): string {
  const bodies = rows.map(cells);
  const widths = HEADINGS.map((heading, column) =>
    Math.max(heading.length, ...bodies.map((body) => body[column]!.length))
  );
  const line = (body: readonly string[]) =>
    body.map((cell, column) =>
      RIGHT.has(HEADINGS[column]!) ? cell.padStart(widths[column]!) : cell.padEnd(widths[column]!)
    ).join("  ").trimEnd();
  const parts = sections(rows).map(([name, of]) => [`\n${name}`, ...of.map((row) => line(cells(row)))]);
  const plots = series.flatMap((one) => [`\n${title(one)}`, ...plot(one)]);
  return [line(HEADINGS), ...parts.flat(), ...plots].join("\n") + "\n";
}

/** The whole report, as it is kept. */
export function asMarkdown(
  rows: readonly Row[],
  series: readonly Series[],
  machine: Machine,
  remarks: readonly string[],
): string {
  const line = (body: readonly string[]) => `| ${body.join(" | ")} |`;
  const rule = HEADINGS.map((heading) => RIGHT.has(heading) ? "---:" : "---");
  const table = (
    of: readonly Row[],
  ) => ["", line(HEADINGS), line(rule), ...of.map((row) => line(cells(row)))];
  const judged = rows.filter((row) => row.target !== undefined);
  const kept = judged.filter(verdict);
  const grown = [...Map.groupBy(series, ({ section }) => section)].flatMap(([name, of]) => [
    "",
    `## ${name}`,
    ...of.flatMap((one) => ["", title(one), "", "```text", ...plot(one), "```"]),
  ]);
  return [
    "<!-- deno-fmt-ignore-file -->",
    "",
    "# Results of the benchmark",
    "",
    "<!-- Written by `deno task bench`; change nothing here. NOTES.md says what was tried. -->",
    "",
    ...Object.entries(machine).map(([name, value]) => `- ${name}: ${value}`),
    ...remarks.map((remark) => `- ${remark}`),
    "",
    `## Targets: ${kept.length} of ${judged.length} kept`,
    ...table(judged),
    ...sections(rows).flatMap(([name, of]) => ["", `## ${name}`, ...table(of)]),
    ...grown,
    "",
  ].join("\n");
}

function sections(rows: readonly Row[]): [string, Row[]][] {
  return [...Map.groupBy(rows, ({ section }) => section)];
}

function cells(row: Row): string[] {
  const { figure, route, unit, values, target } = row;
  const [least, most] = [Math.min(...values), Math.max(...values)];
  return [
    figure,
    route,
    ...[median(values), least, most].map(number),
    unit,
    told(target, verdict(row)),
  ];
}

function told(target: Row["target"], kept: boolean | undefined): string {
  if (target === undefined) return "";
  const bound = "atMost" in target ? `≤ ${target.atMost}` : `≥ ${target.atLeast}`;
  return `${bound}: ${kept ? "pass" : "MISSED"}`;
}

function title({ work, cost, points }: Series): string {
  const exponent = growthExponent(points);
  return `${cost}, by ${work}: grows as its power of ${number(exponent)} (1 is linear, 0 constant)`;
}

/** A line for each point; both the bar and the work are as they are, not their logarithms. */
function plot({ points }: Series): string[] {
  const most = Math.max(...points.map(({ cost }) => cost));
  const width = Math.max(...points.map(({ work }) => String(work).length));
  return points.map(({ work, cost }) => {
    const bar = "█".repeat(Math.max(1, Math.round(cost / most * BAR_WIDTH)));
    return `${String(work).padStart(width)}  ${bar} ${number(cost)}`;
  });
}

/** Three digits that count, no more: the fourth is noise. */
function number(value: number): string {
  const digits = Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : Math.abs(value) >= 1 ? 2 : 3;
  return value.toFixed(digits);
}
