import type { RouteName } from "../lab/route.ts";
import { costOf, costRows } from "./cost.ts";
import { type Figure, type Row, takeTurns, wanted } from "./figure.ts";

const ROUTES: readonly RouteName[] = ["gateway", "gateway, recording"];

const COMPARISONS = {
  speed: [{ of: "gateway, recording", to: "gateway", target: { atLeast: 0.75 } }],
  cpu: [{ of: "gateway, recording", to: "gateway" }],
} as const;

/** Lines of a log, and what nobody can compress; one letter is what every other figure is made of. */
const CONTENTS = ["log", "noise"] as const;

/** What it costs to record, by what is recorded: the same output through a gateway that does not, and one that must. */
export const recording: Figure = {
  name: "recording",
  async measure(bench) {
    const { lab, effort } = bench;
    const routes = await wanted(bench, ROUTES);
    const rows: Row[] = [];
    for (const content of CONTENTS) {
      bench.tell(`${effort.mebibytes} MiB of ${content}, recorded`);
      const work = { transport: "spdy", bytes: effort.mebibytes * 2 ** 20, content } as const;
      const results = await takeTurns(
        routes,
        effort.runs,
        (route) => costOf(route, () => lab.clientOf(route).stdout(route, work)),
      );
      rows.push(...costRows("Recording, by content", `stdout of ${content}, SPDY`, results, COMPARISONS));
    }
    return { rows };
  },
};
