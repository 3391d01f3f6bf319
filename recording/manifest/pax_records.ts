import { TarFault } from "./tar_header.ts";

/** What pax records say of the entry behind them, as far as a manifest wants it. */
export interface PaxRecords {
  path?: string;
  linkTarget?: string;
  /** Of what follows in the stream. */
  sizeBytes?: number;
  /** Holes are left out. */
  isSparse?: true;
  /** How large a sparse file is where it is unpacked. */
  realSizeBytes?: number;
}

/**
 * Reads pax records: `LENGTH KEY=VALUE\n`, whose length counts itself, in bytes. The last of a key counts, and a sparse
 * file's own name more than `path`, which is made up. A record without value says nothing.
 *
 * @throws {TarFault}
 * @see POSIX.1-2024 pax, "pax Extended Header"; GNU tar's manual, "Storing Sparse Files"
 */
export function readPaxRecords(bytes: Uint8Array): PaxRecords {
  const records: PaxRecords & { sparsePath?: string } = {};
  const decoder = new TextDecoder();
  for (let at = 0; at < bytes.length;) {
    const { digits, end } = lengthOf(bytes, at);
    const equals = bytes.indexOf(0x3d, at + digits);
    if (equals === -1 || equals >= end) throw new TarFault("a pax record has no key");
    const key = decoder.decode(bytes.subarray(at + digits + 1, equals));
    const value = bytes.subarray(equals + 1, end - 1);
    if (value.length > 0) learn(records, key, value);
    at = end;
  }
  const { sparsePath, ...rest } = records;
  return { ...rest, ...(sparsePath !== undefined && { path: sparsePath }) };
}

function lengthOf(bytes: Uint8Array, at: number): { digits: number; end: number } {
  const digits = /^[1-9][0-9]{0,9}(?= )/.exec(String.fromCharCode(...bytes.subarray(at, at + 11)))?.[0];
  if (digits === undefined) throw new TarFault("a pax record has no length");
  const end = at + Number(digits);
  if (end > bytes.length || bytes[end - 1] !== 0x0a) throw new TarFault("a pax record's length is wrong");
  return { digits: digits.length, end };
}

function learn(records: PaxRecords & { sparsePath?: string }, key: string, value: Uint8Array): void {
  const text = () => new TextDecoder().decode(value);
  if (key.startsWith("GNU.sparse.")) records.isSparse = true;
  if (key === "path") records.path = text();
  else if (key === "GNU.sparse.name") records.sparsePath = text();
  else if (key === "linkpath") records.linkTarget = text();
  else if (key === "size") records.sizeBytes = size(text());
  else if (key === "GNU.sparse.size" || key === "GNU.sparse.realsize") records.realSizeBytes = size(text());
}

function size(digits: string): number {
  const bytes = /^[0-9]{1,16}$/.test(digits) ? Number(digits) : Number.NaN;
  if (!Number.isSafeInteger(bytes)) throw new TarFault("a pax record's size is no number of bytes");
  return bytes;
}
