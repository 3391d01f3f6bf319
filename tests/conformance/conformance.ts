/**
 * Plays every client's commands and every edge case of the wire at the API server and through the gateway, and compares.
 *
 *     deno task conformance [--quick] [--bulk BYTES] [--only REGEX] [--jobs N]
 *
 * Ends with 1 where a cell differs and nothing explains it. Needs the test cluster (`deno task cluster up`).
 */

// deno-lint-ignore-file no-console -- a command line program

import { parseArgs } from "node:util";
import { attachRows, onceRows } from "./cases/attach_commands.ts";
import { bulkRows, channelBulkRows } from "./cases/bulk.ts";
import { rowOf } from "./cases/case.ts";
import { execRows } from "./cases/exec_commands.ts";
import { forwardRows, loadRows, nobodyRow } from "./cases/forward_commands.ts";
import { HTTP_CASES } from "./cases/http.ts";
import { kubectlRows } from "./cases/kubectl_commands.ts";
import { PORT_FORWARD_CASES } from "./cases/port_forward.ts";
import { REMOTE_COMMAND_CASES } from "./cases/remote_command.ts";
import { SPDY_CASES } from "./cases/spdy.ts";
import { WEBSOCKET_CASES } from "./cases/websocket.ts";
import { GO_CLIENTS } from "./clients/go_client.ts";
import { KUBECTLS } from "./clients/kubectl.ts";
import { openLibraries } from "./clients/libraries.ts";
import { openColumns } from "./columns.ts";
import { EXPLANATIONS } from "./explanations.ts";
import { idOf, judge, type Judged, type Row } from "./matrix.ts";
import { createPods, deletePods } from "./pods.ts";
import { faultsOf, lineOf } from "./report.ts";

const { values } = parseArgs({
  options: {
    quick: { type: "boolean", default: false },
    bulk: { type: "string" },
    only: { type: "string", default: "" },
    jobs: { type: "string", default: "4" },
    verbose: { type: "boolean", default: false },
  },
});

/** What large streams hold: as little as shows the difference, the usual, and what a release is tried with. */
const bulkBytes = Number(values.bulk ?? (values.quick ? 8_000_000 : 64_000_000));

/** Edge cases, those first that wait for longest. */
const CASES = [
  ...PORT_FORWARD_CASES,
  ...REMOTE_COMMAND_CASES,
  ...WEBSOCKET_CASES,
  ...SPDY_CASES,
  ...HTTP_CASES,
];

Deno.exitCode = await main();

async function main(): Promise<number> {
  const startedAt = performance.now();
  await using columns = await openColumns();
  for (const [name, why] of columns.missing) console.log(`no column ${name}: ${why}`);
  const cluster = columns.all[0].cluster;
  await using libraries = openLibraries(cluster);
  const only = new RegExp(values.only);
  const clients = [...KUBECTLS, ...GO_CLIENTS, libraries.python, libraries.clientNode];
  const rows = [
    ...onceRows([...KUBECTLS.filter(({ name }) => name !== "kubectl 1.32"), ...GO_CLIENTS]),
    ...CASES.map(rowOf),
    ...clients.flatMap((client) => [...execRows(client), ...attachRows(client), ...forwardRows(client)]),
    ...KUBECTLS.flatMap((client) => [...kubectlRows(client), nobodyRow(client)]),
    ...GO_CLIENTS.flatMap(loadRows),
    ...KUBECTLS.filter(({ name }) => name !== "kubectl 1.32").flatMap((client) =>
      bulkRows(client, bulkBytes)
    ),
    ...channelBulkRows(bulkBytes),
  ].filter((row) => only.test(idOf(row)));
  await createPods(cluster, columns.all);
  console.log(
    `${rows.length} rows, ${columns.all.length} columns; ready after ${
      Math.round(performance.now() - startedAt)
    } ms`,
  );
  const judged: Judged[] = [];
  try {
    const run = async (row: Row) => {
      const each = await judge(row, columns.all, EXPLANATIONS);
      judged.push(each);
      const faults = faultsOf(each);
      if (faults.length > 0 || values.verbose) console.log([lineOf(each), ...faults].join("\n"));
    };
    await inPool(rows.filter(({ isHeavy }) => !isHeavy), Number(values.jobs), run);
    await inPool(rows.filter(({ isHeavy }) => isHeavy), 1, run);
  } finally {
    await deletePods(cluster, columns.all);
  }
  const cells = judged.flatMap((each) => [...each.cells.values()]);
  const failed = cells.filter(({ result }) => result === "differs" || result === "failed").length;
  const seconds = Math.round((performance.now() - startedAt) / 1000);
  console.log(
    `${failed > 0 ? "FAILED" : "ok"} | ${cells.length - failed} passed | ${failed} failed (${seconds}s)`,
  );
  return failed > 0 ? 1 : 0;
}

/** Works on all of them, so many at a time. */
async function inPool(rows: readonly Row[], size: number, work: (row: Row) => Promise<void>): Promise<void> {
  const waiting = rows[Symbol.iterator]();
  await Promise.all(Array.from({ length: size }, async () => {
    for (const row of waiting) await work(row);
  }));
}
