/** Writes tar archives that are the same bytes for the same entries: no clock, no owner, no order of a file system. */

/** One member of an archive. */
export type Entry =
  | { type: "file"; path: string; mode: number; bytes: Uint8Array }
  | { type: "directory"; path: string; mode: number }
  | { type: "symlink"; path: string; target: string };

const BLOCK_BYTES = 512;
const TYPE_FLAG = { file: "0", symlink: "2", directory: "5" } as const;

/**
 * An archive of the entries, sorted by path, owned by root, of 1 January 1970.
 *
 * @param entries each path once, relative, without `./`
 * @throws {RangeError} a path or target too long for its field (names are not split over `prefix`: none here needs it)
 * @see POSIX.1-2017, pax, "ustar Interchange Format"
 */
export function tar(entries: readonly Entry[]): Uint8Array {
  const sorted = [...entries].sort((a, b) => a.path < b.path ? -1 : 1);
  const parts: Uint8Array[] = [];
  for (const entry of sorted) {
    parts.push(header(entry));
    if (entry.type === "file") parts.push(entry.bytes, new Uint8Array(paddingBytes(entry.bytes.length)));
  }
  parts.push(new Uint8Array(2 * BLOCK_BYTES));
  return concat(parts);
}

function header(entry: Entry): Uint8Array {
  const block = new Uint8Array(BLOCK_BYTES);
  const put = (field: string, text: string, at: number, bytes: number) => {
    const encoded = new TextEncoder().encode(text);
    if (encoded.length > bytes) {
      throw new RangeError(`${field} of tar entry "${entry.path}" is over ${bytes} bytes`);
    }
    block.set(encoded, at);
  };
  const octal = (value: number, digits: number) => value.toString(8).padStart(digits, "0") + "\0";

  put("name", entry.type === "directory" ? `${entry.path}/` : entry.path, 0, 100);
  put("mode", octal(entry.type === "symlink" ? 0o777 : entry.mode, 7), 100, 8);
  put("uid", octal(0, 7), 108, 8);
  put("gid", octal(0, 7), 116, 8);
  put("size", octal(entry.type === "file" ? entry.bytes.length : 0, 11), 124, 12);
  put("mtime", octal(0, 11), 136, 12);
  put("chksum", " ".repeat(8), 148, 8); // counted as spaces
  put("typeflag", TYPE_FLAG[entry.type], 156, 1);
  if (entry.type === "symlink") put("linkname", entry.target, 157, 100);
  put("magic and version", "ustar\x0000", 257, 8);
  const sum = block.reduce((total, byte) => total + byte, 0);
  put("chksum", octal(sum, 6), 148, 7); // six digits, NUL, and the space that is there
  return block;
}

function paddingBytes(bytes: number): number {
  return (BLOCK_BYTES - bytes % BLOCK_BYTES) % BLOCK_BYTES;
}

function concat(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((total, part) => total + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
