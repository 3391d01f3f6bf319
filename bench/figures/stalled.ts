import { residentBytes } from "../lab/process_stats.ts";
import { EXEC_NAMES, type Transport, TRANSPORTS } from "../lab/route.ts";
import type { Bench, Figure, Row } from "./figure.ts";
import { mostResident, settle } from "./watch.ts";

/** What a session may keep in the gateway when one of its sides stops to read, in KB. */
const KILOBYTES_EACH = 1_024;

/** What garbage may come and go while nothing passes, in MB. */
const NOISE_MEGABYTES = 16;

/** How long buffers have to fill, in seconds. */
const FILLING_SECONDS = 15;

const CLIENTS = 8;

const CASES = [
  { direction: "source", name: "clients that never read" },
  { direction: "sink", name: "upstreams that never read" },
] as const;

/** Whether a buffer grows behind a peer that does not read, while the other sends all it can. A process of its own for each case. */
export const stalled: Figure = {
  name: "stalled",
  async measure(bench) {
    const rows: Row[] = [];
    for (const [index, { direction, name }] of CASES.entries()) {
      rows.push(...await watch(bench, TRANSPORTS[index % TRANSPORTS.length]!, direction, name));
    }
    return { rows };
  },
};

async function watch(
  { lab, effort, tell }: Bench,
  transport: Transport,
  direction: "source" | "sink",
  name: string,
): Promise<Row[]> {
  const count = effort.stalledSessions;
  tell(`${count} ${name}, ${EXEC_NAMES[transport]}`);
  await using gateway = await lab.ownGateway();
  const { route } = gateway;
  await lab.peers.open(route, { transport, count: 20 });
  await settle();
  const before = await residentBytes(route.pid);
  await using held = await lab.peers.hold("stall", route, {
    transport,
    direction,
    count,
    concurrency: CLIENTS,
  });
  const filled = await mostResident(route.pid, FILLING_SECONDS);
  const most = await mostResident(route.pid, effort.seconds);
  const lost = await held.release();
  const about = {
    section: "Memory: one side never reads, the other sends all it can",
    figure: `${count} ${name}, ${EXEC_NAMES[transport]}`,
    route: "gateway",
  };
  return [
    {
      ...about,
      figure: `${about.figure}: each`,
      unit: "KB",
      values: [(Math.max(most, filled) - before) / count / 1e3],
      target: { atMost: KILOBYTES_EACH },
    },
    {
      ...about,
      figure: `${about.figure}: all, growth in ${effort.seconds} s`,
      unit: "MB",
      values: [(most - filled) / 1e6],
      target: { atMost: NOISE_MEGABYTES },
    },
    {
      ...about,
      figure: `${about.figure}: ended by themselves`,
      unit: "",
      values: [lost],
      target: { atMost: 0 },
    },
  ];
}
