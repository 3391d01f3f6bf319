/**
 * Ends a cluster and takes away what it left on the machine: processes, containers, mounts, the network, cgroups,
 * the name of the node. It asks nothing of the cluster, so the same steps serve one that is well and one that was cut off.
 */

import { basename, join } from "node:path";
import { killCgroup, removeCgroup } from "./cgroup.ts";
import { NETWORK } from "./containerd.ts";
import { removeHostName } from "./kubelet.ts";
import { removeIfThere } from "./files.ts";
import { type Layout, layout } from "./layout.ts";
import { removeNetwork } from "./network.ts";
import { isAlive, kill, type Process, run, stop } from "./processes.ts";
import { type Component, COMPONENTS, forgetState, type State } from "./state.ts";
import { waitUntil } from "./wait.ts";

const GRACE_MS = 5000;
const CNI_RESULTS = "/var/lib/cni/results";
const CONTAINER_LOGS = "/var/log/containers";

/** Ends all of a cluster and forgets it. @param state what is known of it; it may be dead already */
export async function endCluster(state: State): Promise<void> {
  const at = layout(state.directory);
  await end(state, "kubelet"); // first, for it would start the containers again
  await endContainers(at);
  await Promise.all(COMPONENTS.map((component) => end(state, component)));
  await unmountBelow(at.root);
  await removeNetwork();
  await waitUntil("the containers' cgroup is gone", removeCgroup, { deadlineMs: GRACE_MS });
  await removeHostName();
  await removeNetworkResults();
  await removeWhere(CONTAINER_LOGS, async (path) => (await Deno.readLink(path)).startsWith(`${at.root}/`));
  await forgetState(state);
}

async function end(state: State, component: Component): Promise<void> {
  const process = state.processes[component];
  if (process !== undefined) await stop(process, GRACE_MS);
}

/** Removes a cluster's files; what was costly to get stays, and the logs do. */
export async function removeFiles(at: Layout): Promise<void> {
  await unmountBelow(at.root);
  const folders = [at.pki, at.gateway, at.etc, at.etcd, at.containerd, at.kubelet, at.cni, at.image];
  for (const path of [...folders, at.kubeconfig]) await removeIfThere(path);
}

/** The components of a cluster that still run. */
export async function livingProcesses(state: State): Promise<Process[]> {
  const processes = COMPONENTS.flatMap((component) => state.processes[component] ?? []);
  const alive = await Promise.all(processes.map(isAlive));
  return processes.filter((_, index) => alive[index]);
}

/** Containers outlive containerd, each under its shim: a shim is known by the socket that it was told. */
async function endContainers(at: Layout): Promise<void> {
  const sockets = await shimSockets(at); // now: containerd removes the bundle of a shim that dies
  await killCgroup();
  for (const pid of await shimsOf(at)) kill(pid, "SIGKILL");
  await waitUntil("the shims are gone", async () => (await shimsOf(at)).length === 0, {
    deadlineMs: GRACE_MS,
  });
  for (const path of sockets) await removeIfThere(path);
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

/** A shim that is killed leaves its socket in /run/containerd/s; the bundle of each container names it. */
async function shimSockets(at: Layout): Promise<string[]> {
  const bundles = join(at.containerd, "state", "io.containerd.runtime.v2.task", "k8s.io");
  const addresses = (await namesIn(bundles)).map((id) =>
    Deno.readTextFile(join(bundles, id, "address")).catch(() => "")
  );
  return (await Promise.all(addresses))
    .map((address) => address.replace(/^unix:\/\//, ""))
    .filter((path) => path.startsWith("/run/containerd/s/"));
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

/** The plugins' results, named NETWORK-CONTAINER-INTERFACE; the loopback plugin's have a network of its own. */
async function removeNetworkResults(): Promise<void> {
  const containers = (await namesIn(CNI_RESULTS))
    .filter((name) => name.startsWith(`${NETWORK}-`))
    .map((name) => name.split("-")[1] ?? "");
  await removeWhere(CNI_RESULTS, (path) => containers.some((id) => basename(path).includes(`-${id}-`)));
}

async function removeWhere(
  folder: string,
  isOurs: (path: string) => boolean | Promise<boolean>,
): Promise<void> {
  for (const name of await namesIn(folder)) {
    const path = join(folder, name);
    if (await isOurs(path)) await removeIfThere(path);
  }
}

async function namesIn(folder: string): Promise<string[]> {
  try {
    return (await Array.fromAsync(Deno.readDir(folder))).map(({ name }) => name);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw error;
  }
}
