/** So many values a label may have. What comes beyond is `other`. */
const MAX_VALUES = 64;

/** What a label's value may look like. */
const WORD = /^[A-Za-z0-9][A-Za-z0-9 ._/()+-]{0,63}$/;

/**
 * Values of one label, of which there never are many: what is refused may be refused in the words of somebody else, and each new
 * value is a new series for as long as the process lives.
 */
export class LabelValues {
  readonly #seen = new Set<string>();

  /** @returns `value` itself, `none` for what is empty, or `other` */
  of(value: string | undefined): string {
    if (!value) return "none";
    if (this.#seen.has(value)) return value;
    if (this.#seen.size >= MAX_VALUES || !WORD.test(value)) return "other";
    this.#seen.add(value);
    return value;
  }
}
