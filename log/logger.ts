/** How important a line is, the least first. */
export const LEVELS = ["debug", "info", "warn", "error"] as const;
export type Level = typeof LEVELS[number];

/** What is known beside the message. No token and no byte of a session may be in it. */
export type Fields = Readonly<Record<string, unknown>>;

/** The gateway's own log. Audit events are no part of it. */
export interface Logger {
  debug(message: string, fields?: Fields): void;
  info(message: string, fields?: Fields): void;
  warn(message: string, fields?: Fields): void;
  error(message: string, fields?: Fields): void;
}

/** Options of {@linkcode createLogger}. */
export interface LoggerOptions {
  /** The least important level that is written. */
  level: Level;
  /** `json`: an object a line. `text`: for people. `auto`: text on a terminal, otherwise json. */
  format: "auto" | "json" | "text";
  /** Takes each line, without its end. @default the standard error */
  write?: (line: string) => void;
  /** Whether lines go to a terminal: then those of importance stand out. @default {whether the standard error is one} */
  isTerminal?: boolean;
  now?: () => Date;
}

/** Makes a logger. A field that is an Error is written as its message and those of its causes, never as a stack. */
export function createLogger(options: LoggerOptions): Logger {
  const { level, write = writeToStandardError, now = () => new Date() } = options;
  const { isTerminal = Deno.stderr.isTerminal() } = options;
  const format = options.format === "auto" ? (isTerminal ? "text" : "json") : options.format;
  const paint = isTerminal && !Deno.noColor ? painted : plain;
  const least = LEVELS.indexOf(level);
  const at = (level: Level) => (message: string, fields: Fields = {}) => {
    if (LEVELS.indexOf(level) < least) return;
    const said = Object.fromEntries(Object.entries(fields).map(([key, value]) => [key, plainOf(value)]));
    write(
      format === "json" ? json(now(), level, message, said) : paint(level, text(now(), level, message, said)),
    );
  };
  return { debug: at("debug"), info: at("info"), warn: at("warn"), error: at("error") };
}

function json(time: Date, level: Level, message: string, fields: Fields): string {
  return escapeControls(JSON.stringify({ time: time.toISOString(), level, message, ...fields }));
}

function text(time: Date, level: Level, message: string, fields: Fields): string {
  const pairs = Object.entries(fields).map(([key, value]) =>
    `${key}=${typeof value === "string" ? value : JSON.stringify(value)}`
  );
  return escapeControls(
    [time.toISOString().slice(11, 19), level.toUpperCase().padEnd(5), message, ...pairs].join(" "),
  );
}

function plain(_level: Level, line: string): string {
  return line;
}

/** Faint, yellow and red. */
const COLOURS: Readonly<Partial<Record<Level, string>>> = { debug: "2", warn: "33", error: "31" };

function painted(level: Level, line: string): string {
  const colour = COLOURS[level];
  return colour === undefined ? line : `\x1b[${colour}m${line}\x1b[0m`;
}

/** A line stays a line and moves no terminal's cursor, whatever a client put into it. */
function escapeControls(line: string): string {
  return line.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu, (character) => {
    // A character beyond U+FFFF is two escapes to JSON.
    const units = character.split("");
    return units.map((unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`).join("");
  });
}

/** Messages only: a stack tells a reader of logs more about the code than about the fault. */
function plainOf(value: unknown): unknown {
  if (!(value instanceof Error)) return value;
  const messages: string[] = [];
  for (let error: unknown = value; error instanceof Error && messages.length < 5; error = error.cause) {
    messages.push(withoutQueries(`${error.name}: ${error.message}`));
  }
  return messages.join(" <- ");
}

/** The platform names the URL of what failed, and somebody else's has a password in its query, or a user before its host. */
function withoutQueries(text: string): string {
  return text.replace(
    /\bhttps?:\/\/\S+/gi,
    (url) => url.replace(/^(\w+:\/\/)[^/?#]*@/, "$1").replace(/[?#].*$/, "?…"),
  );
}

function writeToStandardError(line: string): void {
  const bytes = new TextEncoder().encode(`${line}\n`);
  let offset = 0;
  while (offset < bytes.length) offset += Deno.stderr.writeSync(bytes.subarray(offset));
}
