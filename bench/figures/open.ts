import { cpuSeconds } from "../lab/process_stats.ts";
import { EXEC_NAMES, type RouteName, TRANSPORTS } from "../lab/route.ts";
import { type Figure, type Row, rowsOf, takeTurns, wanted } from "./figure.ts";

const SECTION = "Open a session, caches warm";

const ROUTES: readonly RouteName[] = ["direct", "kube-apiserver", "gateway", "gateway, recording"];

const WARM_UP_SESSIONS = 20;

/** Clients that open sessions at once, where the rate is measured; and how many more sessions than one after the other. */
const CLIENTS = 16;
const TIMES = 3;

/**
 * From the first packet of a new connection to the command's first byte of output. Who has no gateway comes by the API server:
 * that is what a gateway is held against.
 */
export const open: Figure = {
  name: "open",
  async measure(bench) {
    const { lab, effort } = bench;
    const routes = await wanted(bench, ROUTES);
    const rows: Row[] = [];
    for (const transport of TRANSPORTS) {
      const name = EXEC_NAMES[transport];
      bench.tell(`open a session, one after the other, ${name}`);
      const single = await takeTurns(
        routes,
        effort.runs,
        (route) =>
          lab.clientOf(route).open(route, { transport, count: effort.opens, warm: WARM_UP_SESSIONS }),
      );
      rows.push(
        ...rowsOf({ section: SECTION, figure: `${name}, p50`, unit: "ms" }, single, ({ p50Ms }) => p50Ms, [
          { of: "gateway", to: "kube-apiserver", target: { atMost: 1 } },
          { of: "gateway", to: "direct" },
          { of: "gateway, recording", to: "gateway" },
        ]),
        ...rowsOf({ section: SECTION, figure: `${name}, p99`, unit: "ms" }, single, ({ p99Ms }) => p99Ms, [
          { of: "gateway", to: "kube-apiserver" },
        ]),
      );

      bench.tell(`open sessions, ${CLIENTS} at once, ${name}`);
      const many = await takeTurns(routes, effort.runs, async (route) => {
        const before = await cpuSeconds(route.pid);
        const work = { transport, count: TIMES * effort.opens, concurrency: CLIENTS };
        const { count, seconds } = await lab.clientOf(route).open(route, work);
        return { rate: count / seconds, perCpuSecond: count / (await cpuSeconds(route.pid) - before) };
      });
      const rate = { section: SECTION, figure: `${name}, ${CLIENTS} clients, rate`, unit: "1/s" };
      rows.push(...rowsOf(rate, many, (one) => one.rate));
      const perCore = {
        section: SECTION,
        figure: `${name}, ${CLIENTS} clients, for each CPU second`,
        unit: "1/s",
      };
      for (const row of rowsOf(perCore, many, (one) => one.perCpuSecond)) {
        rows.push(row.route === "gateway" ? { ...row, target: { atLeast: 300 } } : row);
      }
    }
    return { rows };
  },
};
