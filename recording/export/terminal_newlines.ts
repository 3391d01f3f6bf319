const CR = 0x0d;
const LF = 0x0a;

/**
 * Does to one stream what the terminal's line discipline would have done: writes CR LF for each LF that has no CR before it. A
 * session without a terminal was recorded without; one with a terminal needs none of this.
 */
export class TerminalNewlines {
  #last = 0;

  push(bytes: Uint8Array): Uint8Array {
    const bare = this.#countBare(bytes);
    const changed = new Uint8Array(bytes.length + bare);
    let at = 0;
    let last = this.#last;
    for (const byte of bytes) {
      if (byte === LF && last !== CR) changed[at++] = CR;
      changed[at++] = byte;
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
