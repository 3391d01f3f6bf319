/**
 * Ends a cluster and takes away what it left on the machine: processes, containers, mounts, the bridge, cgroups, the
 * name of the node. It asks nothing of the cluster, so the same steps serve one that is well and one that was cut off.
 */

import { basename, join } from "node:path";
import { endCgroup, removeCgroup } from "./cgroup.ts";
import { BRIDGE, NETWORK } from "./containerd.ts";
import { removeHostName } from "./kubelet.ts";
import { type Layout, layout } from "./layout.ts";
import { isAlive, isInstalled, kill, type Process, run, stop } from "./processes.ts";
import { COMPONENTS, forgetState, type State } from "./state.ts";
import { waitUntil } from "./wait.ts";

const GRACE_MS = 5000;
const CNI_RESULTS = "/var/lib/cni/results";
const CONTAINER_LOGS = "/var/log/containers";

/** Ends all of a cluster and forgets it. @param state what is known of it; it may be dead already */
export async function endCluster(state: State): Promise<void> {
  const at = layout(state.directory);
  for (const component of [...COMPONENTS].reverse()) {
    const process = state.processes[component];
    if (component === "containerd") await endContainers(at); // the kubelet is gone, so nothing starts them again
    if (process !== undefined) await stop(process, GRACE_MS);
  }
  await unmountBelow(at.root);
  await removeBridge();
  await waitUntil("the containers' cgroup is gone", removeCgroup, { deadlineMs: GRACE_MS });
  await removeHostName();
  await removeWhere(CNI_RESULTS, (path) => basename(path).startsWith(`${NETWORK}-`));
  await removeWhere(CONTAINER_LOGS, async (path) => (await Deno.readLink(path)).startsWith(`${at.root}/`));
  await forgetState(state);
}

/** Removes a cluster's files; what was costly to get stays, and the logs do. */
export async function removeFiles(at: Layout): Promise<void> {
  await unmountBelow(at.root);
  const folders = [at.pki, at.gateway, at.etc, at.etcd, at.containerd, at.kubelet, at.cni, at.image];
  for (const path of [...folders, at.kubeconfig]) {
    await Deno.remove(path, { recursive: true }).catch((error) => {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    });
  }
}

/** The components of a cluster that still run. */
export async function livingProcesses(state: State): Promise<Process[]> {
  const processes = COMPONENTS.flatMap((component) => state.processes[component] ?? []);
  const alive = await Promise.all(processes.map(isAlive));
  return processes.filter((_, index) => alive[index]);
}

/** Containers outlive containerd, each under its shim: a shim is known by the socket that it was told. */
async function endContainers(at: Layout): Promise<void> {
  const shims = await shimsOf(at);
  await endCgroup();
  for (const pid of shims) kill(pid, "SIGKILL");
  await waitUntil("the shims are gone", async () => (await shimsOf(at)).length === 0, {
    deadlineMs: GRACE_MS,
  });
}

async function shimsOf(at: Layout): Promise<number[]> {
  const pids: number[] = [];
  for await (const { name } of Deno.readDir("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    const words = (await Deno.readTextFile(`/proc/${name}/cmdline`).catch(() => "")).split("\0");
    if (!basename(words[0] ?? "").startsWith("containerd-shim")) continue;
    if (words.includes(at.containerdSocket)) pids.push(Number(name));
  }
  return pids;
}

async function unmountBelow(folder: string): Promise<void> {
  const mounts = (await Deno.readTextFile("/proc/self/mountinfo")).split("\n")
    .map((line) => unescapeMount(line.split(" ")[4] ?? ""))
    .filter((path) => path.startsWith(`${folder}/`));
  for (const path of mounts.reverse()) await run(["umount", "--lazy", path]);
}

/** @see proc_pid_mountinfo(5): space, tab, newline and backslash are written in octal */
function unescapeMount(path: string): string {
  return path.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(parseInt(octal, 8)));
}

async function removeBridge(): Promise<void> {
  const found = await Deno.stat(`/sys/class/net/${BRIDGE}`).catch(() => undefined);
  if (found !== undefined && await isInstalled("ip")) await run(["ip", "link", "delete", BRIDGE]);
}

async function removeWhere(
  folder: string,
  isOurs: (path: string) => boolean | Promise<boolean>,
): Promise<void> {
  const names = await Array.fromAsync(Deno.readDir(folder)).catch((error) => {
    if (error instanceof Deno.errors.NotFound) return [];
    throw error;
  });
  for (const { name } of names) {
    const path = join(folder, name);
    if (await isOurs(path)) await Deno.remove(path);
  }
}
