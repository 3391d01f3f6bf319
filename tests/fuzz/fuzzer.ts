import { type Coverage, SeenCode } from "./coverage.ts";
import { mutate } from "./mutate.ts";
import type { Random } from "./random.ts";
import { bytesOf, type Target } from "./target.ts";

/** An input of which a parser's promise does not hold. */
export interface Finding {
  target: string;
  /** As small as it could be made. */
  input: Uint8Array;
  /** What was thrown, or that it took too long. */
  thrown: unknown;
}

/** What fuzzing one target came to. */
export interface FuzzResult {
  runs: number;
  /** Characters of the product's source that ran. */
  covered: number;
  /** Inputs that each ran some code which none before did. */
  corpus: number;
  findings: readonly Finding[];
}

/** What a fuzzer is told. */
export interface FuzzOptions {
  random: Random;
  coverage: Pick<Coverage, "take">;
  /** How long, in milliseconds. */
  budgetMs: number;
  /** Different findings after which there is no point in going on. @default {5} */
  maxFindings?: number;
  /** Inputs to begin with, beside the target's own. */
  vectors?: readonly Uint8Array[];
  /** Is told of each input before it is run, so that somebody else may notice if it never ends. */
  onInput?(input: Uint8Array): void;
}

/** Between two looks at what has run, in inputs and milliseconds: a look takes as long as a hundred quick inputs. */
const BATCH = 256;
const BATCH_MS = 20;

/** How long a finding may be made smaller, in milliseconds. */
const SHRINK_MS = 2_000;

/** Runs one target: what reaches new code is kept, and changed further. */
export async function fuzz(target: Target, options: FuzzOptions): Promise<FuzzResult> {
  return await new Fuzzer(target, options).run();
}

class Fuzzer {
  readonly #target: Target;
  readonly #options: FuzzOptions;
  readonly #corpus: Uint8Array[] = [];
  readonly #words: readonly Uint8Array[];
  readonly #seen = new SeenCode();
  /** By what was thrown and where: one of a kind is enough. */
  readonly #findings = new Map<string, Finding>();
  #runs = 0;

  constructor(target: Target, options: FuzzOptions) {
    this.#target = target;
    this.#options = options;
    this.#words = (target.words ?? []).map(bytesOf);
  }

  async run(): Promise<FuzzResult> {
    const { budgetMs, coverage, vectors = [], maxFindings = 5 } = this.#options;
    const endsAt = performance.now() + budgetMs;
    await coverage.take();
    for (const seed of [...this.#target.seeds.map(bytesOf), ...vectors]) await this.#learn(seed);
    if (this.#corpus.length === 0) this.#corpus.push(new Uint8Array());
    while (performance.now() < endsAt && this.#findings.size < maxFindings) {
      const batch = await this.#runBatch();
      if (await this.#reachesMore()) await this.#learnFrom(batch);
    }
    const findings: Finding[] = [];
    for (const finding of this.#findings.values()) {
      findings.push({ ...finding, input: await this.#shrink(finding) });
    }
    return { runs: this.#runs, covered: this.#seen.characters, corpus: this.#corpus.length, findings };
  }

  async #runBatch(): Promise<Uint8Array[]> {
    const endsAt = performance.now() + BATCH_MS;
    const inputs: Uint8Array[] = [];
    while (inputs.length < BATCH && performance.now() < endsAt) {
      const input = this.#next();
      inputs.push(input);
      await this.#check(input);
    }
    return inputs;
  }

  /** Whether something ran since the last look that never did before. */
  async #reachesMore(): Promise<boolean> {
    return this.#seen.lacks(await this.#options.coverage.take());
  }

  /** Finds the inputs of a batch that reached more, by halves. */
  async #learnFrom(inputs: readonly Uint8Array[]): Promise<void> {
    const [only, ...others] = inputs;
    if (only === undefined) return;
    if (others.length === 0) return await this.#learn(only);
    const middle = inputs.length >> 1;
    for (const half of [inputs.slice(0, middle), inputs.slice(middle)]) {
      for (const input of half) await this.#check(input);
      if (await this.#reachesMore()) await this.#learnFrom(half);
    }
  }

  #next(): Uint8Array {
    const { random } = this.#options;
    const { generate, maxBytes = 4096 } = this.#target;
    const sources = { random, corpus: this.#corpus, words: this.#words, maxBytes };
    if (generate === undefined || random.below(3) > 0) return mutate(this.#pick(), sources);
    const made = generate.call(this.#target, random);
    return random.oneIn(2) ? made : mutate(made, sources);
  }

  /** What was found last is looked at more often: there is more behind it. */
  #pick(): Uint8Array {
    const { random } = this.#options;
    return random.oneIn(2) ? random.pick(this.#corpus) : random.pick(this.#corpus.slice(-16));
  }

  /** Runs one input alone, and keeps it where it reaches something new. */
  async #learn(input: Uint8Array): Promise<void> {
    await this.#check(input);
    if (this.#seen.add(await this.#options.coverage.take())) this.#corpus.push(input);
  }

  async #check(input: Uint8Array): Promise<void> {
    this.#runs++;
    this.#options.onInput?.(input);
    const thrown = await this.#broken(input);
    if (thrown === undefined) return;
    const kind = kindOf(thrown.cause);
    if (!this.#findings.has(kind)) {
      this.#findings.set(kind, { target: this.#target.name, input: input.slice(), thrown: thrown.cause });
    }
  }

  /** What breaks of this input, if anything does. A machine that is busy makes one run slow, and not three. */
  async #broken(input: Uint8Array): Promise<{ cause: unknown } | undefined> {
    const { maxMs = 1_000 } = this.#target;
    for (let attempt = 0; attempt < 3; attempt++) {
      const startedAt = performance.now();
      try {
        const checked = this.#target.check(input.slice());
        if (checked) await checked;
      } catch (cause) {
        return { cause };
      }
      if (performance.now() - startedAt < maxMs) return undefined;
    }
    return { cause: new Error(`it took more than ${maxMs} ms`) };
  }

  /** Leaves out what is not needed for the same to happen. */
  async #shrink({ input, thrown }: Finding): Promise<Uint8Array> {
    const kind = kindOf(thrown);
    const endsAt = performance.now() + SHRINK_MS;
    let smallest = input;
    for (let size = Math.ceil(input.length / 2); size >= 1; size = Math.floor(size / 2)) {
      for (let at = 0; at < smallest.length && performance.now() < endsAt;) {
        const less = new Uint8Array([...smallest.subarray(0, at), ...smallest.subarray(at + size)]);
        const broken = await this.#broken(less);
        if (broken !== undefined && kindOf(broken.cause) === kind) smallest = less;
        else at += size;
      }
    }
    return smallest;
  }
}

/** The first line of what was thrown, and where in our own code that was. */
function kindOf(thrown: unknown): string {
  if (!(thrown instanceof Error)) return String(thrown);
  const place = thrown.stack?.split("\n").find((line) => line.includes("file://")) ?? "";
  return `${thrown.name} ${thrown.message.split("\n")[0]?.replaceAll(/[0-9]+/g, "0").slice(0, 80)} ${place}`;
}
