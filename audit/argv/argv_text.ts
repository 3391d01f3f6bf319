import type { SecretNames } from "./argv_names.ts";

/** A secret in a text, in UTF-16 units. */
export interface SecretSpan {
  start: number;
  end: number;
  /** What it reads once quotes and escapes around it are gone: what is compared with other secrets. */
  secret: string;
}

/** How the text is to be read. */
export interface TextKind {
  /** It is a shell's, or another language's: a value ends where a word does. */
  isScript: boolean;
  /** A shell expands it: `$NAME` is no secret, but where one is taken from. */
  isExpanded: boolean;
}

/**
 * `name=`, `name: `, `"name" =>` and the like. Names begin at a boundary only, so that each is looked at once, however
 * long a line of them somebody sends.
 */
const NAMED = /(["']?)(?<![\w.$-])([\w.$-]+)\1\]?(\s*(?::=|=>|==?|:(?!\/\/|:))\s*)/g;

/** What may stand before the secret in a header's value. */
const SCHEME = /(?:Bearer|Basic|Digest|Negotiate|Token|ApiKey|Bot)\s+/iy;

/** Another pair of a list follows, or nothing. */
const NEXT_PAIR = /[;&,](?=[\w .-]{1,64}=|\s*$)/y;

/** What the shell puts another value in place of. */
const REFERENCE = /^\$(?:[A-Z_][A-Z0-9_]*|\{[A-Z_][A-Z0-9_]*\}|)$/;

const URL = /(?<![a-z0-9+.-])([a-z][a-z0-9+.-]{0,31}):\/\/([^\s"'<>]+)/gi;

/** What SQL has before a password: IDENTIFIED BY, PASSWORD, PASSWORD(. */
const SQL = String
  .raw`\b(?:identified(?:\s+with\s+\S{1,64})?\s+(?:by|as)(?:\s+password)?|password)(?:\s*\(\s*|\s+)`;

/** Secrets that are known by what they look like. The group, where there is one, is the secret. */
const SHAPES: readonly RegExp[] = [
  // JSON Web Tokens, and what services give a prefix so that it is found.
  /(?<![\w-])(?:eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*|gh[opusr]_\w{20,}|github_pat_\w{20,}|glpat-[\w-]{16,})/dg,
  /(?<![\w-])(?:xox[abeprs]-[\w-]{10,}|hv[bsr]\.[\w-]{20,}|sk-[\w-]{20,}|npm_\w{30,}|dckr_pat_[\w-]{20,})/dg,
  /AGE-SECRET-KEY-1\w+/dg,
  /-----BEGIN [A-Z ]{0,32}PRIVATE KEY-----[^]*?(?:-----END|$)/dg,
  /(?<!\w)bearer\s+([\w+/=.~-]{8,})/dgi,
  new RegExp(String.raw`${SQL}'((?:\\[^]|''|[^'\\])*)`, "dgi"),
  new RegExp(String.raw`${SQL}"((?:\\[^]|[^"\\])*)`, "dgi"),
  // user:password@tcp(host:3306)/database
  /(?<![^\s"'=])[^\s:/@"'=]{1,128}:([^\s]{1,256}?)@(?:tcp|udp|unix)\(/dg,
];

/** Whether a shell puts something else in place of it. */
export function isReference(value: string): boolean {
  return REFERENCE.test(value);
}

/** The secrets of one text by what stands before them or what they look like. Spans may overlap. */
export function textSecrets(text: string, names: SecretNames, kind: TextKind): SecretSpan[] {
  return [
    ...named(text, names, kind),
    ...userinfos(text),
    ...SHAPES.flatMap((shape) => [...shaped(text, shape)]),
  ];
}

/** A span of a text that reads what it is. */
export function spanOf(text: string, start: number, end = text.length): SecretSpan {
  return { start, end, secret: text.slice(start, end) };
}

function* named(text: string, names: SecretNames, kind: TextKind): Generator<SecretSpan> {
  const pattern = new RegExp(NAMED);
  for (let match = pattern.exec(text); match !== null; match = pattern.exec(text)) {
    const [whole, , name = "", separator = ""] = match;
    if (!names.has(name)) continue;
    const before = text.charAt(match.index - 1);
    const isColon = separator.trim() === ":";
    // An image's tag is no value: registry/key:1.2.
    const isTag = separator === ":" && match[1] === "" && !/^[\s"'{,;&[(=-]?$/.test(before);
    if (isTag) continue;
    const from = match.index + whole.length;
    const value = isColon
      ? headerValue(text, from, before)
      : pairValue(text, match.index, from, kind.isScript);
    pattern.lastIndex = Math.max(value.end, from);
    if (value.start === value.end || (kind.isExpanded && isReference(value.secret))) continue;
    yield value;
  }
}

/** What stands behind `=`. */
function pairValue(text: string, nameAt: number, from: number, isScript: boolean): SecretSpan {
  if (!isScript && nameAt === 0 && /^(?:-|[A-Z0-9_]+=)/.test(text)) return spanOf(text, from);
  const quoted = quotedValue(text, from);
  if (quoted !== undefined) return quoted;
  const stop = isScript ? /[\s;&|()<>"'`]/ : /[\s"']/;
  let end = from;
  for (; end < text.length; end++) {
    if (stop.test(text.charAt(end))) break;
    NEXT_PAIR.lastIndex = end;
    if (NEXT_PAIR.test(text)) break;
  }
  return spanOf(text, from, end);
}

/** What stands behind `:`. A header's value reaches to the end of its line, or of the quotes that it is in. */
function headerValue(text: string, from: number, before: string): SecretSpan {
  SCHEME.lastIndex = from;
  const start = SCHEME.test(text) ? SCHEME.lastIndex : from;
  const quoted = quotedValue(text, start);
  if (quoted !== undefined) return quoted;
  const stop = /^[=\n-]?$/.test(before)
    ? /[\r\n]/
    : /["']/.test(before)
    ? new RegExp(`[\\r\\n${before}]`)
    : /["'\s,;}\])]/;
  const length = text.slice(start).search(stop);
  return spanOf(text, start, length === -1 ? text.length : start + length);
}

function quotedValue(text: string, from: number): SecretSpan | undefined {
  const quote = /^\\?["']/.exec(text.slice(from, from + 2))?.[0];
  if (quote === undefined) return undefined;
  const start = from + quote.length;
  let end = start;
  while (end < text.length && !text.startsWith(quote, end)) end += text.charAt(end) === "\\" ? 2 : 1;
  return spanOf(text, start, Math.min(end, text.length));
}

/** `scheme://user:secret@host`: of http everything before the `@`, where tokens stand as the name too. */
function* userinfos(text: string): Generator<SecretSpan> {
  for (const { index, 1: scheme = "", 2: rest = "" } of text.matchAll(URL)) {
    const start = index + scheme.length + 3;
    const authority = /^[^/?#]*/.exec(rest)?.[0] ?? "";
    let length = authority.lastIndexOf("@");
    // A password with a slash that nobody encoded; a port looks otherwise.
    if (length === -1 && /^[^/?#:@]*:(?!\d+(?:[/?#]|$))/.test(rest)) length = rest.lastIndexOf("@");
    if (length <= 0) continue;
    const userinfo = rest.slice(0, length);
    const colon = userinfo.indexOf(":");
    if (/^https?$/i.test(scheme)) yield spanOf(text, start, start + length);
    else if (colon !== -1 && colon + 1 < length) yield spanOf(text, start + colon + 1, start + length);
  }
}

function* shaped(text: string, shape: RegExp): Generator<SecretSpan> {
  for (const { indices } of text.matchAll(shape)) {
    const [start, end] = indices?.[1] ?? indices?.[0] ?? [0, 0];
    if (start < end) yield spanOf(text, start, end);
  }
}
