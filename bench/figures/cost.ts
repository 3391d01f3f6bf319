import type { Transferred } from "../lab/peers.ts";
import { cpuSeconds } from "../lab/process_stats.ts";
import type { Route, RouteName } from "../lab/route.ts";
import { type Comparison, type Row, rowsOf } from "./figure.ts";

/** What moving bytes came to. */
export interface Cost {
  /** MB/s, of 10⁶ bytes. */
  speed: number;
  /** CPU seconds of the route's process, for each GB. */
  cpu: number;
}

/** Moves bytes, and looks at what the route's process has used meanwhile. */
export async function costOf({ pid }: Route, transfer: () => Promise<Transferred>): Promise<Cost> {
  const before = await cpuSeconds(pid);
  const { bytes, seconds } = await transfer();
  const cpu = await cpuSeconds(pid) - before;
  return { speed: bytes / 1e6 / seconds, cpu: cpu / (bytes / 1e9) };
}

/** The rows of throughput and of CPU. */
export function costRows(
  section: string,
  figure: string,
  results: ReadonlyMap<RouteName, readonly Cost[]>,
  comparisons: { speed: readonly Comparison[]; cpu: readonly Comparison[] },
): Row[] {
  return [
    ...rowsOf(
      { section, figure: `${figure}, throughput`, unit: "MB/s" },
      results,
      ({ speed }) => speed,
      comparisons.speed,
    ),
    ...rowsOf(
      { section, figure: `${figure}, CPU`, unit: "s/GB" },
      results,
      ({ cpu }) => cpu,
      comparisons.cpu,
    ),
  ];
}
