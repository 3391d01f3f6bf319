import type { Latencies } from "../lab/peers.ts";
import { EXEC_NAMES, type Route, type RouteName, type Transport, TRANSPORTS } from "../lab/route.ts";
import { type Bench, type Figure, type Row, rowsOf, takeTurns, type Target, wanted } from "./figure.ts";

const SECTION = "Keystroke echo";

const ROUTES: readonly RouteName[] = ["direct", "kube-apiserver", "gateway"];

/** Keys before the first that counts. */
const WARM_UP_KEYS = 100;

/** What may be added over the direct way, in milliseconds, where nothing else goes on. */
const TARGETS: Record<"p50" | "p99", Target> = { p50: { atMost: 0.3 }, p99: { atMost: 1 } };

/** With Nagle's algorithm anywhere on the way it would be 40 ms and more. */
const NAGLE: Target = { atMost: 5 };

/** What else goes on, and what a key brings. */
const CASES = [
  { name: "idle", isBulk: false, command: "echo" },
  { name: "beside a bulk stream", isBulk: true, command: "echo" },
  { name: "3 pieces written one by one, idle", isBulk: false, command: "burst" },
] as const;

/** How long a key takes to the process and back: a byte of stdin, and a byte of output, or three small pieces of it. */
export const echo: Figure = {
  name: "echo",
  async measure(bench) {
    const routes = await wanted(bench, ROUTES);
    const rows: Row[] = [];
    for (const transport of TRANSPORTS) {
      for (const one of CASES) {
        bench.tell(`keystroke echo, ${one.name}, ${EXEC_NAMES[transport]}`);
        const results = await takeTurns(
          routes,
          bench.effort.runs,
          (route) => type(bench, route, transport, one),
        );
        for (const share of ["p50", "p99"] as const) {
          const about = {
            section: SECTION,
            figure: `${one.name}, ${EXEC_NAMES[transport]}, ${share}`,
            unit: "ms",
          };
          const value = (latencies: Latencies) => latencies[`${share}Ms`];
          rows.push(...rowsOf(about, results, value, [{ of: "gateway", to: "kube-apiserver" }]));
          const [direct, gateway] = [results.get("direct"), results.get("gateway")];
          if (direct === undefined || gateway === undefined) continue;
          const target = one.command === "burst" ? NAGLE : TARGETS[share];
          rows.push({
            ...about,
            route: "gateway − direct",
            values: gateway.map((latencies, run) => value(latencies) - value(direct[run]!)),
            ...!one.isBulk && { target },
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
  { isBulk, command }: typeof CASES[number],
): Promise<Latencies> {
  const client = lab.clientOf(route);
  await using _flood = isBulk ? client.flood(route, transport) : undefined;
  return await client.echo(route, { transport, command, count: effort.keys, warm: WARM_UP_KEYS });
}
