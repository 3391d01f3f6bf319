import { openSession, type Route, type Transport, TRANSPORTS } from "../client/open_session.ts";
import { cpuSeconds } from "../lab/process_stats.ts";
import { bulk, BULK_BYTES, readBytes } from "../upstream/exec_channel.ts";
import type { Effort, Figure, Row } from "./figure.ts";
import { pairRatios } from "./statistics.ts";

const MEGABYTE = 1e6;
const GIGABYTE = 1e9;

/** Moves payload one way through a session. @returns how long it took, in seconds */
type Transfer = (route: Route, transport: Transport, mebibytes: number) => Promise<number>;

const stdout: Transfer = async (route, transport, mebibytes) => {
  const session = await openSession(route, transport, "produce", String(mebibytes));
  const startMs = performance.now();
  await session.write(session.frame(Uint8Array.of(0x61)));
  await readBytes(session, mebibytes * BULK_BYTES);
  const seconds = (performance.now() - startMs) / 1000;
  session.close();
  return seconds;
};

const stdin: Transfer = async (route, transport, mebibytes) => {
  const session = await openSession(route, transport, "consume");
  const wire = bulk(session);
  const startMs = performance.now();
  for (let rest = mebibytes; rest > 0; rest--) await session.write(wire);
  await session.finish();
  await readBytes(session, 1); // the process has seen the last byte
  const seconds = (performance.now() - startMs) / 1000;
  session.close();
  return seconds;
};

const DIRECTIONS = [{ name: "stdout", transfer: stdout }, { name: "stdin", transfer: stdin }] as const;

/** How much passes through, and what it costs, beside a process that does nothing but TLS in and TLS out. */
export const throughput: Figure = {
  name: "throughput",
  async measure(lab, effort, tell) {
    const rows: Row[] = [];
    for (const transport of TRANSPORTS) {
      for (const { name, transfer } of DIRECTIONS) {
        tell(`${name} of ${effort.mebibytes} MiB, ${transport}`);
        const through = (route: "splice" | "gateway") =>
          measure(transfer, lab.routes[route], lab.pids[route], transport, effort);
        const figure = `${name}, ${transport}`;
        const splice: Cost[] = [];
        const gateway: Cost[] = [];
        for (let run = 0; run < effort.runs; run++) {
          splice.push(await through("splice"));
          gateway.push(await through("gateway"));
        }
        rows.push(...compare(`${figure}, throughput`, "MB/s", ({ speed }) => speed, splice, gateway));
        rows.push(...compare(`${figure}, CPU`, "s/GB", ({ cpu }) => cpu, splice, gateway));
      }
    }
    return rows;
  },
};

interface Cost {
  /** MB/s */
  speed: number;
  /** CPU seconds for each GB */
  cpu: number;
}

async function measure(
  transfer: Transfer,
  route: Route,
  pid: number,
  transport: Transport,
  { mebibytes }: Effort,
): Promise<Cost> {
  const before = await cpuSeconds(pid);
  const seconds = await transfer(route, transport, mebibytes);
  const bytes = mebibytes * BULK_BYTES;
  return {
    speed: bytes / MEGABYTE / seconds,
    cpu: (await cpuSeconds(pid) - before) / (bytes / GIGABYTE),
  };
}

function compare(
  figure: string,
  unit: string,
  value: (cost: Cost) => number,
  splice: readonly Cost[],
  gateway: readonly Cost[],
): Row[] {
  const [limit, own] = [splice.map(value), gateway.map(value)];
  const row = { section: "Throughput", figure, unit };
  return [
    { ...row, route: "splice", values: limit },
    { ...row, route: "gateway", values: own, ratio: { to: "splice", values: pairRatios(own, limit) } },
  ];
}
