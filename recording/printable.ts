/** What moves a cursor, changes colours, ends a line, or turns the direction of writing; and halves of characters. */
const UNPRINTABLE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu;

/**
 * Text from a recording or a request as one line for a terminal, which executes none of it: `\u{1b}` stands for ESC, and so on.
 * What is typed as `\u{1b}` looks the same: this is for people to read, not for programs to read back.
 */
export function printable(text: string): string {
  return text.replaceAll(UNPRINTABLE, (character) => `\\u{${character.codePointAt(0)?.toString(16)}}`);
}

/** JSON on one line that no terminal executes either: DEL, C1 and the like are escaped, which `JSON.stringify` leaves alone. */
export function printableJson(value: unknown): string {
  // Such characters stand only within strings, where an escape means the same.
  return JSON.stringify(value).replaceAll(UNPRINTABLE, (character) => {
    let escaped = "";
    for (let unit = 0; unit < character.length; unit++) {
      escaped += `\\u${character.charCodeAt(unit).toString(16).padStart(4, "0")}`;
    }
    return escaped;
  });
}
