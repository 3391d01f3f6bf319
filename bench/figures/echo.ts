import type { Latencies } from "../lab/peers.ts";
import { EXEC_NAMES, type Route, type RouteName, type Transport, TRANSPORTS } from "../lab/route.ts";
import { type Bench, type Figure, type Row, rowsOf, takeTurns, type Target, wanted } from "./figure.ts";

const SECTION = "Keystroke echo";

const ROUTES: readonly RouteName[] = ["direct", "kube-apiserver", "gateway"];

/** Keys before the first that counts. */
const WARM_UP_KEYS = 100;

/** What may be added over the direct way, in milliseconds, where nothing else goes on. */
const TARGETS: Record<"p50" | "p99", Target> = { p50: { atMost: 0.3 }, p99: { atMost: 1 } };

/** How long a key takes to the process and back: a byte of stdin, and a byte of output. */
export const echo: Figure = {
  name: "echo",
  async measure(bench) {
    const routes = await wanted(bench, ROUTES);
    const rows: Row[] = [];
    for (const transport of TRANSPORTS) {
      for (const company of ["idle", "beside a bulk stream"] as const) {
        bench.tell(`keystroke echo, ${company}, ${EXEC_NAMES[transport]}`);
        const isBulk = company !== "idle";
        const results = await takeTurns(
          routes,
          bench.effort.runs,
          (route) => type(bench, route, transport, isBulk),
        );
        for (const share of ["p50", "p99"] as const) {
          const about = {
            section: SECTION,
            figure: `${company}, ${EXEC_NAMES[transport]}, ${share}`,
            unit: "ms",
          };
          const value = (latencies: Latencies) => latencies[`${share}Ms`];
          rows.push(...rowsOf(about, results, value, [{ of: "gateway", to: "kube-apiserver" }]));
          const [direct, gateway] = [results.get("direct"), results.get("gateway")];
          if (direct === undefined || gateway === undefined) continue;
          rows.push({
            ...about,
            route: "gateway − direct",
            values: gateway.map((latencies, run) => value(latencies) - value(direct[run]!)),
            ...!isBulk && { target: TARGETS[share] },
          });
        }
      }
    }
    return { rows };
  },
};

async function type(
  { lab, effort }: Bench,
  route: Route,
  transport: Transport,
  isBulk: boolean,
): Promise<Latencies> {
  const client = lab.clientOf(route);
  await using _flood = isBulk ? client.flood(route, transport) : undefined;
  return await client.echo(route, { transport, count: effort.keys, warm: WARM_UP_KEYS });
}
