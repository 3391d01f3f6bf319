/** Below this, setting up a view of 32-bit words costs more than it saves. */
const WORDS_PAY_FROM_BYTES = 64;

/** Platforms differ in byte order; a key is made into a word in this machine's. */
const LITTLE_ENDIAN = new Uint8Array(new Uint32Array([1]).buffer)[0] === 1;

/**
 * Masks or unmasks in place (5.3: the same operation), word by word where `bytes` lies on a word boundary.
 *
 * @param key the frame's masking key, 4 bytes
 * @param position bytes of this frame's payload that came before `bytes`
 */
export function applyMask(bytes: Uint8Array, key: Uint8Array, position = 0): void {
  const turned = [0, 1, 2, 3].map((index) => key[(position + index) & 3]!);
  let at = 0;
  if (bytes.length >= WORDS_PAY_FROM_BYTES && bytes.byteOffset % 4 === 0) {
    const [a, b, c, d] = LITTLE_ENDIAN ? turned : turned.toReversed();
    const word = (a! | (b! << 8) | (c! << 16) | (d! << 24)) >>> 0;
    const words = new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length >>> 2);
    for (let index = 0; index < words.length; index++) words[index]! ^= word;
    at = words.length * 4;
  }
  for (; at < bytes.length; at++) bytes[at]! ^= turned[at & 3]!;
}
