import type { Lab } from "../lab/lab.ts";

/** How much is measured. */
export interface Effort {
  /** How often each figure is taken; its median is told, with the least and the most. */
  runs: number;
  /** Exchanges in each run of the latency figures. */
  rounds: number;
  /** Payload of each run of the throughput figures, in MiB. */
  mebibytes: number;
  /** How long memory is watched, in seconds. */
  seconds: number;
  /** Sessions opened in each run. */
  opens: number;
}

/** One row of the table: one thing measured several times. */
export interface Row {
  /** The part of the table it belongs to. */
  section: string;
  /** What was measured, over which protocol. */
  figure: string;
  /** Which way the bytes went. */
  route: string;
  unit: string;
  /** One for each run. */
  values: readonly number[];
  /** Beside another row, run by run: the machine is noisy, but both had the same noise. */
  ratio?: { to: string; values: readonly number[] };
  /** What the median must stay below, or above. */
  target?: { below: number } | { atLeast: number };
}

/** A part of the benchmark. */
export interface Figure {
  /** As `--only` calls it. */
  name: string;
  measure(lab: Lab, effort: Effort, tell: (what: string) => void): Promise<Row[]>;
}
