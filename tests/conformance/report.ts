import { type Cell, type Explanation, idOf, type Judged, type Row } from "./matrix.ts";
import { LEFT_OUT } from "./left_out.ts";

/** What was run. */
export interface Run {
  /** Names of the columns, the reference first. */
  columns: readonly string[];
  judged: readonly Judged[];
  /** What large streams held, in bytes. */
  bulkBytes: number;
}

const WORD: Record<Cell["result"], string> = {
  reference: "as said",
  same: "same",
  explained: "differs",
  differs: "**differs, unexplained**",
  failed: "**not as said**",
};

/** A line as it is printed while the rows run. */
export function lineOf({ row, cells, tookMs }: Judged): string {
  const words = [...cells].map(([name, { result }]) => `${name}: ${WORD[result].replaceAll("*", "")}`);
  return `${idOf(row)} … ${words.join(", ")} (${Math.round(tookMs)} ms)`;
}

/** What is to be read of cells that are not as they should be. */
export function faultsOf({ cells }: Judged): string[] {
  return [...cells].flatMap(([name, cell]) =>
    isFault(cell) ? [`  ${name}:\n    ${cell.difference.replaceAll("\n", "\n    ")}`] : []
  );
}

/** Whether a cell fails the run. */
export function isFault(cell: Cell): cell is Extract<Cell, { result: "differs" | "failed" }> {
  return cell.result === "differs" || cell.result === "failed";
}

/** The whole matrix as Markdown. */
export function markdown({ columns, judged, bulkBytes }: Run): string {
  const explanations = explanationsIn(judged);
  const [edgeCases, commands] = [judged.filter(isEdgeCase), judged.filter((each) => !isEdgeCase(each))];
  const table = (rows: readonly Judged[], heads: readonly string[], fields: (row: Row) => string[]) => [
    line([...heads, ...columns]),
    line([...heads, ...columns].map(() => "---")),
    ...rows.map(({ row, cells }) =>
      line([...fields(row), ...columns.map((name) => cellText(cells.get(name), explanations))])
    ),
  ];
  return [
    "# Conformance",
    "",
    "Every client's commands and every edge case of the wire, played at a real API server and kubelet and through the gateway. Written by",
    "`deno task conformance`, which fails where a cell differs and nothing here says why.",
    "",
    summary(columns, judged),
    "",
    "`as said`: the API server does what the row says it does. `same`: exit code, outputs, effects and, for the raw client, the whole",
    "answer with every frame after it are the same as there, but for ids, times and addresses. Where something differs on purpose,",
    "the number leads to the reason; a difference beyond what is said there fails.",
    "The API server is asked up to five times, for it has races of its own; the gateway once.",
    "",
    `Streams said to go there and back held ${bulkBytes.toLocaleString("en")} bytes here.`,
    "",
    "## Where the gateway differs, and why",
    "",
    ...explanations.map(({ kind, why }, index) => `${index + 1}. **${KIND[kind]}** ${why}`),
    "",
    "## Commands, by client and protocol",
    "",
    ...table(
      commands,
      ["client", "protocol", "command"],
      ({ client, protocol, command }) => [client, protocol, command],
    ),
    "",
    "## Edge cases, byte by byte",
    "",
    "By a client that sends exactly these bytes. The numbers are those of the project's reference of the protocols; rows without one",
    "are further cases.",
    "",
    ...table(edgeCases, ["number", "protocol", "given, when, then"], (row) => [
      row.number ?? "",
      row.protocol,
      row.story === undefined
        ? row.command
        : `${row.command}. Given ${row.story.given}; when ${row.story.when}; then ${row.story.then}.`,
    ]),
    "",
    "## Edge cases that are no rows",
    "",
    ...LEFT_OUT.map(({ numbers, why, instead }) => {
      const tests = instead.length === 0 ? "" : ` See ${instead.map((path) => `\`${path}\``).join(", ")}.`;
      return `- ${numbers.join(", ")}: ${why}${tests}`;
    }),
    "",
  ].join("\n");
}

const KIND: Record<Explanation["kind"], string> = {
  policy: "Policy.",
  legacy: "Older paths.",
  hang: "No silence.",
  strict: "Strictness.",
  care: "Care.",
};

/** In the order in which they first apply. */
function explanationsIn(judged: readonly Judged[]): Explanation[] {
  const cells = judged.flatMap((each) => [...each.cells.values()]);
  return [...new Set(cells.flatMap((cell) => cell.result === "explained" ? [cell.explanation] : []))];
}

function summary(columns: readonly string[], judged: readonly Judged[]): string {
  const count = (name: string, result: Cell["result"]) =>
    judged.filter(({ cells }) => cells.get(name)?.result === result).length;
  const sentences = columns.slice(1).map((name) =>
    `In ${name} ${count(name, "same")} of ${judged.length} rows are the same, ${
      count(name, "explained")
    } differ as explained, ` +
    `${judged.filter(({ cells }) => isFault(cells.get(name)!)).length} without explanation.`
  );
  return sentences.join(" ");
}

function isEdgeCase({ row }: Judged): boolean {
  return row.story !== undefined;
}

function cellText(cell: Cell | undefined, explanations: readonly Explanation[]): string {
  if (cell === undefined) return "not run";
  return cell.result === "explained"
    ? `differs (${explanations.indexOf(cell.explanation) + 1})`
    : WORD[cell.result];
}

function line(cells: readonly string[]): string {
  return `| ${cells.map((cell) => cell.replaceAll("|", "\\|").replaceAll("\n", " ")).join(" | ")} |`;
}
