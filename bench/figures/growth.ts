import { FORWARD_NAMES, TRANSPORTS } from "../lab/route.ts";
import type { Bench, Figure, Series } from "./figure.ts";
import { growthRow } from "./idle.ts";
import { median } from "./statistics.ts";

const CONNECTIONS = [1, 10, 100, 1_000];

/** What each connection carries there and back, in bytes. */
const CONNECTION_BYTES = 1_024;

/** Requests for new pods that are under way at once. */
const CREATORS = 32;

/** What more work costs: connections in one session, pods in the cluster. Idle sessions are in a figure of their own. */
export const growth: Figure = {
  name: "growth",
  async measure(bench) {
    const series = [...await byConnections(bench), ...await byPods(bench)];
    return { rows: series.map(growthRow), series };
  },
};

async function byConnections({ lab, effort, tell }: Bench): Promise<Series[]> {
  const route = await lab.route("gateway");
  const found: Series[] = [];
  for (const transport of TRANSPORTS) {
    tell(`connections in one session, ${FORWARD_NAMES[transport]}`);
    const points = [];
    for (const connections of CONNECTIONS) {
      const tookMs: number[] = [];
      const work = { transport, direction: "echo", connections, bytes: CONNECTION_BYTES } as const;
      for (let run = 0; run < effort.runs; run++) {
        const { openMs, seconds } = await lab.peers.forward(route, work);
        tookMs.push(openMs + seconds * 1_000);
      }
      points.push({ work: connections, cost: median(tookMs) });
    }
    found.push({
      section: "Growth",
      work: `connections in one session, ${FORWARD_NAMES[transport]}`,
      cost: "open all and echo 1 KiB on each, ms",
      points,
    });
  }
  return found;
}

/** Pods that nobody runs: the gateway must not look at them. */
async function byPods({ lab, effort, tell }: Bench): Promise<Series[]> {
  const route = await lab.route("gateway");
  const { url, gatewayTokenFile } = lab.controlPlane;
  const points = [];
  let made = 0;
  for (const pods of effort.pods) {
    tell(`${pods} pods in the cluster`);
    const work = { count: pods - made, warm: made, concurrency: CREATORS };
    await lab.peers.pods(url, gatewayTokenFile, work);
    made = pods;
    const took: number[] = [];
    for (let run = 0; run < effort.runs; run++) {
      took.push((await lab.peers.open(route, { transport: "spdy", count: effort.opens, warm: 20 })).p50Ms);
    }
    points.push({ work: pods, cost: median(took) });
  }
  return [{ section: "Growth", work: "pods in the cluster", cost: "p50 of opening a session, ms", points }];
}
