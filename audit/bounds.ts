/**
 * Cuts strings to their bounds, and remembers which: an event must say where it does not tell all.
 * One for each event.
 */
export class Bounds {
  readonly #cut: Set<string>;

  /** @param cut what was cut of the event before */
  constructor(cut: readonly string[] = []) {
    this.#cut = new Set(cut);
  }

  /** Names of what was cut, in the order of cutting. */
  get cut(): readonly string[] {
    return [...this.#cut];
  }

  /** The longest start of `value` of at most `maxBytes` in UTF-8, ending between characters. */
  text(name: string, value: string, maxBytes: number): string {
    // Two bytes of UTF-8 or more come from every unit but ASCII; three is the most that one unit gives.
    if (value.length * 3 <= maxBytes) return value;
    const { read, written } = new TextEncoder().encodeInto(value, new Uint8Array(maxBytes));
    if (read === value.length) return value;
    this.#cut.add(name);
    return written === 0 ? "" : value.slice(0, read);
  }

  /** The items that fit into `maxBytes` and `maxItems` together; the last of them may be cut. */
  list(name: string, values: readonly string[], maxBytes: number, maxItems: number): string[] {
    const kept: string[] = [];
    let left = maxBytes;
    for (const value of values) {
      if (left <= 0 || kept.length === maxItems) {
        this.#cut.add(name);
        break;
      }
      const item = this.text(name, value, left);
      kept.push(item);
      // An empty item costs too: its quotes and comma are on the line.
      left -= utf8Bytes(item) + 3;
    }
    return kept;
  }
}

function utf8Bytes(text: string): number {
  return new TextEncoder().encode(text).length;
}
