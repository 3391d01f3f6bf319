/**
 * A mixed load for a while, and whether anything grows by it.
 *
 *     deno task soak [--minutes 30] [--sessions 48] [--write]
 *
 * First come as many sessions as the gateway remembers. Then, for so many minutes: live sessions of every kind that talk, crowds that
 * come and go, short commands, refusals and plain requests. What could grow is sampled; each must be flat after the warm-up, and
 * every command must end as it did, or the run ends with 1. It takes about a third of a core; a slow machine does less in the same
 * time. `--write` writes docs/failure-modes.md.
 */

// deno-lint-ignore-file no-console -- a command line program

import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { z } from "zod";
import { runningCluster, tokenOf } from "../e2e/support/cluster.ts";
import { sleep } from "../e2e/support/wait.ts";
import { writePart } from "./report.ts";
import { Crowd } from "./support/crowd.ts";
import { FaultGateway } from "./support/gateway.ts";
import { CONTAINER, Pod } from "./support/pod.ts";

/** How often it is sampled, in milliseconds. */
const SAMPLE_MS = 5_000;
/** The part of the time in which the heap finds its size. */
const WARM_UP = 0.3;
/** Sessions that come and go before the time begins: more than the last 1,024, which the gateway remembers. */
const BEFORE = 1_056;
/** How many of these come at once. */
const BEFORE_AT_ONCE = 48;
/** How long a crowd may take to be there. */
const GATHER_MS = 300_000;

/** What must not grow: by how much a minute it may, on the line through all samples after the warm-up. */
const GAUGES = {
  heapMegabytes: { name: "heap after a collection, MB", mostPerMinute: 0.1 },
  externalMegabytes: { name: "buffers outside of the heap, MB", mostPerMinute: 0.1 },
  residentMegabytes: { name: "resident memory, MB", mostPerMinute: 1 },
  descriptors: { name: "file descriptors", mostPerMinute: 0.5 },
  resources: { name: "resources of the platform", mostPerMinute: 0.5 },
  timers: { name: "timers", mostPerMinute: 0.5 },
  threads: { name: "threads", mostPerMinute: 0.1 },
} as const;

/** Of all commands, how many may end so. */
const MOST_WITHOUT_STATUS = 1 / 200;

type Gauge = keyof typeof GAUGES;
type Sample = { minutes: number } & Record<Gauge, number>;

const Inside = z.object({
  heapBytes: z.number(),
  externalBytes: z.number(),
  timers: z.number(),
  resources: z.number(),
});

const { values } = parseArgs({
  options: {
    minutes: { type: "string", default: "30" },
    sessions: { type: "string", default: "48" },
    write: { type: "boolean", default: false },
  },
});

Deno.exitCode = await main();

async function main(): Promise<number> {
  const cluster = await runningCluster();
  const minutes = Number(values.minutes);
  await using pod = await Pod.create(cluster);
  const gauge = fileURLToPath(new URL("support/gauge.ts", import.meta.url));
  await using gateway = await FaultGateway.start(cluster, {
    flags: ["--preload", gauge, "--v8-flags=--expose-gc"],
    // Whoever else uses the machine may make everything slow: that is no failure here.
    patienceSeconds: 30,
    sessions: { pingSeconds: 5, silenceTimeoutSeconds: 120 },
  });
  const { kubeconfig } = gateway;
  const around = { cluster, kubeconfig, pod: pod.name };
  const patiently = { ...around, deadlineMs: GATHER_MS };
  for (let gone = 0; gone < BEFORE; gone += BEFORE_AT_ONCE) {
    await using _visitors = await Crowd.gather({ ...patiently, size: BEFORE_AT_ONCE });
  }
  await using crowd = await Crowd.gather({ ...patiently, size: Number(values.sessions) });
  const cpuBefore = await cpuSeconds(gateway.pid);
  const until = performance.now() + minutes * 60_000;
  const samples: Sample[] = [];
  const done = { commands: 0, withoutStatus: 0, crowds: 0, requests: 0 };
  const failures = new Map<string, number>();
  const repeat = (everyMs: number, act: () => Promise<void>) => repeatUntil(until, failures, everyMs, act);
  const load = [
    repeat(2_000, async () => {
      if (!await endsWithStatus(around)) done.withoutStatus++;
      done.commands++;
    }),
    repeat(30_000, async () => {
      await using _visitors = await Crowd.gather({ ...patiently, size: 12 });
      done.crowds++;
    }),
    repeat(500, async () => {
      await plainRequests(gateway, await tokenOf(cluster, "alice"));
      done.requests += 2;
    }),
    repeat(SAMPLE_MS, async () => {
      const sample = await sampleOf(gateway, minutes - (until - performance.now()) / 60_000);
      if (sample !== undefined) samples.push(sample);
    }),
  ];
  await Promise.all(load);
  await crowd.allAlive(60_000);
  const cpuShare = (await cpuSeconds(gateway.pid) - cpuBefore) / (minutes * 60);

  const warm = samples.filter(({ minutes: at }) => at >= minutes * WARM_UP);
  const lines: string[] = [];
  for (const [said, times] of failures) console.log(`${times} times: ${said}`);
  let isFlat = warm.length >= 10 && failures.size === 0 &&
    done.withoutStatus <= done.commands * MOST_WITHOUT_STATUS;
  for (const [key, { name, mostPerMinute }] of Object.entries(GAUGES) as [Gauge, typeof GAUGES[Gauge]][]) {
    const { slope, error } = slopeOf(warm.map((each) => [each.minutes, each[key]]));
    const ofAll = warm.map((each) => each[key]);
    const [least, most] = [Math.min(...ofAll), Math.max(...ofAll)].map((each) => each.toFixed(0));
    const isWell = slope - 2 * error <= mostPerMinute; // it grows only if that is certain: the longer, the more it is
    const growth = `${slope.toFixed(2)} ± ${(2 * error).toFixed(2)}`;
    isFlat &&= isWell;
    lines.push(`| ${name} | ${least} | ${most} | ${growth} | ${mostPerMinute} |`);
    console.log(`${name}: ${least} to ${most}, ${growth} a minute ... ${isWell ? "ok" : "FAILED"}`);
  }
  const load30 =
    `${values.sessions} live sessions, ${done.commands} commands (${done.withoutStatus} without an exit status), ${done.crowds} crowds of 12, ` +
    `${done.requests} requests; the gateway took ${(cpuShare * 100).toFixed(0)} % of a core`;
  console.log(`${minutes} minutes: ${load30}`);
  if (values.write && isFlat) {
    const head =
      `\`deno task soak --minutes ${minutes} --write\`, after ${BEFORE} sessions had come and gone: ${load30}.`;
    const table = [
      "| after the warm-up | least | most | growth a minute | may grow by |",
      "| --- | --- | --- | --- | --- |",
    ];
    await writePart("soak", [head, "", ...table, ...lines].join("\n"));
  }
  console.log(`${isFlat ? "ok | 1 passed | 0 failed" : "FAILED | 0 passed | 1 failed"}`);
  return isFlat ? 0 : 1;
}

