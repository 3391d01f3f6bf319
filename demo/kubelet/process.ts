import { spawn as spawnPty } from "@lydell/node-pty";
import { Buffer } from "node:buffer";

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

/** A process of a container, with pipes or a terminal. */
export interface Process {
  /** With a tty everything, `stderr` nothing. Ends when the last holder of the pipe has closed it. */
  stdout: AsyncIterable<Uint8Array>;
  stderr: AsyncIterable<Uint8Array>;
  /** Resolves when the process took the bytes; a process that reads no more loses them. */
  write(bytes: Uint8Array): Promise<void>;
  /** The end of stdin. */
  endInput(): Promise<void>;
  resize(columns: number, rows: number): void;
  /** 0..255; 128 and the signal's number where one ended it. */
  exitCode: Promise<number>;
  /** Ends the process and all that it started. */
  kill(): void;
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

function startPipes(file: string, args: string[], { folder, env, stdin }: ProcessOptions): Process {
  const child = new Deno.Command(file, {
    args,
    cwd: folder,
    env: { ...env },
    clearEnv: true,
    stdin: stdin ? "piped" : "null",
    stdout: "piped",
    stderr: "piped",
    detached: true, // a process group of its own, which can be ended whole
  }).spawn();
  const input = stdin ? child.stdin.getWriter() : undefined;
  return {
    stdout: child.stdout,
    stderr: child.stderr,
    write: async (bytes) => await input?.write(bytes.slice()).catch(() => {}),
    endInput: async () => await input?.close().catch(() => {}),
    resize: () => {},
    exitCode: child.status.then(({ code }) => code),
    kill: () => killGroup(child.pid),
  };
}

/** Output of a terminal that waits to be sent, in bytes, above which the process is held. */
const HOLD_ABOVE_BYTES = 256 * 1024;

function startTerminal(file: string, args: string[], { folder, env }: ProcessOptions): Process {
  const terminal = spawnPty(file, args, {
    name: "xterm",
    cwd: folder,
    env: { ...env, TERM: "xterm" },
    encoding: null,
  });
  const output = new TransformStream<Uint8Array, Uint8Array>(undefined, undefined, { highWaterMark: 0 });
  const writer = output.writable.getWriter();
  let waiting = 0;
  terminal.onData((data: string | Uint8Array) => {
    const bytes = typeof data === "string" ? Buffer.from(data) : Buffer.from(data);
    waiting += bytes.length;
    if (waiting > HOLD_ABOVE_BYTES) terminal.pause();
    writer.write(bytes).then(() => {
      waiting -= bytes.length;
      if (waiting <= HOLD_ABOVE_BYTES) terminal.resume();
    }, () => {});
  });
  const exitCode = Promise.withResolvers<number>();
  terminal.onExit(({ exitCode: code, signal }) => {
    exitCode.resolve(signal ? 128 + signal : code);
    writer.close().catch(() => {});
  });
  return {
    stdout: output.readable,
    stderr: new ReadableStream({ start: (controller) => controller.close() }),
    write: (bytes) => {
      terminal.write(Buffer.from(bytes) as unknown as string);
      return Promise.resolve();
    },
    endInput: () => {
      terminal.write("\x04"); // what a keyboard sends for the end of input
      return Promise.resolve();
    },
    resize: (columns, rows) => {
      if (columns > 0 && rows > 0) terminal.resize(columns, rows);
    },
    exitCode: exitCode.promise,
    kill: () => killGroup(terminal.pid),
  };
}

function killGroup(pid: number): void {
  try {
    Deno.kill(-pid, "SIGKILL");
  } catch {
    // It has ended.
  }
}

/** Looks a command up as the runtime does, so that what cannot be run is refused in its words. */
function findExecutable(command: string, { folder, env }: ProcessOptions): string {
  const fail = (why: string): never => {
    throw new StartError(`exec: ${JSON.stringify(command)}: ${why}`);
  };
  if (command === "") return fail("no command given");
  const candidates = command.includes("/")
    ? [command.startsWith("/") ? command : `${folder}/${command}`]
    : (env.PATH ?? "").split(":").map((path) => `${path}/${command}`);
  for (const path of candidates) {
    try {
      const { isFile, mode } = Deno.statSync(path);
      if (isFile && ((mode ?? 0) & 0o111) !== 0) return path;
      if (command.includes("/")) return fail("permission denied");
    } catch (cause) {
      if (cause instanceof StartError) throw cause;
    }
  }
  return fail(command.includes("/") ? "no such file or directory" : "executable file not found in $PATH");
}
