/** The kubelet of the one node: its own authentication and authorization are real, as on any hardened cluster. */

import { join } from "node:path";
import { CGROUP, makeCgroup } from "./cgroup.ts";
import type { Layout } from "./layout.ts";
import { ADDRESSES } from "./network.ts";
import type { State } from "./state.ts";
import { Unfit } from "./unfit.ts";
import { writeKubeconfig } from "./users.ts";

const HOSTS = "/etc/hosts";
const HOSTS_MARK = "# postern test cluster";

/** Writes the kubelet's configuration, and what the machine must have for it. @returns its command */
export async function kubelet(at: Layout, state: State): Promise<string[]> {
  await addHostName(state.nodeName);
  await makeCgroup();
  const pair = { certificatePath: join(at.pki, "kubelet.crt"), keyPath: join(at.pki, "kubelet.key") };
  const kubeconfig = join(at.etc, "kubelet.kubeconfig");
  await writeKubeconfig(kubeconfig, at, state.apiServerUrl, { kubelet: pair });
  const config = join(at.etc, "kubelet.json");
  await Deno.writeTextFile(config, JSON.stringify(configuration(at, state), undefined, 2));
  return [
    at.kube,
    "kubelet",
    `--config=${config}`,
    `--kubeconfig=${kubeconfig}`,
    `--root-dir=${at.kubelet}`,
    `--hostname-override=${state.nodeName}`,
    `--node-ip=${ADDRESSES.node}`, // it listens on 127.0.0.1 all the same: `kube relay` leads there
  ];
}

/** Takes the node's name out of /etc/hosts again. */
export async function removeHostName(): Promise<void> {
  const text = await Deno.readTextFile(HOSTS);
  const kept = text.split("\n").filter((line) => !line.endsWith(HOSTS_MARK)).join("\n");
  if (kept !== text) await Deno.writeTextFile(HOSTS, kept);
}

/** A gateway on this machine dials the node by the name that the Node object gives; it must lead to the loopback address. */
async function addHostName(name: string): Promise<void> {
  const text = await Deno.readTextFile(HOSTS);
  const line = text.split("\n").find((candidate) =>
    candidate.replace(/#.*/, "").split(/\s+/).slice(1).includes(name)
  );
  if (line === undefined) {
    const separator = text === "" || text.endsWith("\n") ? "" : "\n";
    await Deno.writeTextFile(HOSTS, `${text}${separator}127.0.0.1 ${name} ${HOSTS_MARK}\n`);
  } else if (!line.startsWith("127.0.0.1")) {
    throw new Unfit(
      `The test cluster's node is called ${name}, and ${HOSTS} has another address for it: "${line}".`,
    );
  }
}

/**
 * cgroup v1 and a bare machine ask for: cgroupfs, no enforced allocatable, swap allowed. Every wait and limit that
 * reacts to a full disk is off: a busy developer's machine is no reason to evict a test's pod.
 */
function configuration(at: Layout, { ports }: State): unknown {
  return {
    apiVersion: "kubelet.config.k8s.io/v1beta1",
    kind: "KubeletConfiguration",
    address: "127.0.0.1",
    port: ports.kubelet,
    healthzBindAddress: "127.0.0.1",
    healthzPort: ports.kubeletHealth,
    tlsCertFile: join(at.pki, "kubelet.crt"),
    tlsPrivateKeyFile: join(at.pki, "kubelet.key"),
    authentication: {
      anonymous: { enabled: false },
      webhook: { enabled: true, cacheTTL: "10s" },
      x509: { clientCAFile: join(at.pki, "ca.crt") },
    },
    authorization: {
      mode: "Webhook",
      webhook: { cacheAuthorizedTTL: "10s", cacheUnauthorizedTTL: "10s" },
    },
    containerRuntimeEndpoint: `unix://${at.containerdSocket}`,
    podLogsDir: at.podLogs,
    volumePluginDir: join(at.kubelet, "volume-plugins"),
    cgroupDriver: "cgroupfs",
    cgroupRoot: CGROUP,
    enforceNodeAllocatable: [],
    failSwapOn: false,
    makeIPTablesUtilChains: false,
    imageGCHighThresholdPercent: 100,
    imageGCLowThresholdPercent: 99,
    evictionHard: {
      "memory.available": "0%",
      "nodefs.available": "0%",
      "nodefs.inodesFree": "0%",
      "imagefs.available": "0%",
      "imagefs.inodesFree": "0%",
    },
  };
}
