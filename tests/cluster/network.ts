/**
 * The network of the cluster: a bridge that joins the node and its pods, addresses of Services that kube-proxy leads to
 * pods, and a guard that keeps everybody outside of this machine away from all of them.
 *
 *     10.244.77.1      the node: its InternalIP; API server and kubelet for pods, through `kube relay`
 *     10.244.77.0/24   pods
 *     10.96.0.0/16     Services; 10.96.0.1 is `kubernetes`
 *
 * All of it hangs on one interface and three tables of nftables, so that taking these away takes everything away: what
 * is written to sysctls and routes is the bridge's own.
 */

import { join } from "node:path";
import type { Layout } from "./layout.ts";
import { CommandFailed, isInstalled, run } from "./processes.ts";
import type { State } from "./state.ts";
import { Unfit } from "./unfit.ts";
import { writeKubeconfig } from "./users.ts";

/** Interface that every pod hangs on. */
export const BRIDGE = "postern0";
/** What the cluster's addresses are. */
export const ADDRESSES = {
  /** The node's InternalIP. */
  node: "10.244.77.1",
  pods: "10.244.77.0/24",
  services: "10.96.0.0/16",
  /** The Service `kubernetes`: KUBERNETES_SERVICE_HOST in pods. */
  kubernetes: "10.96.0.1",
} as const;

const GUARD = "ip postern-cluster";
/** kube-proxy gives them these names whatever it is told. */
const PROXY_TABLES = ["ip kube-proxy", "ip6 kube-proxy"];

/**
 * Linux takes packets for any of its addresses from any interface, and kube-proxy leads those for a Service on: a
 * neighbour that routes these addresses here would get in. Packets that a bridge merely passes on come by the bridge too.
 */
const GUARD_RULES = `
table ${GUARD} {
  chain outside {
    type filter hook prerouting priority raw; policy accept;
    iifname != { "lo", "${BRIDGE}" } ip daddr { ${ADDRESSES.pods}, ${ADDRESSES.services} } drop
  }
}`;

/** Lets pods speak to one another where the machine drops what it forwards, as Docker has it do. */
const FORWARDING = ["FORWARD", "-i", BRIDGE, "-o", BRIDGE, "-j", "ACCEPT"];

/** @throws {Unfit} where there is a kube-proxy already, whose rules would be taken for the cluster's */
export async function checkNetwork(): Promise<void> {
  const tables = (await nft("list", "tables")).split("\n");
  const found = PROXY_TABLES.find((name) => tables.includes(`table ${name}`));
  if (found !== undefined) {
    throw new Unfit(
      `This machine has a kube-proxy of its own (nftables: "${found}"), and the test cluster needs one: use another machine.`,
    );
  }
}

/**
 * Makes guard and bridge. Only what comes by the bridge is forwarded: the plugin, as a gateway, would turn that on for the
 * whole machine. The route gives a host's connection to a Service the node's address, which pods know the way back to.
 */
export async function makeNetwork(): Promise<void> {
  await removeNetwork();
  await nft(GUARD_RULES);
  await run(["ip", "link", "add", BRIDGE, "type", "bridge"]);
  await run(["ip", "address", "add", `${ADDRESSES.node}/24`, "dev", BRIDGE]);
  await run(["ip", "link", "set", BRIDGE, "up"]);
  await Deno.writeTextFile(`/proc/sys/net/ipv4/conf/${BRIDGE}/forwarding`, "1");
  if ((await forwardRules())[0] === "-P FORWARD DROP") await run(["iptables", "-I", ...FORWARDING]);
  await run(["ip", "route", "add", ADDRESSES.services, "dev", BRIDGE, "src", ADDRESSES.node]);
}

/** Takes bridge, guard and the rules of kube-proxy away; what hangs on the bridge goes with its pod. */
export async function removeNetwork(): Promise<void> {
  const found = await Deno.stat(`/sys/class/net/${BRIDGE}`).catch(() => undefined);
  if (found !== undefined) await run(["ip", "link", "delete", BRIDGE]);
  if ((await forwardRules()).includes(`-A ${FORWARDING.join(" ")}`)) {
    await run(["iptables", "-D", ...FORWARDING]);
  }
  if (!await isInstalled("nft")) return;
  for (const table of [...PROXY_TABLES, GUARD]) { // one that is added is there, and can be deleted
    await nft(`add table ${table}; delete table ${table}`);
  }
}

/** What lets pods come to the API server and the kubelet, which listen on 127.0.0.1. */
export function relay(at: Layout, { ports }: Pick<State, "ports">): string[] {
  const pairs = [ports.apiServer, ports.kubelet].map((port) => `${ADDRESSES.node}:${port}=127.0.0.1:${port}`);
  return [at.kube, "relay", ...pairs];
}

/** Writes the configuration of kube-proxy. @returns its command */
export async function kubeProxy(at: Layout, state: State): Promise<string[]> {
  const pair = { certificatePath: join(at.pki, "kube-proxy.crt"), keyPath: join(at.pki, "kube-proxy.key") };
  const kubeconfig = join(at.etc, "kube-proxy.kubeconfig");
  await writeKubeconfig(kubeconfig, at, state.apiServerUrl, { "kube-proxy": pair });
  const config = join(at.etc, "kube-proxy.json");
  await Deno.writeTextFile(config, JSON.stringify(proxyConfiguration(state, kubeconfig), undefined, 2));
  return [at.kube, "proxy", `--config=${config}`];
}

/**
 * `masqueradeAll`: pods share a bridge, so that an answer would go straight to the pod that asked, from an address that
 * it never spoke to. Limits of connection tracking are the machine's: 0 leaves them.
 */
function proxyConfiguration({ ports, nodeName }: State, kubeconfig: string): unknown {
  return {
    apiVersion: "kubeproxy.config.k8s.io/v1alpha1",
    kind: "KubeProxyConfiguration",
    clientConnection: { kubeconfig },
    hostnameOverride: nodeName,
    mode: "nftables",
    nftables: { masqueradeAll: true },
    clusterCIDR: ADDRESSES.pods,
    nodePortAddresses: [`${ADDRESSES.node}/32`],
    healthzBindAddress: `127.0.0.1:${ports.proxyHealth}`,
    metricsBindAddress: `127.0.0.1:${ports.proxyMetrics}`,
    bindAddressHardFail: true,
    conntrack: { maxPerCore: 0, min: 0, tcpEstablishedTimeout: "0s", tcpCloseWaitTimeout: "0s" },
    oomScoreAdj: 0,
  };
}

/** As `iptables -S` says them, the policy first; none where iptables is not there or has nothing to work with. */
async function forwardRules(): Promise<string[]> {
  return (await run(["iptables", "-S", "FORWARD"]).catch(() => "")).split("\n");
}

async function nft(...words: string[]): Promise<string> {
  try {
    return await run(["nft", ...words]);
  } catch (error) {
    if (!(error instanceof CommandFailed)) throw error;
    throw new Unfit(`The test cluster needs nftables, as Linux 5.13 and later have it: ${error.message}`);
  }
}
