import { EXEC_NAMES, type RouteName, type Transport, TRANSPORTS } from "../lab/route.ts";
import { costOf, costRows } from "./cost.ts";
import { type Comparison, type Figure, type Row, takeTurns, wanted } from "./figure.ts";

const SECTION = "Exec: throughput and CPU";

const ROUTES: readonly RouteName[] = [
  "splice",
  "kube-apiserver",
  "gateway",
  "gateway, recording",
  "gateway, apiserver mode",
];

const RECORDED: Comparison = { of: "gateway, recording", to: "gateway", target: { atLeast: 0.75 } };

/** The splice passes what a kubelet speaks, which over WebSocket is v4: no measure for v5. */
const COMPARISONS: Record<Transport, { speed: Comparison[]; cpu: Comparison[] }> = {
  spdy: {
    speed: [
      { of: "gateway", to: "splice", target: { atLeast: 0.8 } },
      { of: "gateway", to: "kube-apiserver", target: { atLeast: 1 } },
      RECORDED,
    ],
    cpu: [
      { of: "gateway", to: "splice" },
      { of: "gateway", to: "kube-apiserver", target: { atMost: 0.6 } },
      { of: "gateway, recording", to: "gateway" },
    ],
  },
  websocket: {
    speed: [{ of: "gateway", to: "kube-apiserver", target: { atLeast: 1.2 } }, RECORDED],
    cpu: [
      { of: "gateway", to: "kube-apiserver", target: { atMost: 0.6 } },
      { of: "gateway, recording", to: "gateway" },
    ],
  },
};

/** How much output and input passes, and what it costs the process in the middle. */
export const exec: Figure = {
  name: "exec",
  async measure(bench) {
    const { lab, effort } = bench;
    const routes = await wanted(bench, ROUTES);
    const rows: Row[] = [];
    for (const transport of TRANSPORTS) {
      const able = routes.filter(({ name }) => name !== "splice" || transport === "spdy");
      for (const way of ["stdout", "stdin"] as const) {
        bench.tell(`exec, ${way} of ${effort.mebibytes} MiB, ${EXEC_NAMES[transport]}`);
        const bytes = effort.mebibytes * 2 ** 20;
        const results = await takeTurns(
          able,
          effort.runs,
          (route) => costOf(route, () => lab.clientOf(route)[way](route, { transport, bytes })),
        );
        rows.push(...costRows(SECTION, `${way}, ${EXEC_NAMES[transport]}`, results, COMPARISONS[transport]));
      }
    }
    return { rows };
  },
};
