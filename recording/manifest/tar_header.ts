/** Size of a block of a tar stream, in bytes: headers have one, and content is padded to whole ones. */
export const BLOCK_BYTES = 512;

/** Why the rest of a stream is not read as a tar. `message` is for people. */
export class TarFault extends Error {
  override readonly name = "TarFault";
}

/** What an entry of an archive is. `special` is none that POSIX names, and is read as a file. */
export type EntryType =
  | "file"
  | "directory"
  | "symlink"
  | "hardlink"
  | "character-device"
  | "block-device"
  | "fifo"
  | "special";

/** What a header says that describes the entry behind it, or the archive. */
export type MetaType = "pax" | "pax-global" | "long-path" | "long-link";

/** One header block, as it stands there: what pax records and GNU's long names replace is not yet replaced. */
export interface TarHeader {
  path: string;
  linkTarget: string;
  /** Permission bits and those above them, 0 to 0o7777. */
  mode: number;
  /** Of what follows in the stream. */
  sizeBytes: number;
  type: EntryType | MetaType;
  /** An old GNU sparse file: its true size, and whether blocks with more of its map follow. */
  sparse?: { realSizeBytes: number; hasMore: boolean };
}

const TYPES: Readonly<Record<string, TarHeader["type"]>> = {
  "\0": "file",
  "0": "file",
  "1": "hardlink",
  "2": "symlink",
  "3": "character-device",
  "4": "block-device",
  "5": "directory",
  "6": "fifo",
  "7": "file",
  S: "file",
  x: "pax",
  X: "pax",
  g: "pax-global",
  L: "long-path",
  K: "long-link",
};

/** Types without content. Where something says otherwise, readers disagree about where the next header is. */
export const WITHOUT_CONTENT: ReadonlySet<string> = new Set([
  "hardlink",
  "symlink",
  "character-device",
  "block-device",
  "directory",
  "fifo",
]);

/**
 * Reads a header block that is not all zeros.
 *
 *     | path 100 | mode 8 | uid 8 | gid 8 | size 12 | mtime 12 | checksum 8 | type 1 | link target 100 | magic 8 | … |
 *
 * Behind the magic a POSIX header has the start of a long path (155 bytes from 345), an old GNU one of a sparse file
 * its map (from 386), whether the map goes on (482) and the true size (12 bytes from 483).
 *
 * @param block {@linkcode BLOCK_BYTES}
 * @throws {TarFault}
 * @see POSIX.1-2024 pax, "ustar Interchange Format"; GNU tar's manual, "Basic Tar Format"
 */
export function readTarHeader(block: Uint8Array): TarHeader {
  checkSum(block);
  const magic = latin1(block.subarray(257, 265));
  const flag = String.fromCharCode(block[156] ?? 0);
  const isPosix = magic.startsWith("ustar\0");
  const name = text(block.subarray(0, 100));
  const prefix = isPosix ? text(block.subarray(345, 500)) : "";
  const path = prefix === "" ? name : `${prefix}/${name}`;
  const sizeBytes = number(block.subarray(124, 136), "size");
  // Before POSIX a directory was a file with a slash at its end.
  const isOldDirectory = TYPES[flag] === "file" && path.endsWith("/") && flag !== "S" && !isPosix;
  const type = isOldDirectory ? "directory" : TYPES[flag] ?? "special";
  return {
    path,
    linkTarget: text(block.subarray(157, 257)),
    mode: number(block.subarray(100, 108), "mode") & 0o7777,
    sizeBytes,
    type,
    ...(flag === "S" && {
      sparse: { realSizeBytes: number(block.subarray(483, 495), "size"), hasMore: block[482] !== 0 },
    }),
  };
}

/** Whether a stream that begins so is surely a tar: its first header has a magic, and its checksum is right. */
export function beginsTar(block: Uint8Array): boolean {
  if (block.length < BLOCK_BYTES || latin1(block.subarray(257, 262)) !== "ustar") return false;
  try {
    checkSum(block);
    return true;
  } catch {
    return false;
  }
}

/** The sum of all bytes with blanks in the checksum's place; some old tars summed them as signed ones. */
function checkSum(block: Uint8Array): void {
  let unsigned = 0;
  let signed = 0;
  for (let at = 0; at < BLOCK_BYTES; at++) {
    const byte = at >= 148 && at < 156 ? 0x20 : block[at] ?? 0;
    unsigned += byte;
    signed += byte > 127 ? byte - 256 : byte;
  }
  const stated = number(block.subarray(148, 156), "checksum");
  if (stated !== unsigned && stated !== signed) throw new TarFault("a header's checksum is wrong");
}

/** Octal digits between blanks and zeros, or, where the first bit is set, the other bits as a number (GNU, star). */
function number(field: Uint8Array, what: string): number {
  const [first = 0] = field;
  if ((first & 0x80) !== 0) return base256(field, what);
  const digits = /^[ \0]*([0-7]*)[ \0]/.exec(`${latin1(field)}\0`)?.[1];
  if (digits === undefined) throw new TarFault(`a header's ${what} is no number`);
  return digits === "" ? 0 : Number.parseInt(digits, 8);
}

function base256(field: Uint8Array, what: string): number {
  const [first = 0, ...rest] = field;
  if ((first & 0x40) !== 0) throw new TarFault(`a header's ${what} is negative`);
  let value = first & 0x3f;
  for (const byte of rest) {
    value = value * 256 + byte;
    if (value > Number.MAX_SAFE_INTEGER) throw new TarFault(`a header's ${what} is too large`);
  }
  return value;
}

/** Up to the first NUL. Bytes that are no UTF-8 become U+FFFD. */
function text(field: Uint8Array): string {
  const end = field.indexOf(0);
  return new TextDecoder().decode(end === -1 ? field : field.subarray(0, end));
}

function latin1(bytes: Uint8Array): string {
  return String.fromCharCode(...bytes);
}
