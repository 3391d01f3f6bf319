import { DeadlineError } from "../e2e/support/wait.ts";
import type { Column } from "./columns.ts";

/** What a run showed, by the name of what was looked at: exit code, an output, an answer, an effect. Volatile parts are masked. */
export type Seen = Readonly<Record<string, string>>;

/** What is claimed of a {@linkcode Seen}, for some of its names. */
export type Claims = Readonly<Record<string, RegExp>>;

/** One client doing one thing by one protocol: the same at every column. */
export interface Row {
  client: string;
  command: string;
  protocol: string;
  /** Of the edge case in the protocols' reference, e.g. `E-57`. */
  number?: string;
  /** Where it needs more words than the command: what stands, what is done, what must be seen. */
  story?: Story;
  observe(at: Column): Promise<Seen>;
  /** What the API server itself must show: so that no cell is the same because both are broken. */
  directly?: Claims;
  /** Runs alone, after all others: it takes the whole machine. */
  isHeavy?: boolean;
  /** Can be done once at each column: the API server gets no further chances. */
  isOnce?: boolean;
}

/** An edge case in three sentences. */
export interface Story {
  given: string;
  when: string;
  then: string;
}

/** Why a cell may differ, and what it must show instead. */
export interface Explanation {
  /** Matches {@linkcode idOf} of the rows it is about. */
  rows: RegExp;
  /** Names of the columns it is about. @default both of the gateway's */
  columns?: readonly string[];
  kind: "policy" | "legacy" | "hang" | "strict" | "care";
  why: string;
  /** What may differ, and what the gateway shows there. What is not there is empty. */
  shows: Claims;
}

/** The outcome of one row at one column. */
export type Cell =
  | { result: "reference" | "same" }
  | { result: "explained"; explanation: Explanation; difference: string }
  | { result: "differs" | "failed"; difference: string };

/** A row with its cells, by the columns' names. */
export interface Judged {
  row: Row;
  cells: Map<string, Cell>;
  /** What each column showed, the reference first. */
  seen: readonly Seen[];
  tookMs: number;
}

const ENDLESS = "does not end";
const FAILED = "the test itself failed";

/** How often the API server is asked again where something differs: what it shows varies more than one would think. */
const DIRECT_RETRIES = 4;

/** Names a row: what explanations, filters and reports know it by. */
export function idOf({ number, client, command, protocol }: Row): string {
  return [...(number === undefined ? [] : [number]), client, command, protocol].join(" | ");
}

/**
 * Runs a row at every column, all at once, and compares. The first column is the reference. It gets further chances: what the
 * gateway shows must be something that the API server shows too, which has races of its own. The gateway gets one.
 */
export async function judge(
  row: Row,
  columns: readonly [Column, ...Column[]],
  explanations: readonly Explanation[],
): Promise<Judged> {
  const startedAt = performance.now();
  const [reference, ...gateways] = columns;
  const retries = row.isOnce ? 0 : DIRECT_RETRIES;
  const [direct, ...through] = await Promise.all([
    attempt(row, reference),
    ...gateways.map((each) => attempt(row, each)),
  ]);
  const references = [direct];
  const cells = new Map<string, Cell>([[reference.name, { result: "reference" }]]);

  for (const [index, column] of gateways.entries()) {
    const seen = through[index]!;
    const judged = () => judgeCell(row, column, references, seen, explanations);
    for (let retry = 0; retry < retries && judged().result === "differs"; retry++) {
      references.push(await attempt(row, reference));
    }
    cells.set(column.name, judged());
  }
  const faults = references.map((each) => claimFault(row, each));
  if (!faults.includes("")) cells.set(reference.name, { result: "failed", difference: faults[0]! });
  return { row, cells, seen: [direct, ...through], tookMs: performance.now() - startedAt };
}

function judgeCell(
  row: Row,
  column: Column,
  references: readonly Seen[],
  seen: Seen,
  explanations: readonly Explanation[],
): Cell {
  const valid = references.filter((each) => claimFault(row, each) === "");
  if (faultOf(seen) === "" && valid.some((each) => differences(each, seen).length === 0)) {
    return { result: "same" };
  }
  const [reference] = valid.length > 0 ? valid : references;
  const difference = describe(reference!, seen);
  const names = differences(reference!, seen);
  const explanation = explanations.find(({ rows, columns, shows }) =>
    rows.test(idOf(row)) && (columns === undefined || columns.includes(column.name)) &&
    names.every((name) => shows[name]?.test(seen[name] ?? ""))
  );
  if (explanation !== undefined) return { result: "explained", explanation, difference };
  // Two that fail in the same way are not the same in anything that matters.
  return { result: "differs", difference: difference || faultOf(seen) };
}

async function attempt(row: Row, column: Column): Promise<Seen> {
  try {
    return await row.observe(column);
  } catch (error) {
    if (error instanceof DeadlineError) return { [ENDLESS]: error.message.split("\n", 1)[0]! };
    return { [FAILED]: error instanceof Error ? error.stack ?? error.message : String(error) };
  }
}

function claimFault(row: Row, seen: Seen): string {
  if (faultOf(seen) !== "") return faultOf(seen);
  const names = unmet(row.directly ?? {}, seen);
  return names.map((name) => `${name}: not ${row.directly?.[name]}: ${JSON.stringify(seen[name])}`).join(
    "\n",
  );
}

function unmet(claims: Claims, seen: Seen): string[] {
  return Object.entries(claims).filter(([name, claim]) => !claim.test(seen[name] ?? "")).map(([name]) =>
    name
  );
}

/** The names whose values are not the same. */
export function differences(reference: Seen, seen: Seen): string[] {
  const names = new Set([...Object.keys(reference), ...Object.keys(seen)]);
  return [...names].filter((name) => reference[name] !== seen[name]);
}

function describe(reference: Seen, seen: Seen): string {
  return differences(reference, seen)
    .map((name) => `${name}: directly ${quote(reference[name])}, here ${quote(seen[name])}`).join("\n");
}

/** What kept a run from showing anything; empty where nothing did. */
function faultOf(seen: Seen): string {
  const names = Object.keys(seen).filter((name) => name === FAILED || name === ENDLESS);
  return names.map((name) => `${name}: ${seen[name]}`).join("\n");
}

function quote(value: string | undefined): string {
  if (value === undefined) return "nothing";
  return JSON.stringify(value.length > 600 ? `${value.slice(0, 600)}…` : value);
}
