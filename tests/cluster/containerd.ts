/** containerd and the network of the pods: all it keeps lies in the cluster's folder, its namespaces too. */

import { join } from "node:path";
import { IMAGE } from "./image.ts";
import type { Layout } from "./layout.ts";
import { ADDRESSES, BRIDGE } from "./network.ts";
import { run } from "./processes.ts";
import { Unfit } from "./unfit.ts";

/** Name of the pods' network; cleanup.ts finds by it what the plugins left. */
export const NETWORK = "postern";

/** sockaddr_un holds 108 bytes with the final zero. */
const MAX_SOCKET_PATH_BYTES = 107;

/** Writes the configuration of containerd and of the pods' network. @returns its command */
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
  return ["containerd", "--config", config];
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

/** Pods know the way to one another, to the node and to Services, and nowhere else. */
function networkList(at: Layout): unknown {
  return {
    cniVersion: "0.4.0",
    name: NETWORK,
    plugins: [{
      type: "bridge",
      bridge: BRIDGE,
      hairpinMode: true, // so that a pod may come to itself by its Service: bridges keep packets from the port they came by
      ipam: {
        type: "host-local",
        dataDir: join(at.cni, "addresses"),
        ranges: [[{ subnet: ADDRESSES.pods, gateway: ADDRESSES.node }]],
        routes: [{ dst: ADDRESSES.services }],
      },
    }],
  };
}
