import { cpuSeconds } from "../lab/process_stats.ts";
import type { Route } from "../lab/route.ts";
import type { Bench, Figure, Row } from "./figure.ts";
import { freePort } from "../../tests/support/free_port.ts";
import { pairRatios } from "./statistics.ts";

/** Clients at once: enough for the kernel to spread them over both processes. */
const STREAMS = 8;
const OPENERS = 32;

/** What came of a run, against one process or two. */
interface Outcome {
  speed: number;
  cpuPerGigabyte: number;
  opens: number;
}

const FIGURES = [
  {
    figure: `stdout of ${STREAMS} sessions, SPDY, throughput`,
    unit: "MB/s",
    value: ({ speed }: Outcome) => speed,
  },
  {
    figure: `stdout of ${STREAMS} sessions, SPDY, CPU`,
    unit: "s/GB",
    value: ({ cpuPerGigabyte }: Outcome) => cpuPerGigabyte,
  },
  { figure: `open sessions, ${OPENERS} clients, rate`, unit: "1/s", value: ({ opens }: Outcome) => opens },
];

/** Two processes that share a port (SO_REUSEPORT), beside one. */
export const replicas: Figure = {
  name: "replicas",
  async measure(bench) {
    const { lab, effort } = bench;
    bench.tell("two processes on one port, beside one");
    const port = freePort();
    await using one = await lab.ownGateway();
    await using first = await lab.ownGateway({ port });
    await using second = await lab.ownGateway({ port });
    const [single, double]: Outcome[][] = [[], []];
    for (let run = 0; run < effort.runs; run++) {
      single!.push(await measure(bench, one.route, [one.route.pid]));
      double!.push(await measure(bench, first.route, [first.route.pid, second.route.pid]));
    }
    const rows: Row[] = FIGURES.flatMap(({ figure, unit, value }) => {
      const about = { section: "Two processes on one port", figure };
      const [alone, both] = [single!.map(value), double!.map(value)];
      return [
        { ...about, unit, route: "gateway", values: alone },
        { ...about, unit, route: "2 gateways", values: both },
        { ...about, unit: "×", route: "2 gateways ÷ gateway", values: pairRatios(both, alone) },
      ];
    });
    return { rows };
  },
};

async function measure({ lab, effort }: Bench, route: Route, pids: readonly number[]): Promise<Outcome> {
  const cpu = async () =>
    (await Promise.all(pids.map(cpuSeconds))).reduce((sum, seconds) => sum + seconds, 0);
  const bytes = Math.floor(effort.mebibytes * 2 ** 20 / STREAMS);
  const before = await cpu();
  const startMs = performance.now();
  await Promise.all(
    Array.from({ length: STREAMS }, () => lab.peers.stdout(route, { transport: "spdy", bytes })),
  );
  const seconds = (performance.now() - startMs) / 1_000;
  const total = bytes * STREAMS;
  const cpuPerGigabyte = (await cpu() - before) / (total / 1e9);
  const opened = await lab.peers.open(route, {
    transport: "spdy",
    count: 3 * effort.opens,
    warm: 20,
    concurrency: OPENERS,
  });
  return { speed: total / 1e6 / seconds, cpuPerGigabyte, opens: opened.count / opened.seconds };
}
