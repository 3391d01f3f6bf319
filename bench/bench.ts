/**
 * The benchmark: `deno task bench`. One run, one table, in the terminal and in `bench/results.md`.
 *
 *     --seconds N    how long memory is watched in each of its four cases (60)
 *     --megabytes N  MiB in each transfer (1024)
 *     --runs N       how often each figure is taken, at least 5 for a report (5)
 *     --only NAMES   latency, open, throughput, recording, memory: some of them, with commas; writes no report
 *     --check        end with 1 where a target is missed
 *     --gateway FILE the gateway's program (main.ts)
 *     --profile DIR  write a CPU profile of the gateway there
 *
 * @module
 */

import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import type { Effort, Figure, Row } from "./figures/figure.ts";
import { latency } from "./figures/latency.ts";
import { memory } from "./figures/memory.ts";
import { opening } from "./figures/opening.ts";
import { recording } from "./figures/recording.ts";
import { throughput } from "./figures/throughput.ts";
import { Lab } from "./lab/lab.ts";
import { describeMachine, readRevision } from "./lab/machine.ts";
import { asMarkdown, asText, verdict } from "./report.ts";

/** In the order of the table. */
const FIGURES: readonly Figure[] = [latency, opening, throughput, recording, memory];

const REMARKS = [
  "direct: client to kubelet. splice: a process that does TLS in and TLS out, and nothing else. gateway: `main.ts`, as " +
  "`deno task start` runs it, with TokenReview, SubjectAccessReview and an audit file that waits for the disk.",
  "Client, route, API server and kubelet are four processes on this one machine, and share its cores with whatever else " +
  "runs there. Absolute figures are therefore low; ratios are taken run by run, one route right after the other.",
];

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      seconds: { type: "string", default: "60" },
      megabytes: { type: "string", default: "1024" },
      runs: { type: "string", default: "5" },
      only: { type: "string" },
      check: { type: "boolean", default: false },
      gateway: { type: "string", default: fileURLToPath(new URL("../main.ts", import.meta.url)) },
      profile: { type: "string" },
    },
  });
  const only = values.only?.split(",");
  const figures = FIGURES.filter(({ name }) => only?.includes(name) ?? true);
  if (figures.length !== (only?.length ?? FIGURES.length)) return fail(`no such figure: ${values.only}`);
  const effort: Effort = {
    runs: positive(values.runs),
    rounds: 1_000,
    mebibytes: positive(values.megabytes),
    seconds: positive(values.seconds),
    opens: 200,
  };

  const machine = describeMachine(await readRevision(new URL(".", import.meta.url)));
  const rows: Row[] = [];
  {
    await using lab = await Lab.open({ gateway: values.gateway, profileFolder: values.profile });
    for (const figure of figures) {
      rows.push(...await figure.measure(lab, effort, (what) => say(Deno.stderr, `measuring ${what}\n`)));
    }
  }
  say(Deno.stdout, `\n${asText(rows)}`);
  if (only === undefined) {
    await Deno.writeTextFile(new URL("results.md", import.meta.url), asMarkdown(rows, machine, REMARKS));
  }
  const missed = rows.filter((row) => verdict(row) === false);
  const judged = rows.filter((row) => verdict(row) !== undefined);
  say(Deno.stdout, `\n${judged.length - missed.length} of ${judged.length} targets kept\n`);
  return values.check && missed.length > 0 ? 1 : 0;
}

function positive(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1) throw new RangeError(`not a positive whole number: ${text}`);
  return value;
}

function say(to: typeof Deno.stdout, text: string): void {
  to.writeSync(new TextEncoder().encode(text));
}

function fail(message: string): number {
  say(Deno.stderr, `${message}\n`);
  return 2;
}

if (import.meta.main) Deno.exit(await main());
