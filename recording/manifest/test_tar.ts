/** Writes tar streams for tests, right ones and wrong ones. */

/** A header's fields as they are written. */
export interface HeaderFields {
  path?: string;
  mode?: string;
  size?: number | string | Uint8Array;
  type?: string;
  linkTarget?: string;
  /** @default {"ustar\x0000"} */
  magic?: string;
  prefix?: string;
  /** In place of the right one. */
  checksum?: string;
  /** Bytes at an offset, before the checksum is made. */
  patch?: readonly [offset: number, bytes: Uint8Array][];
}

const utf8 = (text: string) => new TextEncoder().encode(text);

export function header(fields: HeaderFields = {}): Uint8Array {
  const { path = "a", mode = "0000644\0", size = 0, type = "0", linkTarget = "", magic = "ustar\x0000" } =
    fields;
  const block = new Uint8Array(512);
  const octal = typeof size === "number" ? `${size.toString(8).padStart(11, "0")}\0` : size;
  block.set(utf8(path).subarray(0, 100), 0);
  block.set(utf8(mode), 100);
  block.set(typeof octal === "string" ? utf8(octal) : octal, 124);
  block.set(utf8(type), 156);
  block.set(utf8(linkTarget).subarray(0, 100), 157);
  block.set(utf8(magic), 257);
  block.set(utf8(fields.prefix ?? ""), 345);
  for (const [offset, bytes] of fields.patch ?? []) block.set(bytes, offset);
  block.set(utf8("        "), 148);
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.set(utf8(fields.checksum ?? `${sum.toString(8).padStart(6, "0")}\0 `), 148);
  return block;
}

/** Filled up to a whole block. */
export function padded(content: string | Uint8Array): Uint8Array {
  const bytes = typeof content === "string" ? utf8(content) : content;
  const block = new Uint8Array(Math.ceil(bytes.length / 512) * 512);
  block.set(bytes);
  return block;
}

export function file(path: string, content: string, fields: HeaderFields = {}): Uint8Array {
  return joined(header({ path, size: utf8(content).length, ...fields }), padded(content));
}

/** A pax header with its records. */
export function pax(records: Readonly<Record<string, string>>, type = "x"): Uint8Array {
  const text = Object.entries(records).map(([key, value]) => record(key, value)).join("");
  return file("PaxHeaders/a", text, { type });
}

/** The length counts its own digits. */
export function record(key: string, value: string): string {
  const rest = utf8(` ${key}=${value}\n`).length;
  let length = rest + 1;
  while (rest + `${length}`.length !== length) length++;
  return `${length} ${key}=${value}\n`;
}

export const END = new Uint8Array(1024);

export function joined(...parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
