/** How often it is looked whether our parent has gone, in milliseconds. */
const PARENT_POLL_MS = 500;

/** Set by npm and by `deno task` for what they run. */
const RUNNER_VARIABLES = ["npm_lifecycle_event", "INIT_CWD"];

/**
 * Resolves when the demo is to end: at a signal, when its terminal is closed, or when the npm or deno that ran it was killed,
 * which not all of them pass on. Further signals are ignored: the end is under way, and takes no long time.
 */
export function nextStop(): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    Deno.addSignalListener(signal, () => resolve());
  }
  if (RUNNER_VARIABLES.some((name) => Deno.env.has(name))) {
    const parent = Deno.ppid;
    const timer = setInterval(() => {
      if (Deno.ppid !== parent) resolve();
    }, PARENT_POLL_MS);
    Deno.unrefTimer(timer);
  }
  return promise;
}
