import type { Random } from "./random.ts";

/** A parser, and what is promised of it whatever it is given. */
export interface Target {
  /** What `--only` calls it, and the folder of its vectors. */
  name: string;
  /** The promise, as a sentence: what {@linkcode check} holds the parser to. */
  promise: string;
  /** Inputs that it reads, or that were hard to read: where mutation begins. */
  seeds: readonly (Uint8Array | string)[];
  /** Text and bytes that mean something to it. */
  words?: readonly (Uint8Array | string)[];
  /** An input with the parser's own structure, which random changes would not hit on. */
  generate?(random: Random): Uint8Array;
  /** No input is longer, in bytes. @default {4096} */
  maxBytes?: number;
  /** How long one input may take, in milliseconds. @default {1000} */
  maxMs?: number;
  /** Throws where the promise is broken. The same input gives the same result. */
  check(input: Uint8Array): void | Promise<void>;
}

export function bytesOf(text: Uint8Array | string): Uint8Array {
  return typeof text === "string" ? new TextEncoder().encode(text) : text;
}
