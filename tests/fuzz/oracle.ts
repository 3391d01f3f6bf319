/** What the promises of parsers are made of. */

import assert from "node:assert/strict";
import { Random, seedOf } from "./random.ts";

/** What terminals and logs must not be given: controls, format characters, line separators. */
const UNPRINTABLE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u;

// deno-lint-ignore no-explicit-any -- any class of errors, whatever its constructor takes
type ErrorClass = abstract new (...args: any) => Error;

/**
 * Runs a parser that may refuse, but only so.
 *
 * @returns what it returned; `undefined` where it refused
 */
export function orRefuses<T>(run: () => T, ...refusals: readonly ErrorClass[]): T | undefined {
  try {
    return run();
  } catch (thrown) {
    if (isOneOf(thrown, refusals)) return undefined;
    throw thrown;
  }
}

/** The same of one that takes its time. */
export async function orRejects<T>(
  run: () => Promise<T>,
  ...refusals: readonly ErrorClass[]
): Promise<T | undefined> {
  try {
    return await run();
  } catch (thrown) {
    if (isOneOf(thrown, refusals)) return undefined;
    throw thrown;
  }
}

export function isOneOf(thrown: unknown, refusals: readonly ErrorClass[]): thrown is Error {
  return refusals.some((refusal) => thrown instanceof refusal);
}

/**
 * Ways to cut the input that are as good as any: byte by byte, and in pieces that the input itself decides. Long ones are not cut
 * byte by byte.
 */
export function cuts(input: Uint8Array): Uint8Array[][] {
  const random = new Random(seedOf(input));
  const ways = [pieces(input, () => 1 + random.below(1 + Math.ceil(input.length / 3)))];
  if (input.length <= 1024) ways.push(pieces(input, () => 1));
  return ways;
}

function pieces(input: Uint8Array, next: () => number): Uint8Array[] {
  const all: Uint8Array[] = [];
  for (let at = 0; at < input.length;) {
    const length = next();
    all.push(input.slice(at, at + length)); // its own memory: a view kept too long shows
    at += length;
  }
  return all;
}

/** Reads the input in one piece and in many: it must not matter. */
export function sameHoweverCut<T>(input: Uint8Array, read: (chunks: readonly Uint8Array[]) => T): T {
  const whole = read([input.slice()]);
  for (const chunks of cuts(input)) {
    const cut = read(chunks);
    assert.deepEqual(cut, whole, `cut into ${chunks.length} pieces it reads otherwise`);
  }
  return whole;
}

/** Text for people: no character of it moves a cursor, ends a line or turns the direction of reading. */
export function isPrintable(text: string, what: string): void {
  assert.doesNotMatch(text, UNPRINTABLE, what);
}

/** Bytes as the text that a lenient reader makes of them. */
export function textOf(input: Uint8Array): string {
  return new TextDecoder("utf-8", { ignoreBOM: true }).decode(input);
}

/** `Name: value` lines, as HTTP gives them: each character is a byte. */
export function headerLinesOf(text: string): [name: string, value: string][] {
  return text.split("\n").filter((line) => line !== "").map((line) => {
    const colon = line.indexOf(":");
    return colon < 0 ? [line, ""] : [line.slice(0, colon), line.slice(colon + 1).trim()];
  });
}

/** A short digest of bytes, for comparing and naming. */
export function hexOf(bytes: Uint8Array): string {
  return bytes.toHex();
}
