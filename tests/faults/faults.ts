/**
 * Kills, cuts and rotates what a gateway and its cluster are made of, under many live sessions of every kind, and sees what
 * comes of it.
 *
 *     deno task test:faults [--sessions 200] [--only REGEX] [--quick] [--write]
 *
 * Ends with 1 where an outcome is not what it must be. `--quick` holds fewer sessions; `--write` writes
 * docs/failure-modes.md. Needs root, the test cluster (`deno task cluster up`) for itself alone, and Debian's libfaketime.
 */

// deno-lint-ignore-file no-console -- a command line program

import { parseArgs } from "node:util";
import { API_SERVER } from "./cases/api_server.ts";
import { CLOCK } from "./cases/clock.ts";
import { GATEWAY } from "./cases/gateway.ts";
import { NODE } from "./cases/node.ts";
import { ROTATION } from "./cases/rotation.ts";
import type { Fault, Finding } from "./fault.ts";
import { play } from "./fault.ts";
import { lineOf, writeFailureModes } from "./report.ts";
import { Scene } from "./support/scene.ts";

const { values } = parseArgs({
  options: {
    sessions: { type: "string" },
    only: { type: "string", default: "" },
    quick: { type: "boolean", default: false },
    write: { type: "boolean", default: false },
  },
});

/** In this order, so that a crowd that outlives a fault is there for the next. */
const FAULTS: readonly Fault[] = [
  ...API_SERVER.filter(({ arrangement }) => arrangement !== undefined),
  ...ROTATION,
  ...API_SERVER.filter(({ arrangement }) => arrangement === undefined),
  ...GATEWAY,
  ...NODE,
  ...CLOCK,
];

Deno.exitCode = await main();

async function main(): Promise<number> {
  const startedMs = performance.now();
  const only = new RegExp(values.only, "i");
  await using scene = await Scene.open(Number(values.sessions ?? (values.quick ? 24 : 200)));
  const findings: Finding[] = [];
  let failed = 0;
  for (const fault of FAULTS.filter(({ title }) => only.test(title))) {
    const beganMs = performance.now();
    try {
      const finding = await play(fault, scene);
      findings.push(finding);
      console.log(`${lineOf(finding)} (${Math.round((performance.now() - beganMs) / 1000)}s)`);
    } catch (thrown) {
      failed++;
      console.log(`${fault.title} ... FAILED`);
      console.error(thrown);
      await fault.heal?.(scene).catch((cause) => console.error(cause));
      await scene.startOver();
    }
  }
  if (values.write) await writeFailureModes(FAULTS.map(({ title }) => title), findings);
  const seconds = Math.round((performance.now() - startedMs) / 1000);
  console.log(
    `\n${failed > 0 ? "FAILED" : "ok"} | ${findings.length} passed | ${failed} failed (${seconds}s)`,
  );
  return failed > 0 ? 1 : 0;
}
