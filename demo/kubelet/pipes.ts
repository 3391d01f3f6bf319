import { type Process, type ProcessOptions, StartError } from "./process.ts";

/**
 * Starts a process with three pipes.
 *
 * @throws {StartError} where the kernel refuses it
 */
export function startPipes(
  file: string,
  args: string[],
  { argv, folder, env, stdin }: ProcessOptions,
): Process {
  const child = spawn(file, argv, {
    args,
    cwd: folder,
    env: { ...env },
    clearEnv: true,
    stdin: stdin ? "piped" : "null",
    stdout: "piped",
    stderr: "piped",
    detached: true, // a session of its own, which can be ended whole
  });
  const input = stdin ? child.stdin.getWriter() : undefined;
  return {
    pid: child.pid,
    stdout: child.stdout,
    stderr: child.stderr,
    write: async (bytes) => await input?.write(bytes).catch(() => {}),
    endInput: async () => await input?.close().catch(() => {}),
    resize: () => {},
    exitCode: child.status.then(({ code }) => code),
  };
}

function spawn(file: string, [command]: readonly string[], options: Deno.CommandOptions): Deno.ChildProcess {
  try {
    return new Deno.Command(file, options).spawn();
  } catch (cause) {
    throw new StartError(`exec ${command}: exec format error`, { cause });
  }
}
