/** Whether one thing that the gateway depends on is well: `undefined`, or one sentence that says what is wrong. */
export type Check = (signal: AbortSignal) => Promise<string | undefined> | string | undefined;

/** What one check came to. */
export interface CheckResult {
  name: string;
  ok: boolean;
  /** What is wrong; absent where nothing is. */
  message?: string;
  /** Sessions go on without it: that it is down is told, and makes nobody unready. Absent: they do not. */
  needed?: false;
}

/** What all checks came to. */
export interface Verdict {
  ready: boolean;
  checks: CheckResult[];
}

/** Options of a {@linkcode Health}. */
export interface HealthOptions {
  /** How long all checks together may take; what has not answered by then is down. @default {2000} */
  deadlineMs?: number;
  /** How long an answer holds: who asks more often costs the API server nothing. @default {1000} */
  memoryMs?: number;
  /** What is asked beside, by name, and is no condition: sessions go on without it. @default {} */
  spared?: Readonly<Record<string, Check>>;
  /** The time in milliseconds. @default {performance.now} */
  now?: () => number;
}

/**
 * Whether the gateway can do its work, and if not, for want of what.
 *
 * All who ask at once share one round of checks, and those who ask shortly afterwards have the same answer; but what
 * {@linkcode Health.gate} says counts at once.
 */
export class Health {
  readonly #checks: ReadonlyMap<string, Check>;
  readonly #gate: () => string | undefined;
  readonly #spared: ReadonlyMap<string, Check>;
  readonly #options: Required<Omit<HealthOptions, "spared">>;
  #last: { verdict: Promise<CheckResult[]>; untilMs: number } | undefined;

  /**
   * @param gate what is wrong with the gateway itself, of which it knows without asking: that it drains
   * @param checks what is asked, by name
   */
  constructor(
    gate: () => string | undefined,
    checks: Readonly<Record<string, Check>>,
    { deadlineMs = 2000, memoryMs = 1000, spared = {}, now = () => performance.now() }: HealthOptions = {},
  ) {
    this.#gate = gate;
    this.#checks = new Map(Object.entries(checks));
    this.#spared = new Map(Object.entries(spared));
    this.#options = { deadlineMs, memoryMs, now };
  }

  /** Never throws: a check that does is down. */
  async verdict(): Promise<Verdict> {
    const { memoryMs, now } = this.#options;
    if (this.#last === undefined || this.#last.untilMs <= now()) {
      // Those who come while it is under way wait for it: it has a deadline.
      const last = { verdict: this.#ask(), untilMs: Infinity };
      this.#last = last;
      void last.verdict.then(() => last.untilMs = now() + memoryMs);
    }
    const asked = await this.#last.verdict;
    const checks = [resultOf("gateway", this.#gate()), ...asked];
    return { ready: checks.every(({ ok, needed }) => ok || needed === false), checks };
  }

  async #ask(): Promise<CheckResult[]> {
    const { deadlineMs } = this.#options;
    const late = new AbortController();
    const timer = setTimeout(() => late.abort(new Error("did not answer in time")), deadlineMs);
    try {
      const ask = ([name, check]: [string, Check]) => askOne(name, check, late.signal);
      const [needed, spared] = await Promise.all([
        Promise.all([...this.#checks].map(ask)),
        Promise.all([...this.#spared].map(ask)),
      ]);
      return [...needed, ...spared.map((result) => ({ ...result, needed: false as const }))];
    } finally {
      clearTimeout(timer);
    }
  }
}

async function askOne(name: string, check: Check, late: AbortSignal): Promise<CheckResult> {
  const tooLate = Promise.withResolvers<string>();
  const onLate = () => tooLate.resolve("did not answer in time");
  late.addEventListener("abort", onLate);
  try {
    return resultOf(name, await Promise.race([check(late), tooLate.promise]));
  } catch (thrown) {
    return resultOf(name, thrown instanceof Error ? thrown.message : "failed");
  } finally {
    late.removeEventListener("abort", onLate);
  }
}

function resultOf(name: string, message: string | undefined): CheckResult {
  return message === undefined ? { name, ok: true } : { name, ok: false, message };
}
