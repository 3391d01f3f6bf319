/** Where a command writes: a process's two streams, or a test's two strings. */
export interface Output {
  out(text: string): void;
  error(text: string): void;
}

/** Ends a command because it was called in a way that has no meaning; exit code 2. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

/** One command of `postern`. A file each. */
export interface Command {
  /** The words that call it, e.g. `config print`. */
  words: readonly string[];
  /** What follows the words, e.g. `[--config FILE]`. */
  usage: string;
  /** One line for the list of commands. */
  summary: string;
  /** What `--help` says below the usage: options, exit codes, examples. */
  help: string;
  /**
   * @param args what follows the command's words
   * @returns the exit code: 0 done, 1 done and the answer is no
   * @throws {UsageError} exit code 2; any other error is said in one line, exit code 1
   */
  run(args: string[], output: Output): Promise<number> | number;
}
