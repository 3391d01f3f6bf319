import { openSession, type Route, type Transport, TRANSPORTS } from "../client/open_session.ts";
import { readBytes } from "../upstream/exec_channel.ts";
import type { Figure, Row } from "./figure.ts";
import { pairRatios, percentile } from "./statistics.ts";

/** From the first packet of a new connection to the command's first byte of output, one session after the other. */
export const opening: Figure = {
  name: "open",
  async measure(lab, effort, tell) {
    const routes = [lab.routes.direct, lab.routes.gateway] as const;
    const rows: Row[] = [];
    for (const transport of TRANSPORTS) {
      tell(`open a session, ${transport}`);
      for (const route of routes) await measure(route, transport, 20);
      const runs: { p50: number; p99: number }[][] = [[], []];
      for (let run = 0; run < effort.runs; run++) {
        for (const [index, route] of routes.entries()) {
          runs[index]!.push(await measure(route, transport, effort.opens));
        }
      }
      for (const share of ["p50", "p99"] as const) {
        const [direct, gateway] = runs.map((of) => of.map((run) => run[share])) as [number[], number[]];
        const row = { section: "Open a session", figure: `${transport}, ${share}`, unit: "ms" };
        rows.push({ ...row, route: "direct", values: direct });
        const ratio = { to: "direct", values: pairRatios(gateway, direct) };
        rows.push({ ...row, route: "gateway", values: gateway, ratio });
      }
    }
    return rows;
  },
};

async function measure(route: Route, transport: Transport, opens: number) {
  const tookMs: number[] = [];
  for (let open = 0; open < opens; open++) {
    const startMs = performance.now();
    const session = await openSession(route, transport, "hello");
    await readBytes(session, 1);
    tookMs.push(performance.now() - startMs);
    while (await session.read() !== null); // to its end, so that the gateway is done with it
    session.close();
  }
  return { p50: percentile(tookMs, 0.5), p99: percentile(tookMs, 0.99) };
}
