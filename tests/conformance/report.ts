import { type Cell, idOf, type Judged } from "./matrix.ts";

const WORD: Record<Cell["result"], string> = {
  reference: "ok",
  same: "same",
  explained: "differs, as meant",
  differs: "DIFFERS",
  failed: "FAILED",
};

/** A line of the table as it is printed while the rows run. */
export function lineOf({ row, cells, tookMs }: Judged): string {
  const words = [...cells].map(([name, { result }]) => `${name}: ${WORD[result]}`);
  return `${idOf(row)} … ${words.join(", ")} (${Math.round(tookMs)} ms)`;
}

/** What is to be read of cells that are not as they should be. */
export function faultsOf({ cells }: Judged): string[] {
  return [...cells].flatMap(([name, cell]) =>
    cell.result === "differs" || cell.result === "failed"
      ? [`  ${name}:\n    ${cell.difference.replaceAll("\n", "\n    ")}`]
      : []
  );
}
