/** What a process has cost up to now, as Linux tells it. */

/** Clock ticks of `/proc/PID/stat`: 100 a second on every Linux that Deno runs on. */
const TICKS_PER_SECOND = 100;

/** Seconds of CPU, in user space and kernel, of all threads. @see proc_pid_stat(5), fields 14 and 15 */
export async function cpuSeconds(pid: number): Promise<number> {
  const stat = await Deno.readTextFile(`/proc/${pid}/stat`);
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" "); // the name before it may hold anything
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
}

/** Resident memory, in bytes. @see proc_pid_status(5), VmRSS */
export async function residentBytes(pid: number): Promise<number> {
  const status = await Deno.readTextFile(`/proc/${pid}/status`);
  const kibibytes = /^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1];
  if (kibibytes === undefined) throw new Error(`process ${pid} has no resident memory`);
  return Number(kibibytes) * 1024;
}

/** How many files and sockets a process may have open: the hard limit, up to which Deno and Go raise the soft one. */
export async function descriptorLimit(): Promise<number> {
  const limits = await Deno.readTextFile("/proc/self/limits");
  const hard = /^Max open files\s+\S+\s+(\d+)/m.exec(limits)?.[1];
  return Number(hard ?? 1_024);
}
