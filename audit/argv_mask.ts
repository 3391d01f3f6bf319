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
  /** The `command` parameters of a request URI, masked as the command they are; every other byte as it was sent. */
  uri(uri: string): string;
}

/** Writes commands down as they are, secrets and all. */
export const KEEP_SECRETS_IN_CLEAR: CommandMask = { argv: (argv) => argv, uri: (uri) => uri };

/**
 * Puts `(masked:0123456789abcdef)` in place of every secret in a command: its HMAC-SHA-256, shortened. Equal secrets
 * can be matched with one another and none be read, nor be guessed without the key. The form needs no escaping in JSON
 * nor in a URI's query.
 *
 * What is a secret is told by names and by what programs are known to take; see docs of `audit.argv`. It is hygiene,
 * not a wall: who wishes to say a secret unseen, e.g. in base64, will.
 */
export class ArgvMask implements CommandMask {
  readonly #key: Uint8Array;
  readonly #names: SecretNames;
  /** Each of a request's events asks for the same command. */
  readonly #masked = new WeakMap<readonly string[], readonly string[]>();

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
    const known = this.#masked.get(argv);
    if (known !== undefined) return known;
    const secrets = findSecrets(argv, this.#names);
    const masked = argv.map((word, at) => this.#replace(word, secrets[at] ?? []));
    this.#masked.set(argv, masked);
    return masked;
  }

  uri(uri: string): string {
    const queryAt = uri.indexOf("?");
    if (queryAt === -1) return uri;
    const parts = uri.slice(queryAt + 1).split("&");
    const values = parts.map((part) => commandValue(part));
    const words = values.filter((value) => value !== undefined);
    const secrets = findSecrets(words.map(({ text }) => text), this.#names);
    let nth = 0;
    const masked = parts.map((part, at) => {
      const value = values[at];
      if (value === undefined) return part;
      const spans = secrets[nth++] ?? [];
      return this.#replace(
        part,
        spans.map(({ start, end, secret }) => ({
          start: value.starts[start] ?? 0,
          end: value.starts[end] ?? part.length,
          secret,
        })),
      );
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

/** A value of a query, decoded, and where in the parameter each of its UTF-16 units begins, and the end. */
interface QueryValue {
  text: string;
  starts: readonly number[];
}

/** The value of a `command` parameter; undefined for every other one. */
function commandValue(part: string): QueryValue | undefined {
  const equals = part.indexOf("=");
  if (equals === -1 || decoded(part.slice(0, equals), 0).text !== "command") return undefined;
  return decoded(part, equals + 1);
}

/** Decodes as a form is. Bytes that are no UTF-8 become U+FFFD each, so that nothing is shorter than it was sent. */
function decoded(part: string, from: number): QueryValue {
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
  const character = Buffer.from(bytes.map((byte) => byte ?? 0)).toString();
  return character.includes("\ufffd") ? ["\ufffd", 3] : [character, 3 * count];
}

/** The byte that `%XX` stands for. */
function escapedByte(part: string, at: number): number | undefined {
  const digits = /^%([0-9a-f]{2})$/i.exec(part.slice(at, at + 3))?.[1];
  return digits === undefined ? undefined : Number.parseInt(digits, 16);
}
