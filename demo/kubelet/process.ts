import { startTerminal } from "./terminal.ts";
import { startPipes } from "./pipes.ts";

/** What to run. */
export interface ProcessOptions {
  /** The command, word by word; never passed through a shell. */
  argv: readonly string[];
  /** The container's folder. */
  folder: string;
  /** Its environment, all of it. */
  env: Readonly<Record<string, string>>;
  /** Whether anyone will write to stdin; otherwise it is empty. */
  stdin: boolean;
  /** A terminal instead of three pipes. */
  tty: boolean;
}

/** Size of a terminal, in character cells. */
export interface TerminalSize {
  columns: number;
  rows: number;
}

/** A process of a container, with pipes or a terminal. It leads a session of its own. */
export interface Process {
  readonly pid: number;
  /** With a tty everything, `stderr` nothing. Ends when the last holder of the pipe has closed it. */
  readonly stdout: AsyncIterable<Uint8Array>;
  readonly stderr: AsyncIterable<Uint8Array>;
  /** Resolves when the process took the bytes; a process that reads no more loses them. */
  write(bytes: Uint8Array): Promise<void>;
  /** The end of stdin. */
  endInput(): Promise<void>;
  resize(size: TerminalSize): void;
  /** 0..255; 128 and the signal's number where one ended it. */
  readonly exitCode: Promise<number>;
}

/** The process could not be started: the words of a container runtime. */
export class StartError extends Error {
  override readonly name = "StartError";
}

/** @throws {StartError} */
export function startProcess(options: ProcessOptions): Process {
  const [command = "", ...args] = options.argv;
  const file = findExecutable(command, options);
  return options.tty ? startTerminal(file, args, options) : startPipes(file, args, options);
}

/** Looks a command up as runc does, so that what cannot be run is refused in its words. */
function findExecutable(command: string, { folder, env }: ProcessOptions): string {
  const fail = (why: string): never => {
    throw new StartError(`exec: ${JSON.stringify(command)}: ${why}`);
  };
  if (!command.includes("/")) {
    const found = command !== "" &&
      (env.PATH ?? "").split(":").map((path) => `${path}/${command}`).find(isExecutable);
    return found || fail("executable file not found in $PATH");
  }
  const path = command.startsWith("/") ? command : `${folder}/${command}`;
  if (isExecutable(path)) return path;
  return fail(exists(path) ? "permission denied" : `stat ${command}: no such file or directory`);
}

function isExecutable(path: string): boolean {
  try {
    const { isFile, mode } = Deno.statSync(path);
    return isFile && ((mode ?? 0) & 0o111) !== 0;
  } catch {
    return false;
  }
}

function exists(path: string): boolean {
  try {
    Deno.statSync(path);
    return true;
  } catch {
    return false;
  }
}
