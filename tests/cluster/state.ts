/**
 * What is known about a running cluster: written at every step of `up`, so that `status`, `down` and a later `up` find
 * whatever was started, even where `up` was cut off half-way.
 *
 * It stands in two places: in `.cluster/state.json` for tests, and in one file of the machine, because there is one
 * cluster at a time on a machine (the bridge, the cgroups and the name node1 are the machine's).
 */

import { dirname } from "node:path";
import { z } from "zod";
import { removeIfThere } from "./files.ts";
import { layout } from "./layout.ts";
import { ADDRESSES } from "./network.ts";

/** The programs that stay in the background, in the order they are started in. */
export const COMPONENTS = [
  "etcd",
  "apiserver",
  "controller-manager",
  "scheduler",
  "relay",
  "containerd",
  "kubelet",
  "kube-proxy",
] as const;

/** Name of a program of the cluster; its log is `log/<name>.log`. */
export type Component = typeof COMPONENTS[number];

const Port = z.number().int().min(1).max(65535);
const ProcessSchema = z.object({ pid: z.number().int(), startTicks: z.number(), log: z.string() });
const StateSchema = z.object({
  /** The cluster's folder, absolute: a checkout's `.cluster`. */
  directory: z.string(),
  /** False while `up` is at work, and after it has failed. */
  complete: z.boolean(),
  ports: z.object({
    etcdClient: Port,
    etcdPeer: Port,
    apiServer: Port,
    controllerManager: Port,
    scheduler: Port,
    kubelet: Port,
    kubeletHealth: Port,
    proxyHealth: Port.default(10256), // what was written before there was a kube-proxy can still be ended
    proxyMetrics: Port.default(10249),
  }),
  processes: z.partialRecord(z.enum(COMPONENTS), ProcessSchema),
  apiServerUrl: z.string(),
  nodeName: z.string(),
  /** What is reached from this machine and from pods; see network.ts. */
  addresses: z.object({ node: z.string(), kubernetes: z.string(), pods: z.string(), services: z.string() })
    .default(ADDRESSES),
  /** Absolute paths that tests start from. */
  paths: z.object({
    kubeconfig: z.string(),
    kubectl: z.string(),
    kubectl120: z.string(),
    kubectl134: z.string(),
    /** The OpenShift client, where the machine has it: none of the registries brings it. */
    oc: z.string().optional(),
    /** A Python that has the client library of Kubernetes. */
    python: z.string(),
    /** tests/cluster/kube/goclient, built. */
    goClient: z.string(),
    caCertificate: z.string(),
    caKey: z.string(),
    gatewayKubeconfig: z.string(),
    gatewayToken: z.string(),
    gatewayCertificate: z.string(),
    gatewayKey: z.string(),
    log: z.string(),
    apiServerAuditLog: z.string(),
  }),
});

/** What is known about a cluster; see the schema above. */
export type State = z.infer<typeof StateSchema>;

const MACHINE_DIRECTORY = "/run/postern-cluster";
const MACHINE_STATE = `${MACHINE_DIRECTORY}/state.json`;
const MACHINE_LOCK = `${MACHINE_DIRECTORY}/lock`;

/** The cluster that this machine was last told of, whoever started it; it may be long dead. */
export async function readMachineState(): Promise<State | undefined> {
  return await readState(MACHINE_STATE);
}

/** Writes the state down, in both places. */
export async function saveState(state: State): Promise<void> {
  const text = JSON.stringify(state, undefined, 2) + "\n";
  for (const path of [layout(state.directory).state, MACHINE_STATE]) {
    await Deno.mkdir(dirname(path), { recursive: true });
    await Deno.writeTextFile(`${path}.new`, text);
    await Deno.rename(`${path}.new`, path);
  }
}

/** Forgets the cluster: nothing of it is left. */
export async function forgetState(state: State): Promise<void> {
  for (const path of [layout(state.directory).state, MACHINE_STATE]) await removeIfThere(path);
}

/**
 * Keeps every other `up` and `down` of this machine out until it is disposed of, or this process ends.
 *
 * @returns `undefined` where another is at work
 */
export async function lockMachine(): Promise<Deno.FsFile | undefined> {
  await Deno.mkdir(MACHINE_DIRECTORY, { recursive: true });
  const file = await Deno.open(MACHINE_LOCK, { create: true, write: true });
  if (await file.tryLock(true)) return file;
  file.close();
  return undefined;
}

async function readState(path: string): Promise<State | undefined> {
  try {
    return StateSchema.parse(JSON.parse(await Deno.readTextFile(path)));
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw new Error(`${path} cannot be understood; end the cluster it came from, then remove it`, {
      cause: error,
    });
  }
}
