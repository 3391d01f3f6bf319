/**
 * The benchmark: `deno task bench`. One run, one table, in the terminal and in `bench/results.md`.
 *
 *     --only NAMES   some figures, with commas: exec, forward, recording, echo, open, idle, stalled, start,
 *                    replicas, growth
 *     --routes NAMES some routes, with commas: direct, splice, kube-apiserver, gateway, "gateway, recording" as recording,
 *                    "gateway, apiserver mode" as apiserver-mode
 *     --quick        one run of less work: whether it works, and no figures to believe
 *     --runs N       how often each figure is taken, at least 5 for a report (5)
 *     --megabytes N  MiB in each transfer (256)
 *     --sessions N   how many sessions are idle, or stalled (10000, 1000)
 *     --seconds N    how long the memory of stalled sessions is watched (60)
 *     --check        end with 1 where a target is missed
 *     --gateway FILE the gateway's program (main.ts)
 *     --profile DIR  write CPU profiles of the gateways there
 *
 * `--only exec --routes splice,gateway` is what a change of the pump wants to see, and takes a minute and a half. Only a whole
 * run writes the report. It needs what the test cluster needs but root: Go, etcd, and Kubernetes built from source once.
 *
 * @module
 */

import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { echo } from "./figures/echo.ts";
import { exec } from "./figures/exec.ts";
import type { Bench, Effort, Figure, Measured, Row, Series } from "./figures/figure.ts";
import { forward } from "./figures/forward.ts";
import { growth } from "./figures/growth.ts";
import { idle } from "./figures/idle.ts";
import { open } from "./figures/open.ts";
import { recording } from "./figures/recording.ts";
import { replicas } from "./figures/replicas.ts";
import { stalled } from "./figures/stalled.ts";
import { start } from "./figures/start.ts";
import { Lab } from "./lab/lab.ts";
import { describeMachine, readRevision } from "./lab/machine.ts";
import type { RouteName } from "./lab/route.ts";
import { asMarkdown, asText, verdict } from "./report.ts";

/** In the order of the table. */
const FIGURES: readonly Figure[] = [
  exec,
  forward,
  recording,
  echo,
  open,
  idle,
  stalled,
  start,
  replicas,
  growth,
];

/** As `--routes` calls them. */
const ROUTES: Record<string, RouteName> = {
  "direct": "direct",
  "splice": "splice",
  "kube-apiserver": "kube-apiserver",
  "gateway": "gateway",
  "recording": "gateway, recording",
  "apiserver-mode": "gateway, apiserver mode",
};

const REMARKS = [
  "The kubelet's own streaming server (k8s.io/kubelet/pkg/cri/streaming) produces and consumes at the speed of memory; the " +
  "client is client-go. Both are in `bench/go`.",
  "direct: client to streaming server. splice: a process that does TLS in and TLS out, and nothing else. kube-apiserver: the " +
  "real one, with its audit log. gateway: `main.ts`, as `deno task start` runs it, with TokenReview, SubjectAccessReview " +
  "and an audit file that waits for the disk; recording: required, with every default.",
  "Client, route, API server and streaming server are processes on this one machine, and share its cores with whatever else " +
  "runs there. Absolute figures are therefore low; ratios are taken run by run, one route right after the other.",
];

const THOROUGH: Effort = {
  runs: 5,
  mebibytes: 256,
  keys: 500,
  opens: 200,
  idleSessions: 10_000,
  stalledSessions: 1_000,
  seconds: 60,
  pods: [10, 100, 1_000, 10_000, 50_000],
};

const QUICK: Effort = {
  runs: 1,
  mebibytes: 64,
  keys: 100,
  opens: 50,
  idleSessions: 300,
  stalledSessions: 50,
  seconds: 5,
  pods: [10, 100, 1_000],
};

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      only: { type: "string" },
      routes: { type: "string" },
      quick: { type: "boolean", default: false },
      runs: { type: "string" },
      megabytes: { type: "string" },
      sessions: { type: "string" },
      seconds: { type: "string" },
      check: { type: "boolean", default: false },
      gateway: { type: "string", default: fileURLToPath(new URL("../main.ts", import.meta.url)) },
      profile: { type: "string" },
    },
  });
  const only = values.only?.split(",");
  const figures = FIGURES.filter(({ name }) => only?.includes(name) ?? true);
  if (figures.length !== (only?.length ?? FIGURES.length)) return fail(`no such figure: ${values.only}`);
  const routes = values.routes?.split(",").map((name) => ROUTES[name]);
  if (routes?.includes(undefined)) return fail(`no such route: ${values.routes}`);
  const usual = values.quick ? QUICK : THOROUGH;
  const effort: Effort = {
    ...usual,
    runs: positive(values.runs) ?? usual.runs,
    mebibytes: positive(values.megabytes) ?? usual.mebibytes,
    idleSessions: positive(values.sessions) ?? usual.idleSessions,
    seconds: positive(values.seconds) ?? usual.seconds,
    stalledSessions: positive(values.sessions) ?? usual.stalledSessions,
  };

  const machine = describeMachine(await readRevision(new URL(".", import.meta.url)));
  const rows: Row[] = [];
  const series: Series[] = [];
  const failures: string[] = [];
  const startMs = performance.now();
  const interrupted = interruption();
  {
    await using lab = await Lab.open({ gateway: values.gateway, profileFolder: values.profile });
    const bench: Bench = {
      lab,
      effort,
      wants: (route) => routes?.includes(route) ?? true,
      tell: (what) => say(Deno.stderr, `${((performance.now() - startMs) / 1000).toFixed(0)} s: ${what}\n`),
    };
    for (const figure of figures) {
      const measured = await Promise.race([interrupted, attempt(figure, bench)]);
      if (measured === "interrupted") return fail("interrupted");
      if (measured instanceof Error) {
        failures.push(`${figure.name} could not be measured: ${measured.message}`);
      } else {
        rows.push(...measured.rows);
        series.push(...measured.series ?? []);
      }
    }
  }
  const remarks = [...REMARKS, ...failures];
  say(Deno.stdout, `\n${asText(rows, series)}`);
  const isWhole = only === undefined && routes === undefined && values.sessions === undefined &&
    !values.quick;
  if (isWhole) {
    const report = asMarkdown(rows, series, machine, remarks);
    await Deno.writeTextFile(new URL("results.md", import.meta.url), report);
  }
  const judged = rows.map(verdict).filter((kept) => kept !== undefined);
  const kept = judged.filter((one) => one);
  say(Deno.stdout, `\n${kept.length} of ${judged.length} targets kept\n`);
  for (const failure of failures) say(Deno.stderr, `${failure}\n`);
  if (failures.length > 0) return 1;
  return values.check && kept.length < judged.length ? 1 : 0;
}

/** Some twenty minutes of figures shall not be lost for one that fails. */
async function attempt(figure: Figure, bench: Bench): Promise<Measured | Error> {
  try {
    return await figure.measure(bench);
  } catch (thrown) {
    return thrown instanceof Error ? thrown : new Error(String(thrown));
  }
}

/** Ctrl-C, or whoever has no more time: the lab is taken down all the same. */
function interruption(): Promise<"interrupted"> {
  const { promise, resolve } = Promise.withResolvers<"interrupted">();
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    Deno.addSignalListener(signal, () => resolve("interrupted"));
  }
  return promise;
}

function positive(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
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
