import { type RsyncFacts, rsyncFacts } from "./rsync_facts.ts";

/** A command that moves files, as its command line tells it. */
export type Transfer =
  /** A tar that reads an archive from the client (`in`, on stdin) or writes one to it (`out`, on stdout). */
  | { kind: "tar"; direction: "in" | "out"; startsAtByte?: number }
  | { kind: "rsync"; facts: RsyncFacts };

/** Programs that run what follows them; their own flags, and the one word that `timeout` and `nice` may have, are passed over. */
const WRAPPERS: ReadonlySet<string> = new Set([
  ..."busybox toybox chroot command doas env exec ionice nice nohup setsid stdbuf sudo time timeout".split(
    " ",
  ),
]);
const SHELLS: ReadonlySet<string> = new Set(["ash", "bash", "dash", "ksh", "sh", "zsh"]);
const TARS: ReadonlySet<string> = new Set(["bsdtar", "gtar", "star", "tar"]);
const UNPACKERS: ReadonlySet<string> = new Set(["gunzip", "gzip", "pigz", "zcat"]);

/** Behind these letters stands a value: in the same word, or, in the old style, in one of those that follow. */
const WITH_VALUE = "bCfFgHIKLNTVX";

/** What a tar does that reads an archive, and what one does that writes it. */
const READS = { letters: "xtd", words: ["--extract", "--get", "--list", "--diff", "--compare"] };
const WRITES = { letters: "c", words: ["--create"] };

/**
 * Whether a command moves files, and which way: `tar xmf - -C DIR` and `tar cf - PATH` of kubectl cp, `tar -C DIR -ox` and
 * `tar -C DIR -c PATH` of oc rsync, `rsync --server`, also in `sh -c` and with a pipe behind it.
 *
 * @param argv argument by argument, as the client sent it
 * @returns undefined for everything else, also for a tar whose archive is a file in the pod
 */
export function commandOf(argv: readonly string[]): Transfer | undefined {
  const words = unwrapped(argv);
  const [program = "", ...args] = words;
  const name = baseOf(program);
  if (SHELLS.has(name)) {
    const flag = args.findIndex((word) => /^-[a-z]*c$/.test(word));
    const script = flag === -1 ? undefined : args[flag + 1];
    return script === undefined ? undefined : ofScript(script);
  }
  return ofProgram(name, args);
}

function ofProgram(name: string, args: readonly string[]): Transfer | undefined {
  if (name === "rsync") {
    const facts = rsyncFacts(args);
    return facts && { kind: "rsync", facts };
  }
  const direction = TARS.has(name) ? tarDirection(args) : undefined;
  return direction && { kind: "tar", direction };
}

/** The command without what only runs it. */
function unwrapped(argv: readonly string[]): readonly string[] {
  let at = 0;
  let isWrapped = false;
  for (; at < argv.length; at++) {
    const word = argv[at] ?? "";
    const isOfWrapper = isWrapped && /^(-.*|[0-9.]+[smhd]?)$/.test(word);
    const isAssignment = /^[A-Za-z_]\w*=/.test(word);
    if (WRAPPERS.has(baseOf(word))) isWrapped = true;
    else if (!isOfWrapper && !isAssignment) break;
  }
  return argv.slice(at);
}

/** The last part of a script that is one: what is said before `;` and `&&` says nothing on the streams, most times. */
function ofScript(script: string): Transfer | undefined {
  const pipelines = script.split(/&&|\|\||[;\n]/).map((pipeline) => pipeline.split("|").map(wordsOf));
  for (const commands of pipelines) {
    const at = commands.findIndex(([program = ""]) =>
      TARS.has(baseOf(program)) || baseOf(program) === "rsync"
    );
    const [program = "", ...args] = commands[at] ?? [];
    const transfer = at === -1 ? undefined : ofProgram(baseOf(program), args);
    if (transfer === undefined) continue;
    const isOut = transfer.kind === "tar" ? transfer.direction === "out" : false;
    const others = isOut ? commands.slice(at + 1) : commands.slice(0, at);
    // kubectl cp takes up where it left off: tar cf - PATH | tail -c+12345
    const tail = isOut && others.length === 1 ? tailOf(others[0] ?? []) : undefined;
    if (transfer.kind === "tar" && tail !== undefined) {
      return { ...transfer, ...(tail > 1 && { startsAtByte: tail }) };
    }
    if (others.every(([other = ""]) => UNPACKERS.has(baseOf(other)) || baseOf(other) === "cat")) {
      return transfer;
    }
  }
  return undefined;
}

/** Of `tail -c+N` and `tail -c +N`: N, the first byte being 1. */
function tailOf([program = "", ...args]: readonly string[]): number | undefined {
  const from = /^-c\+([0-9]{1,15})$/.exec(args.join(""))?.[1];
  return baseOf(program) === "tail" && from !== undefined ? Number(from) : undefined;
}

/** Words of a simple command; quotes keep one together. Variables and substitutions stay what they are. */
function wordsOf(command: string): readonly string[] {
  const words = command.match(/(?:"[^"]*"|'[^']*'|\\.|[^\s"'\\])+/g) ?? [];
  return unwrapped(words.map((word) => word.replace(/"([^"]*)"|'([^']*)'|\\(.)/g, "$1$2$3")));
}

/** Which way the archive goes, where it goes through the session. An archive that no option names is stdin or stdout. */
function tarDirection(args: readonly string[]): "in" | "out" | undefined {
  let direction: "in" | "out" | undefined;
  let archive = "-";
  const letter = (character: string) => {
    if (READS.letters.includes(character)) direction = "in";
    else if (WRITES.letters.includes(character)) direction = "out";
  };
  let at = 0;
  const [first = ""] = args;
  if (!first.startsWith("-")) {
    // The old style: all letters first, then their values in the same order.
    at = 1;
    for (const character of first) {
      letter(character);
      if (WITH_VALUE.includes(character)) {
        const value = args[at++] ?? "";
        if (character === "f") archive = value;
      }
    }
  }
  for (; at < args.length; at++) {
    const word = args[at] ?? "";
    if (word === "--") break;
    if (READS.words.includes(word)) direction = "in";
    else if (WRITES.words.includes(word)) direction = "out";
    else if (word.startsWith("--file=")) archive = word.slice(7);
    else if (word === "--file") archive = args[++at] ?? "";
    else if (word === "--directory" || word === "--exclude") at++;
    else if (/^-[^-]/.test(word)) {
      for (let index = 1; index < word.length; index++) {
        const character = word.charAt(index);
        letter(character);
        if (!WITH_VALUE.includes(character)) continue;
        const value = index + 1 < word.length ? word.slice(index + 1) : args[++at] ?? "";
        if (character === "f") archive = value;
        break;
      }
    }
  }
  return archive === "-" || archive === "/dev/stdin" || archive === "/dev/stdout" ? direction : undefined;
}

function baseOf(program: string): string {
  return program.slice(program.lastIndexOf("/") + 1);
}
