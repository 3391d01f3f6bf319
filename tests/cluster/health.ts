/** Whether each component answers for itself. */

import { join } from "node:path";
import { layout } from "./layout.ts";
import { ADDRESSES } from "./network.ts";
import type { Component, State } from "./state.ts";

const DEADLINE_MS = 2000;

const CHECKS: Record<Component, (state: State) => Promise<boolean>> = {
  "etcd": (state) => answersOk(state, `http://127.0.0.1:${state.ports.etcdClient}/health`),
  "apiserver": (state) => answersOk(state, `${state.apiServerUrl}/readyz`),
  "controller-manager": (state) =>
    answersOk(state, `https://127.0.0.1:${state.ports.controllerManager}/healthz`),
  "scheduler": (state) => answersOk(state, `https://127.0.0.1:${state.ports.scheduler}/healthz`),
  "relay": (state) => answersOk(state, `https://${ADDRESSES.node}:${state.ports.apiServer}/readyz`),
  "containerd": accepts,
  "kubelet": (state) => answersOk(state, `http://127.0.0.1:${state.ports.kubeletHealth}/healthz`),
  "kube-proxy": (state) => answersOk(state, `http://127.0.0.1:${state.ports.proxyHealth}/healthz`),
};

/** Whether a component says that it is well, within two seconds. */
export async function isHealthy(component: Component, state: State): Promise<boolean> {
  return await CHECKS[component](state).catch(() => false);
}

async function answersOk(state: State, url: string): Promise<boolean> {
  const authority = join(layout(state.directory).pki, "ca.crt");
  using client = Deno.createHttpClient({ caCerts: [await Deno.readTextFile(authority)] });
  const response = await fetch(url, { client, signal: AbortSignal.timeout(DEADLINE_MS) });
  await response.body?.cancel();
  return response.ok;
}

async function accepts(state: State): Promise<boolean> {
  const connection = await Deno.connect({
    transport: "unix",
    path: layout(state.directory).containerdSocket,
  });
  connection.close();
  return true;
}
