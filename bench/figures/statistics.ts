/** The value that `share` (0 to 1) of `values` do not exceed, by nearest rank. @throws {RangeError} of no values */
export function percentile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((one, other) => one - other);
  const value = sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)];
  if (value === undefined) throw new RangeError("no values");
  return value;
}

/** The middle of `values`. */
export function median(values: readonly number[]): number {
  return percentile(values, 0.5);
}

/** What each run of `values` is to the same run of `others`. */
export function pairRatios(values: readonly number[], others: readonly number[]): number[] {
  return values.map((value, run) => value / others[run]!);
}

/** By which power of the work its cost grows: the slope of the logarithms' line of best fit. 1 is linear, 0 constant. */
export function growthExponent(points: readonly { work: number; cost: number }[]): number {
  const logarithms = points.map(({ work, cost }) => [Math.log(work), Math.log(cost)] as const);
  const mean = (of: readonly number[]) => of.reduce((sum, value) => sum + value, 0) / of.length;
  const [x, y] = [mean(logarithms.map(([work]) => work)), mean(logarithms.map(([, cost]) => cost))];
  const along = mean(logarithms.map(([work, cost]) => (work - x) * (cost - y)));
  return along / mean(logarithms.map(([work]) => (work - x) ** 2));
}
