import type { SecretNames } from "./argv_names.ts";
import { type ShellOperator, shellTokens, type ShellWord } from "./argv_shell.ts";
import { isReference, type SecretSpan, spanOf, textSecrets } from "./argv_text.ts";
import { readsSecret, type Tool, TOOLS } from "./argv_tools.ts";

/** Commands within commands that are looked into: `ssh host "sudo sh -c '…'"` has two. */
const MAX_DEPTH = 6;

/** What is the next flag rather than the value of the last one: `--password --user root` asks for the password. */
const FLAG = /^(?:-[A-Za-z]|--[a-z][a-z-]*(?:=.*)?)$/;

/** Behind these a script follows. */
const SCRIPT_FLAG = /^(?:-[a-zA-Z]*[ce]|--command|--eval|eval)$/;

/** Behind these a setting's name follows, and then its value. */
const SETTER = /^(?:set|setenv|config|--global|--system|--local|--add)$/i;

/** How a command came to us. */
interface Surroundings {
  names: SecretNames;
  /** 0 for the command line itself. */
  depth: number;
}

/** What the word that comes is, because of the one before. */
type Expectation = { type: "secret" } | { type: "heralded" } | { type: "credentials"; separator: string };

/**
 * The secrets of a command line, argument by argument: what flags, variables, headers, URLs and connection strings
 * say, also in scripts that shells are given, and what the programs in {@linkcode TOOLS} understand.
 *
 * @returns for each argument its secrets, in order and apart
 */
export function findSecrets(argv: readonly string[], names: SecretNames): SecretSpan[][] {
  return commandSecrets(argv, { names, depth: 0 }).map((spans, at) => merged(argv[at] ?? "", spans));
}

function commandSecrets(words: readonly string[], around: Surroundings): SecretSpan[][] {
  const found: SecretSpan[][] = words.map(() => []);
  const seen = new Set<string>();
  let tools: readonly Tool[] = [];
  let toolAt = 0;
  let expected: Expectation | undefined;
  words.forEach((word, at) => {
    const spans = found[at] ?? [];
    spans.push(...wordSecrets(word, words[at - 1] ?? "", around));
    const isFlag = FLAG.test(word);
    if (expected !== undefined && !isFlag) {
      const start = expected.type === "credentials" ? afterSeparator(word, expected.separator) : 0;
      const isPair = expected.type === "heralded" && word.includes("=");
      if (start !== undefined && !isPair) spans.push(spanOf(word, start));
      expected = undefined;
      return;
    }
    if (expected?.type !== "heralded") expected = undefined;
    const known = TOOLS.get(word.slice(word.lastIndexOf("/") + 1));
    if (known !== undefined) {
      [tools, toolAt] = [known, at];
    } else {
      for (const tool of tools.filter(({ after }) => after === undefined || seen.has(after))) {
        const { spans: own, next } = toolSecrets(word, tool);
        spans.push(...own);
        expected = next ?? expected;
      }
    }
    if (announces(word, words[at - 1] ?? "", around.names)) expected = { type: "secret" };
    seen.add(word);
  });
  for (const { places, separator } of tools) {
    for (const place of places?.(words.slice(toolAt + 1)) ?? []) {
      const word = words[toolAt + 1 + place] ?? "";
      const start = separator === undefined ? 0 : afterSeparator(word, separator);
      if (start !== undefined) found[toolAt + 1 + place]?.push(spanOf(word, start));
    }
  }
  return found.map((spans) => spans.filter((span) => isSecret(span, around)));
}

/** Whether the next word is the value of this one: `--password`, `-storepass`, `config set requirepass`. */
function announces(word: string, before: string, names: SecretNames): boolean {
  const flag = /^--?([A-Za-z][\w.-]+)$/.exec(word)?.[1];
  if (flag !== undefined) return names.has(flag);
  return SETTER.test(before) && /^[\w./:@-]+$/.test(word) && !word.startsWith("set-") &&
    names.has(word.slice(word.lastIndexOf("/") + 1));
}

