import { isHealthy } from "../../cluster/health.ts";
import { isAlive, kill, type Process, startInBackground } from "../../cluster/processes.ts";
import { type Component, readMachineState, saveState, type State } from "../../cluster/state.ts";
import { eventually } from "../../e2e/support/wait.ts";

/** How long a component may take from its start until it is well. */
const HEALTH_MS = 60_000;

/** Leaves to what is started none of the files that we were given open: a lock, say, that would be held for ever. */
const WITHOUT_OURS = 'exec 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&-; exec "$@"';

/** A component of the cluster that was killed, and how it is brought back. */
export interface Killed {
  /** Starts it as it was, and waits until it is well. */
  restart(): Promise<void>;
}

/** Kills a component with SIGKILL, as the kernel would that is out of memory, and waits until it is gone. */
export async function killComponent(component: Component): Promise<Killed> {
  const process = processOf(await machine(), component);
  const command = (await Deno.readTextFile(`/proc/${process.pid}/cmdline`)).split("\0").slice(0, -1);
  kill(process.pid, "SIGKILL");
  await eventually(`${component} is gone`, async () => await isAlive(process) ? undefined : true);
  return { restart: () => start(component, command, process) };
}

async function start(component: Component, command: string[], { log }: Process): Promise<void> {
  const state = await machine();
  let process: Process | undefined;
  await eventually(`${component} is well again`, async () => {
    // What it needs may be taken for a moment: its port, by somebody who looked for a free one.
    if (process === undefined || !await isAlive(process)) {
      process = await startInBackground(["sh", "-c", WITHOUT_OURS, "sh", ...command], log);
      state.processes[component] = process;
      await saveState(state);
    }
    return await isHealthy(component, state) || undefined;
  }, { deadlineMs: HEALTH_MS, everyMs: 100 });
}

async function machine(): Promise<State> {
  const state = await readMachineState();
  if (state === undefined) throw new Error("no cluster is up");
  return state;
}

function processOf(state: State, component: Component): Process {
  const process = state.processes[component];
  if (process === undefined) throw new Error(`${component} was never started`);
  return process;
}
