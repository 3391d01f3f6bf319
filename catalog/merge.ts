import { type Cell, type Cells, FACTS, UNITS } from "./tables.ts";

/**
 * Joins what two events, or the same event twice, say of one session.
 *
 * Commutative, associative and idempotent, so that events may come in any order and more than once, by any number of gateways,
 * and the row is the same. Each fact is the larger of two, where both are known and differ; what a decision, an opening or an
 * end says stays together, and the better of two stands:
 *
 * - decided: the policy's word before a refusal without it; a denial before an allowance; the earlier
 * - ended: a session's end before an answer, that before a refusal; what a gateway saw itself before what another one
 *   concluded (`gateway_lost`); the earlier
 */
export function mergeSessions(a: Cells, b: Cells): Cells {
  const merged: Cells = { audit_id: a.audit_id ?? null, started_at: smaller(a.started_at, b.started_at) };
  for (const column of FACTS) merged[column] = larger(a[column], b[column]);
  return {
    ...merged,
    ...better(a, b, UNITS.decided, ({ decided_by, allowed, decided_at }) => [
      decided_by === "decision" ? 0 : decided_by === null ? 2 : 1,
      allowed === false ? 0 : 1,
      decided_at ?? "",
    ]),
    ...better(a, b, UNITS.opened, ({ opened_at }) => [opened_at === null ? 1 : 0, opened_at ?? ""]),
    ...better(a, b, UNITS.ended, ({ outcome, end_reason, ended_at }) => [
      outcome === null ? 4 : ["end", "response", "refusal"].indexOf(String(outcome)),
      end_reason === "gateway_lost" ? 1 : 0,
      ended_at ?? "",
    ]),
  };
}

type Rank = readonly (string | number | boolean)[];

/** The unit with the lower rank; between equals, the one whose JSON comes first. */
function better(a: Cells, b: Cells, columns: readonly string[], rankOf: (unit: Cells) => Rank): Cells {
  const [first, second] = [a, b].map((cells) => pick(cells, columns));
  if (!first || !second) throw new TypeError("two rows are compared");
  const order = compare([...rankOf(first), JSON.stringify(first)], [
    ...rankOf(second),
    JSON.stringify(second),
  ]);
  return order <= 0 ? first : second;
}

function pick(cells: Cells, columns: readonly string[]): Cells {
  return Object.fromEntries(columns.map((column) => [column, cells[column] ?? null]));
}

function compare(a: Rank, b: Rank): number {
  for (const [index, value] of a.entries()) {
    const other = b[index] ?? "";
    if (value < other) return -1;
    if (value > other) return 1;
  }
  return 0;
}

function larger(a: Cell | undefined, b: Cell | undefined): Cell {
  if (a === null || a === undefined) return b ?? null;
  if (b === null || b === undefined) return a;
  return a >= b ? a : b;
}

function smaller(a: Cell | undefined, b: Cell | undefined): Cell {
  if (a === null || a === undefined) return b ?? null;
  if (b === null || b === undefined) return a;
  return a <= b ? a : b;
}
