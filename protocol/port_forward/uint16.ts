/** What Go's `unicode.IsPrint` takes for printable; of blanks the space alone. */
const PRINTABLE = /^[\p{L}\p{M}\p{N}\p{P}\p{S} ]$/u;

const SHORT_ESCAPES: Readonly<Record<string, string>> = {
  '"': '\\"',
  "\\": "\\\\",
  "\x07": "\\a",
  "\b": "\\b",
  "\f": "\\f",
  "\n": "\\n",
  "\r": "\\r",
  "\t": "\\t",
  "\v": "\\v",
};

/** A number that Go would have read, or the error that it says instead. */
export type Uint16Reading = { ok: true; value: number } | { ok: false; error: string };

/**
 * Reads a number of 16 bits as Go's `strconv.ParseUint(text, 10, 16)` does: digits and nothing else, leading zeros allowed.
 * What is too large is told before what is wrong behind it.
 */
export function parseUint16(text: string): Uint16Reading {
  const refuse = (why: string): Uint16Reading => {
    return { ok: false, error: `strconv.ParseUint: parsing ${quote(text)}: ${why}` };
  };
  if (text === "") return refuse("invalid syntax");
  let value = 0;
  for (const digit of text) {
    if (digit < "0" || digit > "9") return refuse("invalid syntax");
    value = value * 10 + Number(digit);
    if (value > 0xffff) return refuse("value out of range");
  }
  return { ok: true, value };
}

/** `text` between double quotes, as Go's `%q` writes it. */
export function quote(text: string): string {
  return `"${[...text].map(escape).join("")}"`;
}

function escape(character: string): string {
  const short = SHORT_ESCAPES[character];
  if (short !== undefined) return short;
  if (PRINTABLE.test(character)) return character;
  const code = character.codePointAt(0)!;
  const hex = (digits: number) => code.toString(16).padStart(digits, "0");
  if (code < 0x20 || code === 0x7f) return `\\x${hex(2)}`;
  return code < 0x1_0000 ? `\\u${hex(4)}` : `\\U${hex(8)}`;
}
