const CR = 0x0d;
const LF = 0x0a;

/**
 * Writes something else for each LF of one stream that has no CR before it. By default CR LF, as the terminal's line discipline
 * would have done: a session without a terminal was recorded without; one with a terminal needs none of this.
 */
export class TerminalNewlines {
  readonly #lineFeed: Uint8Array;
  #last = 0;

  constructor(lineFeed = "\r\n") {
    this.#lineFeed = new TextEncoder().encode(lineFeed);
  }

  push(bytes: Uint8Array): Uint8Array {
    const changed = new Uint8Array(bytes.length + this.#countBare(bytes) * (this.#lineFeed.length - 1));
    let at = 0;
    let last = this.#last;
    for (const byte of bytes) {
      if (byte === LF && last !== CR) {
        changed.set(this.#lineFeed, at);
        at += this.#lineFeed.length;
      } else {
        changed[at++] = byte;
      }
      last = byte;
    }
    this.#last = last;
    return changed;
  }

  #countBare(bytes: Uint8Array): number {
    let bare = 0;
    let last = this.#last;
    for (const byte of bytes) {
      if (byte === LF && last !== CR) bare++;
      last = byte;
    }
    return bare;
  }
}
