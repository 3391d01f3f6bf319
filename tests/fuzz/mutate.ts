import type { Random } from "./random.ts";

/** What mutations draw from. */
export interface MutationSources {
  random: Random;
  /** Inputs that are worth crossing with. */
  corpus: readonly Uint8Array[];
  /** Bytes that mean something to the parser. */
  words: readonly Uint8Array[];
  /** No input is longer. */
  maxBytes: number;
}

type Mutation = (input: Uint8Array, sources: MutationSources) => Uint8Array;

/** Values at which lengths, counts and signs turn. */
const EDGES = [0, 1, 2, 7, 8, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff, 0xff_ffff, 0x7fff_ffff, 0xffff_ffff];

const MUTATIONS: readonly Mutation[] = [
  flipBit,
  setByte,
  setNumber,
  insertBytes,
  insertWord,
  overwriteWord,
  remove,
  repeat,
  cutOff,
  cross,
];

/** One to eight small changes. */
export function mutate(input: Uint8Array, sources: MutationSources): Uint8Array {
  const { random, maxBytes } = sources;
  let changed: Uint8Array = input.slice();
  for (let count = 1 << random.below(4); count > 0; count--) {
    changed = random.pick(MUTATIONS)(changed, sources).slice(0, maxBytes);
  }
  return changed;
}

function flipBit(input: Uint8Array, { random }: MutationSources): Uint8Array {
  if (input.length > 0) input[random.below(input.length)]! ^= 1 << random.below(8);
  return input;
}

function setByte(input: Uint8Array, { random }: MutationSources): Uint8Array {
  if (input.length > 0) input[random.below(input.length)] = random.next();
  return input;
}

/** A number of one, two or four bytes, big endian: an edge, or what stands there and a little more or less. */
function setNumber(input: Uint8Array, { random }: MutationSources): Uint8Array {
  const size = random.pick([1, 2, 3, 4]);
  if (input.length < size) return input;
  const at = random.below(input.length - size + 1);
  const read = () => input.subarray(at, at + size).reduce((value, byte) => value * 256 + byte, 0);
  let value = random.oneIn(2) ? random.pick(EDGES) : Math.max(0, read() + random.below(9) - 4);
  for (let index = at + size - 1; index >= at; index--) {
    input[index] = value % 256;
    value = Math.floor(value / 256);
  }
  return input;
}

function insertBytes(input: Uint8Array, { random }: MutationSources): Uint8Array {
  return insert(input, random.bytes(1 + random.below(16)), random);
}

function insertWord(input: Uint8Array, { random, words }: MutationSources): Uint8Array {
  return words.length === 0 ? input : insert(input, random.pick(words), random);
}

function overwriteWord(input: Uint8Array, { random, words }: MutationSources): Uint8Array {
  if (words.length === 0) return input;
  const word = random.pick(words);
  if (word.length > input.length) return input;
  input.set(word, random.below(input.length - word.length + 1));
  return input;
}

function remove(input: Uint8Array, { random }: MutationSources): Uint8Array {
  const { from, to } = range(input, random);
  return concat(input.subarray(0, from), input.subarray(to));
}

/** Once more, or very often. */
function repeat(input: Uint8Array, { random, maxBytes }: MutationSources): Uint8Array {
  const { from, to } = range(input, random);
  const piece = input.subarray(from, Math.min(to, from + 64));
  if (piece.length === 0) return input;
  const most = Math.max(1, Math.floor((maxBytes - input.length) / piece.length));
  const count = random.oneIn(8) ? most : Math.min(most, 1 + random.below(4));
  const copies = new Uint8Array(count * piece.length);
  for (let at = 0; at < copies.length; at += piece.length) copies.set(piece, at);
  return concat(input.subarray(0, from), copies, input.subarray(from));
}

function cutOff(input: Uint8Array, { random }: MutationSources): Uint8Array {
  return input.slice(0, random.below(input.length + 1));
}

/** The beginning of one, and the end of another. */
function cross(input: Uint8Array, { random, corpus }: MutationSources): Uint8Array {
  const other = random.pick(corpus);
  return concat(
    input.subarray(0, random.below(input.length + 1)),
    other.subarray(random.below(other.length + 1)),
  );
}

function insert(input: Uint8Array, bytes: Uint8Array, random: Random): Uint8Array {
  const at = random.below(input.length + 1);
  return concat(input.subarray(0, at), bytes, input.subarray(at));
}

function range(input: Uint8Array, random: Random): { from: number; to: number } {
  const from = random.below(input.length + 1);
  return { from, to: Math.min(input.length, from + 1 + random.below(32)) };
}

export function concat(...parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
