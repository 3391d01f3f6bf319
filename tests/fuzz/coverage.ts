import { Session } from "node:inspector/promises";

/** A function of which something ran: which of its characters did. */
export interface CoveredFunction {
  /** The same in every run of one version. */
  name: string;
  /** Of its source. */
  length: number;
  /** Innermost last: what a range says holds within it, up to the next that lies in it. Counted from the function's begin. */
  ranges: readonly { from: number; to: number; didRun: boolean }[];
}

/** What of a script ran, as V8 tells it. */
interface ScriptCoverage {
  url: string;
  functions: readonly {
    ranges: readonly { startOffset: number; endOffset: number; count: number }[];
  }[];
}

/** Which code of the product runs, by V8's own block counters. One at a time in a process. */
export class Coverage implements Disposable {
  readonly #session = new Session();
  readonly #isOurs: (url: string) => boolean;

  private constructor(isOurs: (url: string) => boolean) {
    this.#isOurs = isOurs;
  }

  /** @param isOurs which scripts count, by their URL */
  static async start(isOurs: (url: string) => boolean): Promise<Coverage> {
    const coverage = new Coverage(isOurs);
    coverage.#session.connect();
    await coverage.#session.post("Profiler.enable");
    await coverage.#session.post("Profiler.startPreciseCoverage", { callCount: true, detailed: true });
    await coverage.take();
    return coverage;
  }

  /** What ran since the last call. */
  async take(): Promise<CoveredFunction[]> {
    const { result }: { result: readonly ScriptCoverage[] } = await this.#session.post(
      "Profiler.takePreciseCoverage",
    );
    return result.filter(({ url }) => this.#isOurs(url)).flatMap(({ url, functions }) =>
      functions.map(({ ranges }) => {
        const { startOffset: start, endOffset: end } = ranges[0]!;
        return {
          name: `${url}:${start}-${end}`,
          length: end - start,
          ranges: ranges.map(({ startOffset, endOffset, count }) => ({
            from: startOffset - start,
            to: endOffset - start,
            didRun: count > 0,
          })),
        };
      })
    );
  }

  [Symbol.dispose](): void {
    this.#session.disconnect();
  }
}

/** All the code that ever ran. By characters, for V8 leaves out ranges that ran as often as what is around them. */
export class SeenCode {
  readonly #functions = new Map<string, Uint8Array>();
  #characters = 0;

  /** How much of the source it is. */
  get characters(): number {
    return this.#characters;
  }

  /** Whether there is something in it that never ran before. */
  lacks(covered: readonly CoveredFunction[]): boolean {
    return covered.some((each) => {
      const seen = this.#functions.get(each.name);
      return painted(each).some((didRun, at) => didRun > (seen?.[at] ?? 0));
    });
  }

  /** @returns whether there was something new in it */
  add(covered: readonly CoveredFunction[]): boolean {
    const before = this.#characters;
    for (const each of covered) {
      const seen = this.#functions.get(each.name) ?? new Uint8Array(each.length);
      painted(each).forEach((didRun, at) => {
        if (didRun <= seen[at]!) return;
        seen[at] = 1;
        this.#characters++;
      });
      this.#functions.set(each.name, seen);
    }
    return this.#characters > before;
  }
}

function painted({ length, ranges }: CoveredFunction): Uint8Array {
  const characters = new Uint8Array(length);
  for (const { from, to, didRun } of ranges) characters.fill(didRun ? 1 : 0, from, to);
  return characters;
}
