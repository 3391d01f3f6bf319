/** A JSON value, numbers as they were written and members in their order: both matter to Go. */
export type GoJson =
  | { type: "object"; members: readonly (readonly [name: string, value: GoJson])[] }
  | { type: "array"; items: readonly GoJson[] }
  | { type: "string"; value: string }
  | { type: "number"; source: string }
  | { type: "bool"; value: boolean }
  | { type: "null" };

/** Deepest nesting that is read. Go's own bound is 10,000; no document of Kubernetes passes 10. */
const MAX_DEPTH = 100;

const BLANK = /[ \t\n\r]*/y;
const STRING = /"[^"\\]*(?:\\.[^"\\]*)*"/sy;
const NUMBER = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y;
const LITERAL = /true|false|null/y;

/**
 * Reads one JSON text as Go's encoding/json would: the grammar of RFC 8259, invalid UTF-8 becomes U+FFFD. `JSON.parse` does
 * not say how a number was written nor which of two members came last, and Go's decoder looks at both.
 *
 * @param bytes bounded by the caller
 * @throws {SyntaxError} `message` starts as Go's does
 */
export function parseGoJson(bytes: Uint8Array): GoJson {
  const reader = new Reader(new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes));
  const value = reader.value(0);
  reader.end();
  return value;
}

/** All members that Go takes for `name`, a lower-case word, in their order: names are compared without regard to case. */
export function membersNamed(value: GoJson, name: string): GoJson[] {
  if (value.type !== "object") return [];
  return value.members.filter(([candidate]) => fold(candidate) === name).map(([, found]) => found);
}

/** The simple case folding of Unicode, as far as it reaches the letters a to z. */
function fold(name: string): string {
  return name.replaceAll("\u017f", "s").replaceAll("\u212a", "k").replace(
    /[A-Z]/g,
    (letter) => letter.toLowerCase(),
  );
}

class Reader {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  value(depth: number): GoJson {
    if (depth > MAX_DEPTH) throw new SyntaxError("exceeded max depth");
    this.#take(BLANK);
    switch (this.#text[this.#at]) {
      case "{":
        return this.#object(depth);
      case "[":
        return this.#array(depth);
      case '"':
        return { type: "string", value: this.#string() };
      default:
        return this.#scalar();
    }
  }

  end(): void {
    this.#take(BLANK);
    if (this.#at < this.#text.length) throw this.#unexpected("after top-level value");
  }

  #object(depth: number): GoJson {
    const members: [string, GoJson][] = [];
    this.#at++;
    if (this.#accept("}")) return { type: "object", members };
    do {
      this.#take(BLANK);
      if (this.#text[this.#at] !== '"') throw this.#unexpected("looking for beginning of object key string");
      const name = this.#string();
      if (!this.#accept(":")) throw this.#unexpected("after object key");
      members.push([name, this.value(depth + 1)]);
    } while (this.#accept(","));
    if (!this.#accept("}")) throw this.#unexpected("after object key:value pair");
    return { type: "object", members };
  }

  #array(depth: number): GoJson {
    const items: GoJson[] = [];
    this.#at++;
    if (this.#accept("]")) return { type: "array", items };
    do items.push(this.value(depth + 1)); while (this.#accept(","));
    if (!this.#accept("]")) throw this.#unexpected("after array element");
    return { type: "array", items };
  }

  #string(): string {
    const source = this.#take(STRING);
    if (source === undefined) throw new SyntaxError("unexpected end of JSON input");
    try {
      const value: unknown = JSON.parse(source);
      return String(value).toWellFormed();
    } catch {
      throw new SyntaxError("invalid character in string literal");
    }
  }

  #scalar(): GoJson {
    const source = this.#take(NUMBER);
    if (source !== undefined) return { type: "number", source };
    const literal = this.#take(LITERAL);
    if (literal === "null") return { type: "null" };
    if (literal !== undefined) return { type: "bool", value: literal === "true" };
    throw this.#unexpected("looking for beginning of value");
  }

  /** Skips blanks, then takes `token` if it stands here. */
  #accept(token: string): boolean {
    this.#take(BLANK);
    if (this.#text[this.#at] !== token) return false;
    this.#at++;
    return true;
  }

  #take(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.#text)?.[0];
    if (found !== undefined) this.#at += found.length;
    return found;
  }

  #unexpected(where: string): SyntaxError {
    const character = this.#text[this.#at];
    if (character === undefined) return new SyntaxError("unexpected end of JSON input");
    const quoted = character === "'" ? String.raw`\'` : character;
    return new SyntaxError(`invalid character '${quoted}' ${where}`);
  }
}
