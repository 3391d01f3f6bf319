import { createHmac, randomBytes } from "node:crypto";
import { Buffer } from "node:buffer";
import { SECRET_NAMES, SecretNames } from "./argv_names.ts";
import { findSecrets } from "./argv_secrets.ts";
import type { SecretSpan } from "./argv_text.ts";

/** Digits of a digest, in hex: 64 bits let equal secrets be seen among millions and give little to guess from. */
const DIGEST_DIGITS = 16;

/** What is done to commands before they are written down. */
export interface CommandMask {
  /** A command, argument by argument. */
  argv(argv: readonly string[]): readonly string[];
  /** The command in a request URI (`command`, a kubelet's `cmd`), masked; every other byte is as it was sent. */
  uri(uri: string): string;
  /** What somebody says of a command, without the secrets that are in it. */
  message(message: string, argv: readonly string[]): string;
}

/** Writes commands down as they are, secrets and all. */
export const KEEP_SECRETS_IN_CLEAR: CommandMask = {
  argv: (argv) => argv,
  uri: (uri) => uri,
  message: (message) => message,
};

/**
 * How much of a command is looked into, in UTF-16 units. What is behind is masked as one: it is longer than an event
 * holds, and reading it would keep everybody waiting.
 */
const MAX_LENGTH = 65536;

/** Shorter secrets are left in messages: they are parts of words, and what is left of the message says nothing. */
const MIN_QUOTED_LENGTH = 4;

/** A command that was looked into. */
interface Masked {
  argv: readonly string[];
  /** The longest first, so that none is taken apart by one that is part of it. */
  secrets: readonly string[];
}

/**
 * Puts `(masked:0123456789abcdef)` in place of every secret in a command: its HMAC-SHA-256, shortened. Equal secrets
 * can be matched with one another and none be read, nor be guessed without the key. The form needs no escaping in JSON
 * nor in a URI's query.
 *
 * What is a secret is told by names and by what programs are known to take: see {@linkcode SECRET_NAMES}. It is hygiene
 * and no wall: a password that nothing announces is an argument as any other.
 */
export class ArgvMask implements CommandMask {
  readonly #key: Uint8Array;
  readonly #names: SecretNames;
  /** Each of a request's events asks for the same command. */
  readonly #known = new WeakMap<readonly string[], Masked>();

  /**
   * @param key of the HMAC. Random where none is given: digests then match within this process's life.
   * @param names which names name secrets; see {@linkcode SecretNames}
   */
  constructor(
    { key = randomBytes(32), names = SECRET_NAMES }: { key?: Uint8Array; names?: readonly string[] } = {},
  ) {
    this.#key = key;
    this.#names = new SecretNames(names);
  }

  argv(argv: readonly string[]): readonly string[] {
    return this.#masked(argv).argv;
  }

  message(message: string, argv: readonly string[]): string {
    const { secrets } = this.#masked(argv);
    return secrets.reduce((text, secret) => text.replaceAll(secret, () => this.#digest(secret)), message);
  }

  #masked(argv: readonly string[]): Masked {
    const known = this.#known.get(argv);
    if (known !== undefined) return known;
    const spans = secretsOf(argv, this.#names);
    const secrets = [...new Set(spans.flat().map(({ secret }) => secret))]
      .filter(({ length }) => length >= MIN_QUOTED_LENGTH)
      .sort((a, b) => b.length - a.length);
    const masked = { argv: argv.map((word, at) => this.#replace(word, spans[at] ?? [])), secrets };
    this.#known.set(argv, masked);
    return masked;
  }

  uri(uri: string): string {
    const queryAt = uri.indexOf("?");
    if (queryAt === -1) return uri;
    const parts = uri.slice(queryAt + 1).split("&");
    const words = parts.map(commandWords);
    const secrets = secretsOf(words.flat().map(({ text }) => text), this.#names).values();
    const masked = parts.map((part, at) => {
      const spans = (words[at] ?? []).flatMap(({ starts }) =>
        (secrets.next().value ?? []).map(({ start, end, secret }) => ({
          start: starts[start] ?? 0,
          end: starts[end] ?? part.length,
          secret,
        }))
      );
      return this.#replace(part, spans);
    });
    return `${uri.slice(0, queryAt)}?${masked.join("&")}`;
  }

  #replace(text: string, spans: readonly SecretSpan[]): string {
    let masked = "";
    let from = 0;
    for (const { start, end, secret } of spans) {
      masked += text.slice(from, start) + this.#digest(secret);
      from = end;
    }
    return masked + text.slice(from);
  }

  #digest(secret: string): string {
    const digest = createHmac("sha256", this.#key).update(secret).digest("hex");
    return `(masked:${digest.slice(0, DIGEST_DIGITS)})`;
  }
}

/** The secrets of a command, what of it is not looked into among them. */
function secretsOf(argv: readonly string[], names: SecretNames): SecretSpan[][] {
  let left = MAX_LENGTH;
  const seen = argv.map((word) => {
    const kept = word.slice(0, left);
    left -= kept.length;
    return kept;
  });
  const secrets = findSecrets(seen, names);
  if (left > 0) return secrets;
  return argv.map((word, at) => {
    const from = seen[at]?.length ?? 0;
    const spans = secrets[at] ?? [];
    return from === word.length
      ? spans
      : [...spans, { start: from, end: word.length, secret: word.slice(from) }];
  });
}

/** A word of a query, decoded, and where in the parameter each of its UTF-16 units begins, and the end. */
interface QueryWord {
  text: string;
  starts: readonly number[];
}

/** The words of a command in a parameter: `command` is one, a kubelet's `cmd` has one between any two spaces. */
function commandWords(part: string): QueryWord[] {
  const equals = part.indexOf("=");
  const key = equals === -1 ? "" : decoded(part.slice(0, equals), 0).text;
  if (key === "command") return [decoded(part, equals + 1)];
  if (key !== "cmd") return [];
  const { text, starts } = decoded(part, equals + 1);
  let from = 0;
  return text.split(" ").map((word) => {
    const at = from;
    from += word.length + 1;
    return { text: word, starts: starts.slice(at, from) };
  });
}

/** Decodes as a form is. Bytes that are no UTF-8 become U+FFFD each, so that nothing is shorter than it was sent. */
function decoded(part: string, from: number): QueryWord {
  let text = "";
  const starts: number[] = [];
  for (let at = from; at < part.length;) {
    const [character, length] = characterAt(part, at);
    for (let unit = 0; unit < character.length; unit++) starts.push(at);
    text += character;
    at += length;
  }
  return { text, starts: [...starts, part.length] };
}

/** The character at a place, and how many units of the source make it. */
function characterAt(part: string, at: number): [character: string, length: number] {
  const first = escapedByte(part, at);
  if (first === undefined) return part.charAt(at) === "+" ? [" ", 1] : [part.charAt(at), 1];
  if (first < 0x80) return [String.fromCharCode(first), 3];
  const count = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  const bytes = Array.from({ length: count }, (_, nth) => escapedByte(part, at + 3 * nth));
  if (bytes.includes(undefined)) return ["\ufffd", 3];
  const encoded = Buffer.from(bytes.map((byte) => byte ?? 0));
  const character = encoded.toString();
  return Buffer.from(character).equals(encoded) ? [character, 3 * count] : ["\ufffd", 3];
}

/** The byte that `%XX` stands for. */
function escapedByte(part: string, at: number): number | undefined {
  const digits = /^%([0-9a-f]{2})$/i.exec(part.slice(at, at + 3))?.[1];
  return digits === undefined ? undefined : Number.parseInt(digits, 16);
}
