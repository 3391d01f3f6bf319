const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const PADDING = "=".charCodeAt(0);
const CARRIAGE_RETURN = 13;
const LINE_FEED = 10;

/** The 6 bits of each ASCII character; 255 where it is none of the alphabet. */
const BITS = new Uint8Array(256).fill(255);
for (let index = 0; index < ALPHABET.length; index++) BITS[ALPHABET.charCodeAt(index)] = index;

/**
 * Decodes base64 as Go's `base64.StdEncoding` does: padding is required, line breaks are skipped anywhere, the unused bits
 * of the last character may be anything, and nothing else is forgiven.
 *
 * @param text ASCII bytes
 * @returns `undefined` where it is no base64
 */
export function decodeBase64(text: Uint8Array): Uint8Array | undefined {
  const bytes = new Uint8Array(Math.ceil(text.length / 4) * 3);
  let written = 0;
  let bits = 0;
  let characters = 0;
  let padding = 0;
  for (const character of text) {
    if (character === LINE_FEED || character === CARRIAGE_RETURN) continue;
    if (character === PADDING) {
      padding++;
      if (characters % 4 < 2 || characters % 4 + padding > 4) return undefined;
      continue;
    }
    const value = BITS[character]!;
    if (value === 255 || padding > 0) return undefined;
    bits = (bits << 6 | value) & 0xff_ffff;
    if (++characters % 4 === 0) {
      bytes[written++] = bits >>> 16;
      bytes[written++] = bits >>> 8;
      bytes[written++] = bits;
    }
  }
  const rest = characters % 4;
  if (rest !== 0 && rest + padding !== 4) return undefined;
  if (rest === 2) bytes[written++] = bits >>> 4;
  if (rest === 3) {
    bytes[written++] = bits >>> 10;
    bytes[written++] = bits >>> 2;
  }
  return bytes.subarray(0, written);
}
