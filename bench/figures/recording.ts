import { EXEC_NAMES, type RouteName, TRANSPORTS } from "../lab/route.ts";
import { costOf, costRows } from "./cost.ts";
import { type Figure, type Row, takeTurns, wanted } from "./figure.ts";

const ROUTES: readonly RouteName[] = ["gateway", "gateway, recording"];

const COMPARISONS = {
  speed: [{ of: "gateway, recording", to: "gateway", target: { atLeast: 0.75 } }],
  cpu: [{ of: "gateway, recording", to: "gateway" }],
} as const;

/** What payload is made of: one letter, lines of a log, or what nobody can compress. */
const CONTENTS = ["letters", "log", "noise"] as const;

/** What it costs to record, by what is recorded: the same output through a gateway that does not, and one that must. */
export const recording: Figure = {
  name: "recording",
  async measure(bench) {
    const { lab, effort } = bench;
    const routes = await wanted(bench, ROUTES);
    const rows: Row[] = [];
    for (const transport of TRANSPORTS) {
      for (const content of CONTENTS) {
        bench.tell(`${effort.mebibytes} MiB of ${content}, recorded, ${EXEC_NAMES[transport]}`);
        const bytes = effort.mebibytes * 2 ** 20;
        const results = await takeTurns(
          routes,
          effort.runs,
          (route) => costOf(route, () => lab.clientOf(route).stdout(route, { transport, bytes, content })),
        );
        const figure = `stdout of ${content}, ${EXEC_NAMES[transport]}`;
        rows.push(...costRows("Recording: what is recorded", figure, results, COMPARISONS));
      }
    }
    return { rows };
  },
};
