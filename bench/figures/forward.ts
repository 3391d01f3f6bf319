import { FORWARD_NAMES, forwards, type RouteName, TRANSPORTS } from "../lab/route.ts";
import { costOf, costRows } from "./cost.ts";
import { type Figure, type Row, takeTurns, wanted } from "./figure.ts";

const ROUTES: readonly RouteName[] = ["splice", "kube-apiserver", "gateway", "gateway, recording"];

const COMPARISONS = {
  speed: [
    { of: "gateway", to: "splice" },
    { of: "gateway", to: "kube-apiserver", target: { atLeast: 1 } },
    { of: "gateway, recording", to: "gateway", target: { atLeast: 0.75 } },
  ],
  cpu: [
    { of: "gateway", to: "kube-apiserver" },
    { of: "gateway, recording", to: "gateway" },
  ],
} as const;

const CASES = [
  { direction: "source", connections: 1, name: "from the pod, 1 connection" },
  { direction: "source", connections: 32, name: "from the pod, 32 connections" },
  { direction: "sink", connections: 1, name: "to the pod, 1 connection" },
] as const;

/** How much passes through forwarded connections. */
export const forward: Figure = {
  name: "forward",
  async measure(bench) {
    const { lab, effort } = bench;
    const routes = await wanted(bench, ROUTES);
    const rows: Row[] = [];
    for (const transport of TRANSPORTS) {
      const able = routes.filter((route) => forwards(route, transport));
      for (const { direction, connections, name } of CASES) {
        bench.tell(`port-forward, ${effort.mebibytes} MiB ${name}, ${FORWARD_NAMES[transport]}`);
        const bytes = Math.floor(effort.mebibytes * 2 ** 20 / connections);
        const work = { transport, direction, connections, bytes };
        const results = await takeTurns(
          able,
          effort.runs,
          (route) => costOf(route, () => lab.clientOf(route).forward(route, work)),
        );
        const figure = `${name}, ${FORWARD_NAMES[transport]}`;
        rows.push(...costRows("Port-forward: throughput and CPU", figure, results, COMPARISONS));
      }
    }
    return { rows };
  },
};
