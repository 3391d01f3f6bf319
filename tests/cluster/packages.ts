/** What the machine must have, and what Debian gives it where it has not. */

import { join } from "node:path";
import type { Layout } from "./layout.ts";
import { CommandFailed, isInstalled, run } from "./processes.ts";
import { Unfit } from "./unfit.ts";

/** A program that is called by name or path, and the Debian package that brings it. */
const PROGRAMS: Record<string, string> = {
  "etcd": "etcd-server",
  "containerd": "containerd",
  "ctr": "containerd",
  "runc": "runc",
  "/usr/lib/cni/bridge": "containernetworking-plugins",
  "/usr/lib/cni/host-local": "containernetworking-plugins",
  "ip": "iproute2",
  "nft": "nftables",
  "mount": "mount",
  "setsid": "util-linux",
  "bash": "bash",
  "tar": "tar",
  "rsync": "rsync",
  "python3": "python3-venv",
  "iptables": "iptables", // for tests/faults, and so is what follows
  "faketime": "faketime",
};

const APT_INSTALL = ["apt-get", "install", "-y", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=120"];
const APT_ENVIRONMENT = { DEBIAN_FRONTEND: "noninteractive" };

/** Debian asks this file before a package starts its daemon; the cluster starts its own. */
const POLICY = "/usr/sbin/policy-rc.d";

/** @throws {Unfit} unless this is Linux and the user is root */
export function checkMachine(): void {
  if (Deno.build.os !== "linux") {
    throw new Unfit("The test cluster needs Linux: it runs real containers.");
  }
  if (Deno.uid() !== 0) {
    throw new Unfit("The test cluster needs root: it makes network namespaces, mounts and cgroups.");
  }
}

/**
 * Installs the programs that are missing.
 *
 * @returns the packages that were installed
 * @throws {Unfit} where programs are missing and this is no Debian
 */
export async function installPackages(): Promise<string[]> {
  const missing = new Set<string>();
  for (const [program, name] of Object.entries(PROGRAMS)) {
    if (!await isInstalled(program)) missing.add(name);
  }
  if (missing.size === 0) return [];
  const names = [...missing];
  await needApt(names);
  await withoutStartingDaemons(() =>
    withFreshLists(() => run([...APT_INSTALL, ...names], { env: APT_ENVIRONMENT }))
  );
  return names;
}

/** Unpacks Debian's kubectl 1.20 beside the machine's own. @returns its path */
export async function unpackKubectl120(at: Layout): Promise<string> {
  return await unpack("kubernetes-client", at.kubectl120, "usr/bin/kubectl");
}

/** Unpacks busybox, linked statically: installing it would remove the `busybox` of others. @returns its path */
export async function unpackBusybox(at: Layout): Promise<string> {
  return await unpack("busybox-static", join(at.debian, "busybox-static"), "bin/busybox");
}

/** Downloads a package and unpacks it into a folder, once. */
async function unpack(name: string, folder: string, program: string): Promise<string> {
  const path = join(folder, program);
  if (await isInstalled(path)) return path;
  await needApt([name]);
  await Deno.mkdir(folder, { recursive: true });
  const download = await Deno.makeTempDir({ prefix: "postern-package-" });
  try {
    await withFreshLists(() => run(["apt-get", "download", name], { cwd: download }));
    for await (const { name: archive } of Deno.readDir(download)) {
      if (archive.endsWith(".deb")) await run(["dpkg", "-x", join(download, archive), folder]);
    }
  } finally {
    await Deno.remove(download, { recursive: true });
  }
  return path;
}

async function needApt(names: readonly string[]): Promise<void> {
  if (await isInstalled("apt-get")) return;
  throw new Unfit(
    `The test cluster needs what Debian has in ${names.join(", ")}, and there is no apt-get to get it.`,
  );
}

/** Runs apt; where its lists are empty or too old for the mirror, fetches them and runs it again. */
async function withFreshLists(apt: () => Promise<string>): Promise<void> {
  try {
    await apt();
  } catch (error) {
    if (!(error instanceof CommandFailed)) throw error;
    await run(["apt-get", "update"]);
    await apt();
  }
}

async function withoutStartingDaemons(install: () => Promise<void>): Promise<void> {
  let ours = true;
  try {
    await Deno.writeTextFile(POLICY, "#!/bin/sh\nexit 101\n", { createNew: true, mode: 0o755 });
  } catch (error) {
    if (!(error instanceof Deno.errors.AlreadyExists)) throw error;
    ours = false; // whoever wrote it has decided
  }
  try {
    await install();
  } finally {
    if (ours) await Deno.remove(POLICY);
  }
}
