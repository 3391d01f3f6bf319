import type { Outcome } from "../../e2e/support/kubectl.ts";
import { within } from "../../e2e/support/wait.ts";

/** A program that runs to its end. */
export interface Program {
  binary: string;
  args: readonly string[];
  /** Written, then ended; without it stdin is /dev/null. */
  stdin?: Uint8Array | undefined;
  /** @default {20000} */
  deadlineMs?: number;
}

/** Runs it. One that takes too long is killed. @throws {DeadlineError} */
export async function runProgram({ binary, args, stdin, deadlineMs = 20_000 }: Program): Promise<Outcome> {
  const child = new Deno.Command(binary, {
    args: [...args],
    stdin: stdin === undefined ? "null" : "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const writing = stdin === undefined
    ? undefined
    : new Blob([stdin.slice()]).stream().pipeTo(child.stdin).catch(() => {});
  const reading = child.output();
  try {
    return await within(deadlineMs, `${binary} ${args.join(" ")}`, reading);
  } catch (error) {
    child.kill("SIGKILL");
    await reading;
    throw error;
  } finally {
    await writing;
  }
}
