/** Loopback ports for the cluster: the well-known ones where they are free, others where not. */

import type { State } from "./state.ts";

const WELL_KNOWN: State["ports"] = {
  etcdClient: 2379,
  etcdPeer: 2380,
  apiServer: 6443,
  controllerManager: 10257,
  scheduler: 10259,
  kubelet: 10250,
  kubeletHealth: 10248,
  proxyHealth: 10256,
  proxyMetrics: 10249,
};

/** A port for each listener, all of them free on 127.0.0.1 at this moment. */
export function choosePorts(): State["ports"] {
  const held: Deno.Listener[] = []; // until all are chosen, so that none is chosen twice
  const choose = (wanted: number) => {
    const listener = listen(wanted) ?? Deno.listen({ hostname: "127.0.0.1", port: 0 });
    held.push(listener);
    return listener.addr.transport === "tcp" ? listener.addr.port : wanted;
  };
  try {
    return {
      etcdClient: choose(WELL_KNOWN.etcdClient),
      etcdPeer: choose(WELL_KNOWN.etcdPeer),
      apiServer: choose(WELL_KNOWN.apiServer),
      controllerManager: choose(WELL_KNOWN.controllerManager),
      scheduler: choose(WELL_KNOWN.scheduler),
      kubelet: choose(WELL_KNOWN.kubelet),
      kubeletHealth: choose(WELL_KNOWN.kubeletHealth),
      proxyHealth: choose(WELL_KNOWN.proxyHealth),
      proxyMetrics: choose(WELL_KNOWN.proxyMetrics),
    };
  } finally {
    for (const listener of held) listener.close();
  }
}

function listen(port: number): Deno.Listener | undefined {
  try {
    return Deno.listen({ hostname: "127.0.0.1", port });
  } catch (error) {
    if (error instanceof Deno.errors.AddrInUse) return undefined;
    throw error;
  }
}
