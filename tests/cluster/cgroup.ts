/** The cgroup that holds every container of the cluster, so that they can be found and ended whatever happened. */

import { join } from "node:path";
import { kill } from "./processes.ts";

/** Its path below each hierarchy. */
export const CGROUP = "/postern-cluster";
const HIERARCHIES = "/sys/fs/cgroup";

/** Makes the cgroup: in every hierarchy of cgroup v1, or in the one of v2 with the controllers that the kubelet asks for. */
export async function makeCgroup(): Promise<void> {
  const controllers = await Deno.readTextFile(join(HIERARCHIES, "cgroup.controllers")).catch(() => undefined);
  if (controllers !== undefined) {
    const enable = controllers.trim().split(" ").map((name) => `+${name}`).join(" ");
    await Deno.writeTextFile(join(HIERARCHIES, "cgroup.subtree_control"), enable);
  }
  for (const folder of await cgroups()) await Deno.mkdir(folder, { recursive: true });
}

/** Kills every process of every container. */
export async function killCgroup(): Promise<void> {
  for (const folder of await cgroups()) {
    for (const path of await subtree(folder)) {
      const pids = await Deno.readTextFile(join(path, "cgroup.procs")).catch(() => "");
      for (const pid of pids.split("\n").filter((line) => Number(line) > 0)) kill(Number(pid), "SIGKILL");
    }
  }
}

/** Removes the cgroup's folders; those that still hold a process stay. @returns whether all are gone */
export async function removeCgroup(): Promise<boolean> {
  let gone = true;
  for (const folder of await cgroups()) {
    for (const path of (await subtree(folder)).reverse()) {
      await Deno.remove(path).catch(() => gone = false);
    }
  }
  return gone;
}

/** Its folder in each hierarchy, whether there or not. */
async function cgroups(): Promise<string[]> {
  const mounted = await Deno.readTextFile("/proc/self/mountinfo");
  const folders = mounted.split("\n")
    .filter((line) => / - cgroup2? /.test(line))
    .map((line) => line.split(" ")[4] ?? "")
    .filter((path) => path === HIERARCHIES || path.startsWith(`${HIERARCHIES}/`));
  return folders.map((path) => join(path, CGROUP));
}

/** A folder and all below it, parents first; nothing where it does not exist. */
async function subtree(folder: string): Promise<string[]> {
  const found = [folder];
  try {
    for await (const entry of Deno.readDir(folder)) {
      if (entry.isDirectory) found.push(...await subtree(join(folder, entry.name)));
    }
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw error;
  }
  return found;
}
