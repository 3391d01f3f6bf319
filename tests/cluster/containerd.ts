/** containerd and the network of the pods: all it keeps lies in the cluster's folder, its namespaces too. */

import { join } from "node:path";
import { IMAGE } from "./image.ts";
import type { Layout } from "./layout.ts";
import { run } from "./processes.ts";
import { Unfit } from "./unfit.ts";

/** Name of the pods' network; cleanup.ts finds by it what the plugins left. */
export const NETWORK = "postern";
const BRIDGE = "postern0";
const BRIDGE_ADDRESS = "10.244.77.1/24";
const POD_ADDRESSES = "10.244.77.0/24";

/** sockaddr_un holds 108 bytes with the final zero. */
const MAX_SOCKET_PATH_BYTES = 107;

/** Writes containerd's configuration and makes the pods' bridge. @returns its command */
export async function containerd(at: Layout): Promise<string[]> {
  const longest = `${at.containerdSocket}.ttrpc`;
  if (new TextEncoder().encode(longest).length > MAX_SOCKET_PATH_BYTES) {
    throw new Unfit(
      `The path ${longest} is too long for a Unix socket: put the checkout nearer to the root.`,
    );
  }
  const config = join(at.etc, "containerd.toml");
  await Deno.writeTextFile(config, configuration(at));
  const network = join(at.cni, "conf");
  await Deno.mkdir(network, { recursive: true });
  await Deno.writeTextFile(
    join(network, "10-postern.conflist"),
    JSON.stringify(networkList(at), undefined, 2),
  );
  await makeBridge();
  return ["containerd", "--config", config];
}

/** Takes the bridge away; what hangs on it goes with its pod. */
export async function removeBridge(): Promise<void> {
  const found = await Deno.stat(`/sys/class/net/${BRIDGE}`).catch(() => undefined);
  if (found !== undefined) await run(["ip", "link", "delete", BRIDGE]);
}

/**
 * The host and the pods reach one another over this bridge, and nothing else: it is made here, and not by its plugin as
 * a gateway, because that would turn on forwarding for the whole machine.
 */
async function makeBridge(): Promise<void> {
  await removeBridge();
  await run(["ip", "link", "add", BRIDGE, "type", "bridge"]);
  await run(["ip", "address", "add", BRIDGE_ADDRESS, "dev", BRIDGE]);
  await run(["ip", "link", "set", BRIDGE, "up"]);
}

/** Imports an image archive into the namespace that the kubelet looks in. */
export async function importImage(at: Layout, archive: string): Promise<void> {
  const ctr = ["ctr", "--address", at.containerdSocket, "--namespace", "k8s.io"];
  await run([...ctr, "images", "import", "--snapshotter", "native", archive]);
}

/**
 * `restrict_oom_score_adj`: without CAP_SYS_RESOURCE, runc may not lower a sandbox' score, and says "can't get final
 * child's PID from pipe". The `native` snapshotter copies instead of stacking: slower, and works on any file system.
 */
function configuration(at: Layout): string {
  const quoted = (path: string) => JSON.stringify(path);
  const cri = `plugins."io.containerd.grpc.v1.cri"`;
  return `version = 2
root = ${quoted(join(at.containerd, "root"))}
state = ${quoted(join(at.containerd, "state"))}
disabled_plugins = ["io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs"]

[grpc]
address = ${quoted(at.containerdSocket)}

[plugins."io.containerd.internal.v1.opt"]
path = ${quoted(join(at.containerd, "opt"))}

[${cri}]
sandbox_image = ${quoted(IMAGE)}
restrict_oom_score_adj = true
netns_mounts_under_state_dir = true

[${cri}.containerd]
snapshotter = "native"
default_runtime_name = "runc"

[${cri}.containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[${cri}.containerd.runtimes.runc.options]
SystemdCgroup = false
Root = ${quoted(join(at.containerd, "runc"))}

[${cri}.cni]
bin_dir = "/usr/lib/cni"
conf_dir = ${quoted(join(at.cni, "conf"))}
`;
}

function networkList(at: Layout): unknown {
  return {
    cniVersion: "0.4.0",
    name: NETWORK,
    plugins: [{
      type: "bridge",
      bridge: BRIDGE,
      ipam: {
        type: "host-local",
        dataDir: join(at.cni, "addresses"),
        ranges: [[{ subnet: POD_ADDRESSES }]],
      },
    }],
  };
}
