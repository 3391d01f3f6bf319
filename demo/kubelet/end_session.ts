/** Kills every process whose session has the number `$1`. Fields of a stat file after the name: state, parent, group, session. */
const KILL_SESSION = `
for file in /proc/[0-9]*/stat; do
  read -r line < "$file" || continue
  set -- "$1" \${line##*) }
  [ "$5" = "$1" ] || continue
  pid=\${file#/proc/}
  kill -KILL "\${pid%/stat}"
done`;

/**
 * Ends a process that leads a session, and all that it started there: a shell's jobs too, which have groups of their own. What has
 * opened a session of its own escapes. Never throws.
 *
 * A shell reads `/proc`: Deno itself may not, once FFI is given up.
 */
export async function endSession(leader: number): Promise<void> {
  try {
    Deno.kill(-leader, "SIGKILL");
  } catch {
    // Its own group has ended already.
  }
  if (Deno.build.os !== "linux") return;
  try {
    const args = ["-c", KILL_SESSION, "sh", String(leader)];
    await new Deno.Command("/bin/sh", { args, stdin: "null", stdout: "null", stderr: "null" }).output();
  } catch {
    // No shell: what there was has lost its terminal at least.
  }
}
