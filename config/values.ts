import { isIP, isIPv6 } from "node:net";
import { z } from "zod";

/**
 * The kinds of value that a section is made of.
 *
 * Each says what it expects in one phrase, so that every fault reads "expected …, got …" (`fault.ts` adds what was
 * got), and each carries the description that the JSON Schema and docs/configuration.md are made from.
 */

/** Gives every check of a schema the same "expected …" phrase. */
export function expected(phrase: string): { error: () => string } {
  return { error: () => `expected ${phrase}` };
}

/** A whole number with bounds. Bounds are inclusive; their unit is in the key's name. */
export function wholeNumber(
  { from, to, fallback, description }: { from: number; to: number; fallback: number; description: string },
) {
  return boundedInteger(from, to).default(fallback).meta({ description });
}

/** A whole number that may be left out. */
export function optionalWholeNumber(
  { from, to, description }: { from: number; to: number; description: string },
) {
  return boundedInteger(from, to).optional().meta({ description });
}

function boundedInteger(from: number, to: number) {
  const phrase = expected(`a whole number from ${from} to ${to}`);
  return z.int(phrase).min(from, phrase).max(to, phrase);
}

/** `true` or `false`. */
export function flag({ fallback, description }: { fallback: boolean; description: string }) {
  return z.boolean(expected("true or false")).default(fallback).meta({ description });
}

/** One of a few words. */
export function oneOf<const Words extends readonly [string, ...string[]]>(
  words: Words,
  { fallback, description }: { fallback: NoInfer<Words[number]>; description: string },
) {
  return word(words).default(fallback).meta({ description });
}

/** One of a few words, without default: an item of a list. */
export function word<const Words extends readonly [string, ...string[]]>(words: Words) {
  return z.enum(words, expected(`one of ${words.map((each) => JSON.stringify(each)).join(", ")}`));
}

/** The path of a file. `resolve.ts` makes it absolute. */
export function file() {
  const phrase = expected("the path of a file");
  // 4,096 bytes is PATH_MAX of Linux; NUL would end the path early in a system call.
  return z.string(phrase).min(1, phrase).max(4096, phrase).refine((path) => !path.includes("\0"), phrase);
}

/** The path of a file that may be left out. */
export function optionalFile(description: string) {
  return file().optional().meta({ description });
}

/** Text of one line that says something. `what` completes "expected …". */
export function text(
  what: string,
  { maxLength = 253, pattern }: { maxLength?: number; pattern?: RegExp } = {},
) {
  const phrase = expected(what);
  const bounded = z.string(phrase).min(1, phrase).max(maxLength, phrase);
  // Other engines read `\p` otherwise, so that this pattern stays out of the JSON Schema.
  return pattern ? bounded.regex(pattern, phrase) : bounded.refine((value) => !/\p{Cc}/u.test(value), phrase);
}

/**
 * A URL of `http` or `https`. Credentials have files of their own, which are read by whoever needs them and printed by
 * nobody; what is behind `#` is never sent.
 */
export function webUrl() {
  const phrase = expected('a URL such as "https://host/path", without user, password or fragment');
  return z.string(phrase).max(2048, phrase).refine(isWebUrl, phrase);
}

function isWebUrl(value: string): boolean {
  const url = URL.parse(value);
  return url !== null && /^https?:\/\//.test(value) && !/[\s\p{Cc}#]/u.test(value) && url.username === "" &&
    url.password === "";
}

/** Whether what is sent there can be read by nobody else: over TLS, or without leaving this machine. */
export function isPrivateUrl(value: string): boolean {
  const url = URL.parse(value);
  return url?.protocol === "https:" || /^(localhost|127(\.[0-9]+){3}|\[::1\])$/.test(url?.hostname ?? "");
}

/** An IP address, as text. */
export function ipAddress() {
  const phrase = expected('an IP address such as "0.0.0.0" or "::1"');
  return z.string(phrase).refine((value) => isIP(value) !== 0, phrase);
}

/** A range of IP addresses in CIDR notation. */
export function addressRange() {
  const phrase = expected('a range of addresses such as "10.0.0.0/16" or "fd00::/64"');
  return z.string(phrase).refine(isAddressRange, phrase);
}

function isAddressRange(value: string): boolean {
  const [address = "", prefix = "", ...rest] = value.split("/");
  if (rest.length > 0 || isIP(address) === 0 || !/^(0|[1-9][0-9]{0,2})$/.test(prefix)) return false;
  return Number(prefix) <= (isIPv6(address) ? 128 : 32);
}

/** A list of at most `maxItems`; more is surely a mistake. */
export function list<Item extends z.ZodType>(item: Item, maxItems = 256) {
  return z.array(item, expected("a list")).max(maxItems, expected(`a list of at most ${maxItems}`));
}

/** A section: known keys only. An empty one is spelled `{}` or left out. */
export function section<Shape extends z.ZodRawShape>(shape: Shape) {
  return z.strictObject(shape, expected("a section with keys below it"));
}
