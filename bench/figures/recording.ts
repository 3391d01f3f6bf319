import { openSession, type Route, type Transport, TRANSPORTS } from "../client/open_session.ts";
import { cpuSeconds } from "../lab/process_stats.ts";
import { BULK_BYTES, type Content, CONTENTS, readBytes } from "../upstream/exec_channel.ts";
import type { Effort, Figure, Row } from "./figure.ts";
import { pairRatios } from "./statistics.ts";

/** Throughput in MB/s; CPU seconds for each GB. */
interface Cost {
  speed: number;
  cpu: number;
}

/** What it costs to record: the same output through a gateway that does not, and through one that waits for the disk. */
export const recording: Figure = {
  name: "recording",
  async measure(lab, effort, tell) {
    const rows: Row[] = [];
    for (const transport of TRANSPORTS) {
      for (const content of CONTENTS) {
        tell(`${effort.mebibytes} MiB of ${content}, recorded, ${transport}`);
        const [plain, recorded]: [Cost[], Cost[]] = [[], []];
        for (let run = 0; run < effort.runs; run++) {
          plain.push(await measure(lab.routes.gateway, lab.pids.gateway, transport, content, effort));
          recorded.push(await measure(lab.routes.recorded, lab.pids.recorded, transport, content, effort));
        }
        const figure = `stdout of ${content}, ${transport}`;
        rows.push(...compare(`${figure}, throughput`, "MB/s", ({ speed }) => speed, plain, recorded));
        rows.push(...compare(`${figure}, CPU`, "s/GB", ({ cpu }) => cpu, plain, recorded));
      }
    }
    return rows;
  },
};

async function measure(
  route: Route,
  pid: number,
  transport: Transport,
  content: Content,
  { mebibytes }: Effort,
): Promise<Cost> {
  const session = await openSession(route, transport, "produce", `${mebibytes}-${content}`);
  const bytes = mebibytes * BULK_BYTES;
  const before = await cpuSeconds(pid);
  const startMs = performance.now();
  await session.write(session.frame(Uint8Array.of(0x61)));
  await readBytes(session, bytes);
  const seconds = (performance.now() - startMs) / 1000;
  const cpu = await cpuSeconds(pid) - before;
  session.close();
  return { speed: bytes / 1e6 / seconds, cpu: cpu / (bytes / 1e9) };
}

function compare(
  figure: string,
  unit: string,
  value: (cost: Cost) => number,
  plain: readonly Cost[],
  recorded: readonly Cost[],
): Row[] {
  const [without, having] = [plain.map(value), recorded.map(value)];
  const row = { section: "Recording", figure, unit };
  return [
    { ...row, route: "gateway", values: without },
    {
      ...row,
      route: "recorded",
      values: having,
      ratio: { to: "gateway", values: pairRatios(having, without) },
    },
  ];
}