/** Does something again and again, begun every so many milliseconds, or later where it takes longer. Counts what fails, by its words. */
async function repeatUntil(
  untilMs: number,
  failures: Map<string, number>,
  everyMs: number,
  act: () => Promise<void>,
): Promise<void> {
  while (performance.now() < untilMs) {
    const beganMs = performance.now();
    try {
      await act();
    } catch (thrown) {
      const said = String(thrown);
      failures.set(said, (failures.get(said) ?? 0) + 1);
    }
    await sleep(Math.max(0, everyMs - (performance.now() - beganMs)));
  }
}

/**
 * Runs one. A runtime that has told how a command ended resets the connection where something comes after it, a ping say, and
 * the kubelet then loses what it was told (its log has it). Whoever asked reads a failure, so that is counted, not passed over.
 */
async function endsWithStatus({ cluster, kubeconfig, pod }: {
  cluster: Awaited<ReturnType<typeof runningCluster>>;
  kubeconfig: string;
  pod: string;
}): Promise<boolean> {
  const { code, stderr } = await new Deno.Command(cluster.paths.goClient, {
    args: [
      ...["exec", "--kubeconfig", kubeconfig, "--context", "alice", "--pod", pod],
      ...["--container", CONTAINER, "--", "sh", "-c", "head -c 100000 /dev/zero; exit 3"],
    ],
    ...{ stdin: "null", stdout: "null", stderr: "piped" },
  }).output();
  if (code === 3) return true;
  const said = new TextDecoder().decode(stderr.slice(-2_000));
  if (said.includes("without an exit status")) return false;
  throw new Error(`a command ended with ${code}: ${said}`);
}

/** One that is passed on, and one that is refused. */
async function plainRequests({ port, ca }: FaultGateway, token: string): Promise<void> {
  using client = Deno.createHttpClient({ caCerts: [ca.cert], poolMaxIdlePerHost: 0 });
  const pods = `https://127.0.0.1:${port}/api/v1/namespaces/default/pods`;
  for (const [path, code] of [["?limit=5", 200], ["/shell/exec?command=true&stdout=true", 400]] as const) {
    const headers = { Authorization: `Bearer ${token}` };
    const answer = await fetch(pods + path, { client, headers });
    await answer.body?.cancel();
    if (answer.status !== code) throw new Error(`${path} was answered with ${answer.status}`);
  }
}

async function sampleOf(gateway: FaultGateway, minutes: number): Promise<Sample | undefined> {
  const text = await Deno.readTextFile(gateway.path("gauge.jsonl")).catch(() => "");
  const last = text.trimEnd().split("\n").at(-1);
  if (last === undefined || last === "") return undefined;
  const { heapBytes, externalBytes, timers, resources } = Inside.parse(JSON.parse(last));
  const status = await Deno.readTextFile(`/proc/${gateway.pid}/status`);
  const residentKilobytes = Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]);
  return {
    ...{ minutes, timers, resources },
    heapMegabytes: heapBytes / 1e6,
    externalMegabytes: externalBytes / 1e6,
    residentMegabytes: residentKilobytes / 1e3,
    descriptors: (await Array.fromAsync(Deno.readDir(`/proc/${gateway.pid}/fd`))).length,
    threads: Number(/^Threads:\s+(\d+)$/m.exec(status)?.[1]),
  };
}

/** Least squares: how much `y` grows for each `x`, and the standard error of that, which what comes and goes makes large. */
function slopeOf(points: readonly (readonly [x: number, y: number])[]): { slope: number; error: number } {
  const sum = (of: (point: readonly [number, number]) => number) =>
    points.reduce((total, point) => total + of(point), 0);
  const count = points.length;
  const [meanX, meanY] = [sum(([x]) => x) / count, sum(([, y]) => y) / count];
  const spread = sum(([x]) => (x - meanX) ** 2);
  const slope = sum(([x, y]) => (x - meanX) * (y - meanY)) / spread;
  const left = sum(([x, y]) => (y - meanY - slope * (x - meanX)) ** 2);
  return { slope, error: Math.sqrt(left / (count - 2) / spread) };
}

/** @see proc_pid_stat(5): fields 14 and 15, in hundredths of a second */
async function cpuSeconds(pid: number): Promise<number> {
  const stat = await Deno.readTextFile(`/proc/${pid}/stat`);
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) / 100;
}
