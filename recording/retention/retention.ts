/** What an operator says about how long recordings are kept. */
export interface RetentionOptions {
  /** 0: for ever. */
  maxAgeDays: number;
  /** 0: as many as there are. */
  maxBytes: number;
  sweepSeconds: number;
}

/** A recording that is kept so far. */
export interface KeptRecording {
  /** Below the store. */
  path: string;
  bytes: number;
  /** When it was written to last: when its session ended, where it has. */
  modifiedAt: Date;
  /** Something forbids its deletion: a legal hold, or that its session lives. */
  isKept: boolean;
}

/** What is not to be kept any longer, and why. */
export interface Deletion {
  path: string;
  bytes: number;
  modifiedAt: Date;
  reason: "age" | "size";
  /** The reason as a sentence, with its bound. */
  message: string;
}

const DAY_MS = 86_400_000;

/** What may be kept, at the time of one sweep. */
export class RetentionRule {
  /** What was written to last at this time or before is too old, in milliseconds since 1970. */
  readonly #expiredMs: number;
  readonly #options: Pick<RetentionOptions, "maxAgeDays" | "maxBytes">;

  constructor(options: Pick<RetentionOptions, "maxAgeDays" | "maxBytes">, nowMs: number) {
    this.#options = options;
    this.#expiredMs = options.maxAgeDays === 0 ? -Infinity : nowMs - options.maxAgeDays * DAY_MS;
  }

  /** Whether anything is ever deleted. */
  static isNeeded({ maxAgeDays, maxBytes }: Pick<RetentionOptions, "maxAgeDays" | "maxBytes">): boolean {
    return maxAgeDays > 0 || maxBytes > 0;
  }

  /** Whether what was written to last at this time is too old. */
  isExpired(ms: number): boolean {
    return ms <= this.#expiredMs;
  }

  /** How many bytes of recordings are too many; below 0, how many there is room for. */
  excessOf(totalBytes: number): number {
    const { maxBytes } = this.#options;
    return maxBytes === 0 ? -Infinity : totalBytes - maxBytes;
  }

  /** What is to be said of a deletion because of its age. */
  get ageMessage(): string {
    return `older than ${count(this.#options.maxAgeDays, "day")}`;
  }

  /**
   * Which recordings are to be deleted, oldest first: those that are too old, and of the others as many as are in excess. What
   * is kept counts towards the excess and is never among them.
   *
   * @param excessBytes by how much all recordings together are too many, these among them
   */
  due(recordings: readonly KeptRecording[], excessBytes: number): Deletion[] {
    const deletions: Deletion[] = [];
    let left = excessBytes;
    for (const { path, bytes, modifiedAt, isKept } of recordings.toSorted(byAge)) {
      if (isKept) continue;
      const isOld = this.isExpired(modifiedAt.getTime());
      if (!isOld && left <= 0) continue;
      left -= bytes;
      const reason = isOld ? "age" : "size";
      const message = isOld ? this.ageMessage : `recordings take more than ${this.#options.maxBytes} bytes`;
      deletions.push({ path, bytes, modifiedAt, reason, message });
    }
    return deletions;
  }
}

/** Those of the same time in the order of their paths, so that replicas come to the same. */
function byAge(one: KeptRecording, other: KeptRecording): number {
  return one.modifiedAt.getTime() - other.modifiedAt.getTime() || (one.path < other.path ? -1 : 1);
}

function count(number: number, word: string): string {
  return `${number} ${word}${number === 1 ? "" : "s"}`;
}
