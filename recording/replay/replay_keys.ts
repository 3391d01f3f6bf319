import type { ReplayControl } from "./replay_player.ts";

/** What a viewer types, or a terminal answers by itself: `answered` is its answer to {@linkcode ASK}. */
export type ReplayKey = ReplayControl | { type: "answered" };

/** Asks a terminal whether it is well (DSR 5). It answers in order, so what it was asked before is answered before. */
export const ASK = "\x1b[5n";

/** Keys that are one character. */
const CHARACTERS: Readonly<Record<string, ReplayControl>> = {
  " ": { type: "pause" },
  ".": { type: "step" },
  "+": { type: "speed", factor: 2 },
  "=": { type: "speed", factor: 2 },
  "-": { type: "speed", factor: 0.5 },
  "q": { type: "quit" },
  "\x03": { type: "quit" }, // Ctrl-C
  "\x04": { type: "quit" }, // Ctrl-D
};

/** Keys that are CSI or SS3 and one character; and the one answer that is waited for. */
const SEQUENCES: Readonly<Record<string, ReplayKey>> = {
  "A": { type: "seek", byMs: 60_000 }, // up
  "B": { type: "seek", byMs: -60_000 }, // down
  "C": { type: "seek", byMs: 5_000 }, // right
  "D": { type: "seek", byMs: -5_000 }, // left
  "0n": { type: "answered" },
};

/** Longest sequence that is remembered, in characters: none that means something is longer. */
const MAX_SEQUENCE_LENGTH = 16;

type State = "ground" | "escape" | "csi" | "ss3" | "string" | "string_escape";

/**
 * Bytes from a keyboard in, keys out. What else a terminal sends, such as answers to what a recording asked it, is passed over as
 * a whole, so that no letter of it counts as a key.
 *
 * @see ECMA-48, 5.4 and 5.6
 */
export class ReplayKeyReader {
  #state: State = "ground";
  #sequence = "";

  *push(bytes: Uint8Array): Generator<ReplayKey, void, undefined> {
    for (const byte of bytes) {
      const key = this.#next(String.fromCharCode(byte));
      if (key !== undefined) yield key;
    }
    // The escape key, alone: a sequence comes in one piece.
    if (this.#state === "escape") this.#state = "ground";
  }

  #next(character: string): ReplayKey | undefined {
    switch (this.#state) {
      case "ground":
        if (character !== "\x1b") return CHARACTERS[character];
        this.#state = "escape";
        return undefined;
      case "escape":
        this.#sequence = "";
        this.#state = afterEscape(character);
        return undefined;
      case "csi":
        if (this.#sequence.length < MAX_SEQUENCE_LENGTH) this.#sequence += character;
        if (character < "@" || character > "~") return undefined;
        this.#state = "ground";
        return SEQUENCES[this.#sequence];
      case "ss3":
        this.#state = "ground";
        return SEQUENCES[character];
      case "string":
        if (character === "\x07") this.#state = "ground";
        if (character === "\x1b") this.#state = "string_escape";
        return undefined;
      case "string_escape":
        this.#state = character === "\\" ? "ground" : "string";
        return undefined;
    }
  }
}

function afterEscape(character: string): State {
  if (character === "[") return "csi";
  if (character === "O") return "ss3";
  // DCS, SOS, OSC, PM, APC
  return "PX]^_".includes(character) ? "string" : "ground";
}
