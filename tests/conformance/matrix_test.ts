import assert from "node:assert/strict";
import { DeadlineError } from "../e2e/support/wait.ts";
import type { Column } from "./columns.ts";
import { type Explanation, judge, type Row, type Seen } from "./matrix.ts";

const column = (name: Column["name"]): Column => ({ name } as Column); // nothing else is looked at
const columns: [Column, Column] = [column("API server"), column("kubelet mode")];

/** A row that shows this at the API server, one time after the other, and that at the gateway. */
function row(direct: readonly (Seen | Error)[], gateway: Seen | Error, more: Partial<Row> = {}): Row {
  let asked = 0;
  return {
    client: "client",
    command: "command",
    protocol: "protocol",
    observe: ({ name }) => {
      const seen = name === "API server" ? direct[Math.min(asked++, direct.length - 1)]! : gateway;
      return seen instanceof Error ? Promise.reject(seen) : Promise.resolve(seen);
    },
    ...more,
  };
}

const A: Seen = { stdout: "a" };
const B: Seen = { stdout: "b" };
const explains = (
  shows: Explanation["shows"],
): Explanation[] => [{ rows: /command/, kind: "care", why: "because", shows }];

const scenes: readonly {
  name: string;
  row: Row;
  explanations?: readonly Explanation[];
  want: readonly [reference: string, gateway: string];
}[] = [
  { name: "what is the same", row: row([A], A), want: ["reference", "same"] },
  { name: "what differs", row: row([A], B), want: ["reference", "differs"] },
  { name: "what the API server shows at times", row: row([A, A, B], B), want: ["reference", "same"] },
  {
    name: "what the API server shows once too late",
    row: row([A, A, A, A, A, B], B),
    want: ["reference", "differs"],
  },
  { name: "what may be asked once", row: row([A, B], B, { isOnce: true }), want: ["reference", "differs"] },
  {
    name: "a difference that is explained",
    row: row([A], B),
    explanations: explains({ stdout: /^b$/ }),
    want: ["reference", "explained"],
  },
  {
    name: "a difference with an explanation that says something else is shown",
    row: row([A], B),
    explanations: explains({ stdout: /^c$/ }),
    want: ["reference", "differs"],
  },
  {
    name: "a difference of which an explanation says nothing",
    row: row([{ stdout: "a", stderr: "" }], { stdout: "b", stderr: "x" }),
    explanations: explains({ stdout: /^b$/ }),
    want: ["reference", "differs"],
  },
  {
    name: "something that is missing",
    row: row([{ stdout: "a", stderr: "" }], { stdout: "a" }),
    want: ["reference", "differs"],
  },
  {
    name: "both not as claimed",
    row: row([A], A, { directly: { stdout: /b/ } }),
    want: ["failed", "differs"],
  },
  {
    name: "both failed in the same way",
    row: row([new Error("no")], new Error("no")),
    want: ["failed", "differs"],
  },
  { name: "a gateway that hangs", row: row([A], new DeadlineError("late")), want: ["reference", "differs"] },
  {
    name: "an API server that hangs once",
    row: row([new DeadlineError("late"), A], A),
    want: ["reference", "same"],
  },
];

for (const { name, row, explanations = [], want } of scenes) {
  Deno.test(`judge: ${name}`, async () => {
    const { cells } = await judge(row, columns, explanations);
    assert.deepEqual([cells.get("API server")?.result, cells.get("kubelet mode")?.result], want);
  });
}
