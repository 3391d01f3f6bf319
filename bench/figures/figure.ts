import type { Lab } from "../lab/lab.ts";
import type { Route, RouteName } from "../lab/route.ts";
import { pairRatios } from "./statistics.ts";

/** How much is measured. */
export interface Effort {
  /** How often each figure is taken; its median is told, with the least and the most. */
  runs: number;
  /** Payload of each run of the throughput figures, in MiB. */
  mebibytes: number;
  /** Keys that are typed in each run. */
  keys: number;
  /** Sessions opened in each run, one after the other. */
  opens: number;
  /** Idle sessions in one process. */
  idleSessions: number;
  /** Clients, or upstreams, that never read. */
  stalledSessions: number;
  /** How long memory is watched, in seconds. */
  seconds: number;
  /** Pods in the cluster, least first. */
  pods: readonly number[];
}

/** What a figure is measured with. */
export interface Bench {
  lab: Lab;
  effort: Effort;
  /** Whether a route is wanted at all. */
  wants(route: RouteName): boolean;
  tell(what: string): void;
}

/** One row of the table: one thing measured several times. */
export interface Row {
  /** The part of the table it belongs to. */
  section: string;
  /** What was measured, over which protocol. */
  figure: string;
  /** Which way the bytes went, or which of two ways is held against which. */
  route: string;
  unit: string;
  /** One for each run. */
  values: readonly number[];
  /** What the median must not be above, or below. */
  target?: Target;
}

/** A bound of a median. */
export type Target = { atMost: number } | { atLeast: number };

/** How a cost grows with the work. */
export interface Series {
  section: string;
  /** What grows, as in "opened sessions". */
  work: string;
  /** What is measured for it, with its unit. */
  cost: string;
  /** Least work first. */
  points: readonly { work: number; cost: number }[];
}

/** A part of the benchmark. */
export interface Figure {
  /** As `--only` calls it. */
  name: string;
  measure(bench: Bench): Promise<Measured>;
}

/** What came of a figure. */
export interface Measured {
  rows: readonly Row[];
  series?: readonly Series[];
}

/** The wanted ones of `names`, started. */
export function wanted({ lab, wants }: Bench, names: readonly RouteName[]): Promise<Route[]> {
  return lab.routes(names.filter(wants));
}

/**
 * Takes a figure of each route in turn, run by run: two runs that follow each other had the same noise.
 *
 * @returns one result for each run, by route
 */
export async function takeTurns<T>(
  routes: readonly Route[],
  runs: number,
  measure: (route: Route) => Promise<T>,
): Promise<Map<RouteName, T[]>> {
  const results = new Map<RouteName, T[]>(routes.map(({ name }) => [name, []]));
  for (let run = 0; run < runs; run++) {
    for (const route of routes) results.get(route.name)!.push(await measure(route));
  }
  return results;
}

/** Two routes that are held against each other, run by run. */
export interface Comparison {
  of: RouteName;
  to: RouteName;
  target?: Target;
}

/** A row for each route, and one for each comparison of which both sides were measured. */
export function rowsOf<T>(
  about: Pick<Row, "section" | "figure" | "unit">,
  results: ReadonlyMap<RouteName, readonly T[]>,
  value: (result: T) => number,
  comparisons: readonly Comparison[] = [],
): Row[] {
  const rows: Row[] = [...results].map(([route, of]) => ({ ...about, route, values: of.map(value) }));
  for (const { of, to, target } of comparisons) {
    const [own, other] = [results.get(of), results.get(to)];
    if (own === undefined || other === undefined) continue;
    rows.push({
      ...about,
      unit: "×",
      route: `${of} ÷ ${to}`,
      values: pairRatios(own.map(value), other.map(value)),
      ...target && { target },
    });
  }
  return rows;
}
