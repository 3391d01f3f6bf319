/** Where something stands: keys and indexes from the top of the document. */
export type Path = readonly (string | number)[];

/** A place in the text, both counted from 1. */
export interface Position {
  line: number;
  column: number;
}

/** One thing that is wrong with a configuration. `message` reads "expected …, got …". */
export interface Fault {
  path: Path;
  /** Absent where the text has no such place, e.g. of a file that could not be read. */
  position?: Position;
  message: string;
}

/** Faults that one error shows; a file with more of them has been mistaken for a configuration. */
const MAX_SHOWN = 50;

/** Thrown when a configuration cannot be used. The message has a line for each fault. */
export class ConfigurationError extends Error {
  override readonly name = "ConfigurationError";
  constructor(readonly file: string, readonly faults: readonly Fault[], options?: ErrorOptions) {
    super(describe(file, faults), options);
  }
}

function describe(file: string, faults: readonly Fault[]): string {
  const lines = faults.slice(0, MAX_SHOWN).map((fault) => describeFault(file, fault));
  if (faults.length > MAX_SHOWN) lines.push(`${file}: and ${faults.length - MAX_SHOWN} more`);
  return lines.join("\n");
}

/** `gateway.yaml:7:21: server.limits.maxHeaderBytes: expected …, got "big"`. */
function describeFault(file: string, { path, position, message }: Fault): string {
  const place = position === undefined ? file : `${file}:${position.line}:${position.column}`;
  // The YAML parser's words quote the file.
  const said = printable(message);
  return path.length === 0 ? `${place}: ${said}` : `${place}: ${describePath(path)}: ${said}`;
}

/** `audit.sinks[1].path`; a key that is no plain word is quoted. */
function describePath(path: Path): string {
  return path.map((step, index) => {
    if (typeof step === "number") return `[${step}]`;
    if (!/^[A-Za-z_][A-Za-z0-9_-]*$/.test(step)) return `[${describeValue(step)}]`;
    return index === 0 ? step : `.${step}`;
  }).join("");
}

/** A value as one short line that is safe to print: no control characters, at most 80 characters. */
export function describeValue(value: unknown): string {
  if (value === undefined || value === null) return "nothing";
  if (typeof value === "number") return String(value); // JSON has no NaN
  const json = printable(JSON.stringify(value));
  return json.length <= 80 ? json : `${json.slice(0, 77)}...`;
}

/** Text without anything that moves a cursor, ends a line or turns the direction of reading. */
function printable(text: string): string {
  return text.replaceAll(
    /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu,
    (character) => `\\u{${character.codePointAt(0)?.toString(16)}}`,
  );
}
