import type { Held, Latencies } from "../lab/peers.ts";
import { cpuSeconds, descriptorLimit, residentBytes } from "../lab/process_stats.ts";
import type { Figure, Row, Series } from "./figure.ts";
import { growthExponent } from "./statistics.ts";
import { settle } from "./watch.ts";

const SECTION = "Idle exec sessions in one process, SPDY";

/** Descriptors of the gateway that belong to no session. */
const OTHER_DESCRIPTORS = 300;

/** Clients that open sessions at once. */
const CLIENTS = 8;

/** Fewer sessions than that are lost in the noise of the collector. */
const LEAST_SEEN = 100;

/** How long the CPU of idle sessions is watched: some of client-go's pings, which come every 5 seconds. */
const PINGED_MS = 15_000;

/** Many sessions that say nothing but client-go's pings: what each keeps resident, and whether others are still opened as fast. */
export const idle: Figure = {
  name: "idle",
  async measure({ lab, effort, tell }) {
    const most = Math.min(effort.idleSessions, Math.floor((await descriptorLimit() - OTHER_DESCRIPTORS) / 2));
    await using gateway = await lab.ownGateway();
    const { route } = gateway;
    const open = () => lab.peers.open(route, { transport: "spdy", count: effort.opens, warm: 20 });
    const alone: Latencies[] = [];
    for (let run = 0; run < effort.runs; run++) alone.push(await open());
    await settle();
    const before = await residentBytes(route.pid);

    await using held = new AsyncDisposableStack();
    const all: Held[] = [];
    const [memory, opening]: { work: number; cost: number }[][] = [[], []];
    let count = 0;
    for (const sessions of steps(most)) {
      tell(`${sessions} idle sessions`);
      const work = { transport: "spdy", count: sessions - count, concurrency: CLIENTS } as const;
      all.push(held.use(await lab.peers.hold("hold", route, work)));
      count = sessions;
      await settle();
      const resident = await residentBytes(route.pid) - before;
      if (sessions >= LEAST_SEEN) memory!.push({ work: sessions, cost: resident / 1e6 });
      opening!.push({ work: sessions, cost: (await open()).p50Ms });
    }
    const resident = await residentBytes(route.pid) - before;
    const cpuBefore = await cpuSeconds(route.pid);
    await new Promise((resolve) => setTimeout(resolve, PINGED_MS));
    const cpuShare = (await cpuSeconds(route.pid) - cpuBefore) / (PINGED_MS / 1_000) * 100;
    const beside: Latencies[] = [];
    for (let run = 0; run < effort.runs; run++) beside.push(await open());
    let lost = 0;
    for (const one of all) lost += await one.release();

    const about = { section: SECTION, route: "gateway" };
    const figure = (name: string) => `${name} ${count} sessions`;
    const rows: Row[] = [
      {
        ...about,
        figure: figure("resident, each of"),
        unit: "KB",
        values: [resident / count / 1e3],
        target: { atMost: 60 },
      },
      { ...about, figure: figure("CPU of client-go's pings, of"), unit: "% of a core", values: [cpuShare] },
      {
        ...about,
        figure: figure("ended by themselves, of"),
        unit: "",
        values: [lost],
        target: { atMost: 0 },
      },
    ];
    for (const share of ["p50Ms", "p99Ms"] as const) {
      const name = `open a session, ${share.slice(0, 3)}`;
      const [without, having] = [alone, beside].map((of) => of.map((one) => one[share])) as [
        number[],
        number[],
      ];
      rows.push({ ...about, figure: `${name}, beside none`, unit: "ms", values: without });
      rows.push({ ...about, figure: figure(`${name}, beside`), unit: "ms", values: having });
      rows.push({
        ...about,
        figure: figure(`${name}, beside`),
        route: "beside many ÷ beside none",
        unit: "×",
        values: having.map((value, run) => value / without[run]!),
        ...share === "p99Ms" && { target: { atMost: KEPT } },
      });
    }
    const series: Series[] = [
      {
        section: "Growth",
        work: "idle sessions",
        cost: "resident above the empty process, MB",
        points: memory!,
      },
      { section: "Growth", work: "idle sessions", cost: "p50 of opening one more, ms", points: opening! },
    ];
    return { rows: [...rows, ...series.map(growthRow)], series };
  },
};

/** How much more counts as the same p99: it differs so much from one run to the next. */
const KEPT = 1.5;

/** That a cost grows no faster than its work. */
export function growthRow({ work, cost, points }: Series): Row {
  return {
    section: "Growth",
    figure: `${cost}, by ${work} (${points[0]!.work} to ${points.at(-1)!.work})`,
    route: "gateway",
    unit: "power",
    values: [growthExponent(points)],
    target: { atMost: 1.05 },
  };
}

/** 1, 10, 100, … and the most. */
function steps(most: number): number[] {
  const found: number[] = [];
  for (let sessions = 1; sessions < most * 0.9; sessions *= 10) found.push(sessions);
  return [...found, most];
}
