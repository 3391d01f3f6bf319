/** Other programs: run to their end, or left running in the background and found again by a later command. */

import { delay } from "./wait.ts";

/** A process in the background. A pid is used again by the system; together with its start it names one process. */
export interface Process {
  pid: number;
  /** Field 22 of /proc/PID/stat: when it started, in clock ticks since boot. */
  startTicks: number;
  /** Absolute path of the file that takes its output. */
  log: string;
}

/** A program ended with another code than 0. */
export class CommandFailed extends Error {
  constructor(readonly command: readonly string[], readonly code: number, readonly stderr: string) {
    super(`${command.join(" ")} ended with ${code}: ${stderr.trim().slice(-2000)}`);
  }
}

/** What `run` may be told. */
export interface RunOptions {
  cwd?: string;
  env?: Record<string, string>;
}

/**
 * Runs a program to its end.
 *
 * @returns its standard output
 * @throws {CommandFailed} when it does not end with 0
 */
export async function run(command: readonly string[], options: RunOptions = {}): Promise<string> {
  const [program = "", ...args] = command;
  const output = await new Deno.Command(program, { args, stdin: "null", ...options }).output();
  const text = new TextDecoder();
  if (!output.success) throw new CommandFailed(command, output.code, text.decode(output.stderr));
  return text.decode(output.stdout);
}

/** Whether a program of this name is on PATH, or at this absolute path. */
export async function isInstalled(program: string): Promise<boolean> {
  try {
    await run(["sh", "-c", 'command -v "$1" >/dev/null', "sh", program]);
    return true;
  } catch (error) {
    if (error instanceof CommandFailed) return false;
    throw error;
  }
}

/**
 * Starts a program in a session of its own, so that it outlives this one and no Ctrl-C reaches it.
 *
 * The child is no group leader, so `setsid` does not fork, and the shell execs: the pid stays the same throughout.
 *
 * @param log file that takes its output; emptied first
 */
export async function startInBackground(command: readonly string[], log: string): Promise<Process> {
  const script = 'log=$1; shift; exec "$@" >"$log" 2>&1 </dev/null';
  const child = new Deno.Command("setsid", {
    args: ["sh", "-c", script, "sh", log, ...command],
    stdin: "null",
    stdout: "null",
    stderr: "null",
  }).spawn();
  child.unref();
  return { pid: child.pid, startTicks: await startTicksOf(child.pid) ?? 0, log };
}

/** Whether this very process still runs; a zombie does not. */
export async function isAlive({ pid, startTicks }: Process): Promise<boolean> {
  return await startTicksOf(pid) === startTicks;
}

/** Asks a process to end, and ends it when it has not done so `graceMs` later. */
export async function stop(process: Process, graceMs: number): Promise<void> {
  for (const signal of ["SIGTERM", "SIGKILL"] as const) {
    const deadline = Date.now() + graceMs;
    if (await isAlive(process)) kill(process.pid, signal);
    while (await isAlive(process) && Date.now() < deadline) await delay(50);
  }
}

/** Sends a signal; a process that is gone already is as good. */
export function kill(pid: number, signal: Deno.Signal): void {
  try {
    Deno.kill(pid, signal);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}

/** The last lines of a log, for an error message. */
export async function tail(log: string, lines = 15): Promise<string> {
  const text = await Deno.readTextFile(log).catch(() => "");
  return text.trimEnd().split("\n").slice(-lines).join("\n");
}

/** @see proc_pid_stat(5): the program's name, in parentheses, may hold spaces and parentheses of its own */
async function startTicksOf(pid: number): Promise<number | undefined> {
  const stat = await Deno.readTextFile(`/proc/${pid}/stat`).catch(() => undefined);
  if (stat === undefined) return undefined;
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  const [state, startTicks] = [fields[0], fields[19]];
  return state === "Z" ? undefined : Number(startTicks);
}
