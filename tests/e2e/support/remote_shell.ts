import { commandOf, type KubectlRun } from "./kubectl.ts";

/**
 * Writes what rsync calls in place of ssh: a script that takes a pod and a command, and runs kubectl exec.
 *
 * @param run whose arguments are those of `kubectl exec`, without the pod
 */
export async function writeRemoteShell(path: string, run: Omit<KubectlRun, "args">): Promise<void> {
  const { binary, args, env } = commandOf({ ...run, args: ["exec", "-i"] });
  const variables = Object.entries(env).map(([name, value]) => `${name}=${value}`);
  const words = ["env", "-i", ...variables, binary, ...args].map(quoted).join(" ");
  await Deno.writeTextFile(path, `#!/bin/sh\npod=$1\nshift\nexec ${words} "$pod" -- "$@"\n`, { mode: 0o755 });
}

function quoted(word: string): string {
  return `'${word.replaceAll("'", `'\\''`)}'`;
}
