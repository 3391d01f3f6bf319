/**
 * Plays every client's commands and every edge case of the wire at the API server and through the gateway, and compares.
 *
 *     deno task conformance [--quick] [--bulk BYTES] [--only REGEX] [--jobs N] [--verbose] [--show]
 *
 * Prints one table, and ends with 1 where a cell differs and nothing explains it. All of it is written to docs/conformance.md, but
 * not with `--quick`, which has smaller streams. Needs the test cluster (`deno task cluster up`).
 */

// deno-lint-ignore-file no-console -- a command line program

import { join } from "node:path";
import { parseArgs } from "node:util";
import { ROOT, runningCluster } from "../e2e/support/cluster.ts";
import { allCases } from "./cases/all_cases.ts";
import { attachRows, onceRows } from "./cases/attach_commands.ts";
import { bulkRows, channelBulkRows } from "./cases/bulk.ts";
import { rowOf } from "./cases/case.ts";
import { execRows } from "./cases/exec_commands.ts";
import { forwardRows, loadRows, nobodyRow } from "./cases/forward_commands.ts";
import { kubectlRows } from "./cases/kubectl_commands.ts";
import { SCRIPTS, upstreamRows } from "./cases/upstream_faults.ts";
import { GO_CLIENTS } from "./clients/go_client.ts";
import { KUBECTLS } from "./clients/kubectl.ts";
import { type Libraries, openLibraries } from "./clients/libraries.ts";
import { openColumns } from "./columns.ts";
import { EXPLANATIONS } from "./explanations.ts";
import { FakedKubelet } from "./faked_kubelet.ts";
import { idOf, judge, type Judged, type Row } from "./matrix.ts";
import { createPods, deletePods } from "./pods.ts";
import { faultsOf, isFault, lineOf, markdown } from "./report.ts";

const { values } = parseArgs({
  options: {
    quick: { type: "boolean", default: false },
    bulk: { type: "string" },
    only: { type: "string", default: "" },
    jobs: { type: "string", default: "4" },
    verbose: { type: "boolean", default: false },
    /** Prints what each column showed, too. */
    show: { type: "boolean", default: false },
  },
});

/** What large streams hold: as little as shows a difference, the usual, and what a release is tried with. */
const bulkBytes = Number(values.bulk ?? (values.quick ? 8_000_000 : 64_000_000));

Deno.exitCode = await main();

async function main(): Promise<number> {
  using _lock = await alone();
  const startedAt = performance.now();
  const seconds = () => Math.round((performance.now() - startedAt) / 1000);
  await using columns = await openColumns();
  const { cluster } = columns.all[0];
  await using libraries = openLibraries(cluster);
  await using kubelet = await FakedKubelet.open(cluster, SCRIPTS);
  const only = new RegExp(values.only);
  const rows = allRows(libraries, kubelet).filter((row) => only.test(idOf(row)));
  await createPods(cluster, columns.all);
  console.log(`${rows.length} rows, ${columns.all.length} columns; ready after ${seconds()} s`);

  const judged: Judged[] = [];
  const run = async (row: Row) => {
    const each = await judge(row, columns.all, EXPLANATIONS);
    judged.push(each);
    const faults = faultsOf(each);
    if (faults.length > 0 || values.verbose) console.log([lineOf(each), ...faults].join("\n"));
    if (values.show) console.log(each.seen);
  };
  try {
    await inPool(rows.filter(({ isHeavy }) => !isHeavy), Number(values.jobs), run);
    await inPool(rows.filter(({ isHeavy }) => isHeavy), 1, run);
  } finally {
    await deletePods(cluster, columns.all);
  }
  judged.sort((a, b) => rows.indexOf(a.row) - rows.indexOf(b.row));
  for (const each of judged) console.log(lineOf(each));
  if (values.only === "" && !values.quick) {
    const text = markdown({ columns: columns.all.map(({ name }) => name), judged, bulkBytes });
    await writeFormatted(join(ROOT, "docs", "conformance.md"), text);
  }
  const cells = judged.flatMap((each) => [...each.cells.values()]);
  const failed = cells.filter(isFault).length;
  console.log(
    `${failed > 0 ? "FAILED" : "ok"} | ${cells.length - failed} passed | ${failed} failed (${seconds()}s)`,
  );
  return failed > 0 ? 1 : 0;
}

/** Writes a text, and has it stand as `deno fmt` wants it. */
async function writeFormatted(path: string, text: string): Promise<void> {
  await Deno.writeTextFile(path, text);
  const { success } = await new Deno.Command(Deno.execPath(), {
    args: ["fmt", "--quiet", path],
    cwd: ROOT,
  }).output();
  if (!success) throw new Error(`deno fmt ${path} failed`);
}

/** Those first that wait for longest. */
function allRows(libraries: Libraries, kubelet: FakedKubelet): Row[] {
  const clients = [...KUBECTLS, ...GO_CLIENTS, libraries.python, libraries.clientNode];
  // One of each protocol is enough for what is large, or can be done once.
  const chosen = KUBECTLS.filter(({ name }) => name !== "kubectl 1.32");
  return [
    ...allCases(kubelet).map(rowOf),
    ...clients.flatMap((client) => [...execRows(client), ...attachRows(client), ...forwardRows(client)]),
    ...KUBECTLS.flatMap((client) => [...kubectlRows(client), nobodyRow(client), ...upstreamRows(client)]),
    ...onceRows(chosen),
    ...GO_CLIENTS.flatMap(loadRows),
    ...chosen.flatMap((client) => bulkRows(client, bulkBytes)),
    ...channelBulkRows(bulkBytes),
  ];
}

/** Waits until no other run uses the cluster: they would delete each other's pods. The system lets go of a lock whose owner is gone. */
async function alone(): Promise<Deno.FsFile> {
  const { directory } = await runningCluster();
  const file = await Deno.open(join(directory, "conformance.lock"), { create: true, write: true });
  if (!await file.tryLock(true)) {
    console.log("another run is under way: waiting for its end");
    await file.lock(true);
  }
  return file;
}

/** Works on all of them, so many at a time. */
async function inPool(rows: readonly Row[], size: number, work: (row: Row) => Promise<void>): Promise<void> {
  const waiting = rows[Symbol.iterator]();
  await Promise.all(Array.from({ length: size }, async () => {
    for (const row of waiting) await work(row);
  }));
}
