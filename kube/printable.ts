/**
 * What a terminal acts on, or what makes text read as another: control characters, line ends among them, format characters such
 * as those that turn the direction of reading, and halves of characters.
 */
const UNPRINTABLE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu;

/** Where one of these can be at all: most sentences are plain ASCII. */
// deno-lint-ignore no-control-regex
const SUSPECT = /[\0-\x1f\x7f-\uffff]/;

/**
 * A sentence for people as one line that a terminal prints and does nothing else with: `\u001b` stands for ESC, and so on. The
 * same again comes out the same.
 */
export function printable(text: string): string {
  return SUSPECT.test(text) ? text.replace(UNPRINTABLE, escapeUnits) : text;
}

/** A name in quotes within such a sentence, as Go's `%q`: nothing in it ends the quotes. */
export function quoted(name: string): string {
  return printable(JSON.stringify(name));
}

/** Each UTF-16 unit as `\uXXXX`; a character beyond U+FFFF has two. */
export function escapeUnits(character: string): string {
  let escaped = "";
  for (let unit = 0; unit < character.length; unit++) {
    escaped += `\\u${character.charCodeAt(unit).toString(16).padStart(4, "0")}`;
  }
  return escaped;
}