function toolSecrets(word: string, tool: Tool): { spans: SecretSpan[]; next?: Expectation } {
  const { secrets = "", attached = "", credentials = [], separator = ":", heralds = [] } = tool;
  if (heralds.includes(word)) return { spans: [], next: { type: "heralded" } };
  if (word.startsWith("--")) {
    const equals = word.indexOf("=");
    if (!credentials.includes(equals === -1 ? word : word.slice(0, equals))) return { spans: [] };
    if (equals === -1) return { spans: [], next: { type: "credentials", separator } };
    const start = afterSeparator(word, separator, equals + 1);
    return { spans: start === undefined ? [] : [spanOf(word, start)] };
  }
  if (!/^-[A-Za-z]/.test(word)) return { spans: [] };
  const letter = word.charAt(1);
  if ((secrets + attached).includes(letter) && word.length > 2) return { spans: [spanOf(word, 2)] };
  // Flags without a value may stand together before the one that has one: curl -su alice:secret.
  const last = /^-[A-Za-z]{1,4}$/.test(word) ? word.charAt(word.length - 1) : "-";
  if (secrets.includes(last)) return { spans: [], next: { type: "secret" } };
  if (credentials.includes(`-${last}`)) return { spans: [], next: { type: "credentials", separator } };
  const start = credentials.includes(`-${letter}`) ? afterSeparator(word, separator, 2) : undefined;
  return { spans: start === undefined ? [] : [spanOf(word, start)] };
}

/** Where the secret begins in `name:secret`; undefined where there is no separator and so no secret. */
function afterSeparator(word: string, separator: string, from = 0): number | undefined {
  const at = word.indexOf(separator, from);
  return at === -1 ? undefined : at + 1;
}

/** Leaves out what is empty, and variables that the shell fills in. */
function isSecret({ start, end, secret }: SecretSpan, { depth }: Surroundings): boolean {
  return start < end && !(depth > 0 && isReference(secret));
}

function wordSecrets(word: string, before: string, around: Surroundings): SecretSpan[] {
  const isScript = SCRIPT_FLAG.test(before);
  const spans = textSecrets(word, around.names, { isScript, isExpanded: isScript || around.depth > 0 });
  const isCommand = isScript || /\s/.test(word);
  return isCommand && around.depth < MAX_DEPTH ? [...spans, ...scriptSecrets(word, around)] : spans;
}

function scriptSecrets(source: string, { names, depth }: Surroundings): SecretSpan[] {
  const around = { names, depth: depth + 1 };
  return commandsOf(shellTokens(source)).flatMap(({ words, read }) => {
    const found = commandSecrets(words.map(({ text }) => text), around);
    return words.flatMap((word, at) => {
      const whole = [...read.has(word) ? [spanOf(word.text, 0)] : []].filter((span) =>
        isSecret(span, around)
      );
      return merged(word.text, [...found[at] ?? [], ...whole]).map((span) => inSource(word, span));
    });
  });
}

/** A command of a script. */
interface Command {
  words: ShellWord[];
  /** Words that a command reads as a secret: `echo SECRET | chpasswd`, `chpasswd <<< SECRET`. */
  read: Set<ShellWord>;
}

function commandsOf(tokens: readonly (ShellWord | ShellOperator)[]): Command[] {
  const commands: Command[] = [];
  let current: Command = { words: [], read: new Set() };
  let hereWords: ShellWord[] = [];
  let piped: Command | undefined;
  let operator = "";
  const end = () => {
    if (readsSecret(current.words.map(({ text }) => text))) {
      for (const word of hereWords) current.read.add(word);
      for (const word of piped === undefined ? [] : echoed(piped)) piped?.read.add(word);
    }
    commands.push(current);
    piped = operator === "|" || operator === "|&" ? current : undefined;
    [current, hereWords] = [{ words: [], read: new Set() }, []];
  };
  for (const token of tokens) {
    if (token.type === "word") {
      current.words.push(token);
      if (operator === "<<<") hereWords.push(token);
      operator = "";
      continue;
    }
    operator = token.text;
    if (token.type === "command") end();
  }
  end();
  return commands;
}

/** What an echo prints. */
function echoed({ words: [program, ...words] }: Command): ShellWord[] {
  if (!/^(echo|printf)$/.test(program?.text ?? "")) return [];
  return words.filter(({ text }) => !/^-[neE]+$/.test(text));
}

function inSource({ starts, ends }: ShellWord, { start, end, secret }: SecretSpan): SecretSpan {
  return { start: starts[start] ?? 0, end: ends[end - 1] ?? 0, secret };
}

/** In order and apart: of those that overlap one is made, which reads what the whole of it is. */
function merged(text: string, spans: readonly SecretSpan[]): SecretSpan[] {
  const apart: SecretSpan[] = [];
  const inOrder = [...spans].sort((a, b) => a.start - b.start || b.end - a.end);
  for (const span of inOrder) {
    const last = apart.at(-1);
    if (last === undefined || span.start >= last.end) apart.push(span);
    else if (span.end > last.end) apart[apart.length - 1] = spanOf(text, last.start, span.end);
  }
  return apart;
}
