/** Commands of etcd, the API server, the controller manager and the scheduler. */

import { join } from "node:path";
import { type Layout, SOURCES } from "./layout.ts";
import { ADDRESSES } from "./network.ts";
import type { State } from "./state.ts";
import { tokenFile, writeKubeconfig } from "./users.ts";

const TOKEN_ISSUER = "https://kubernetes.default.svc.cluster.local";

/** etcd without TLS: it listens on loopback only, and the machine is root's. */
export function etcd(at: Layout, { ports }: Pick<State, "ports">): string[] {
  const client = `http://127.0.0.1:${ports.etcdClient}`;
  const peer = `http://127.0.0.1:${ports.etcdPeer}`;
  return [
    "etcd",
    "--name=test",
    `--data-dir=${at.etcd}`,
    `--listen-client-urls=${client}`,
    `--advertise-client-urls=${client}`,
    `--listen-peer-urls=${peer}`,
    `--initial-advertise-peer-urls=${peer}`,
    `--initial-cluster=test=${peer}`,
    "--logger=zap",
  ];
}

/** The API server: users by certificate, token file and service account token; Node and RBAC decide. */
export function apiServer(at: Layout, { ports }: Pick<State, "ports">): string[] {
  const pki = (name: string) => join(at.pki, name);
  return [
    at.kube,
    "apiserver",
    `--etcd-servers=http://127.0.0.1:${ports.etcdClient}`,
    "--bind-address=127.0.0.1",
    `--advertise-address=${ADDRESSES.node}`, // the endpoint of the Service `kubernetes`
    `--secure-port=${ports.apiServer}`,
    `--tls-cert-file=${pki("apiserver.crt")}`,
    `--tls-private-key-file=${pki("apiserver.key")}`,
    `--client-ca-file=${pki("ca.crt")}`,
    `--token-auth-file=${tokenFile(at)}`,
    `--service-account-issuer=${TOKEN_ISSUER}`,
    `--service-account-signing-key-file=${pki("service-account.key")}`,
    `--service-account-key-file=${pki("service-account.pub")}`,
    "--authorization-mode=Node,RBAC",
    "--enable-admission-plugins=NodeRestriction",
    "--allow-privileged=true",
    `--kubelet-certificate-authority=${pki("ca.crt")}`,
    `--kubelet-client-certificate=${pki("apiserver-kubelet-client.crt")}`,
    `--kubelet-client-key=${pki("apiserver-kubelet-client.key")}`,
    "--kubelet-preferred-address-types=Hostname",
    `--service-cluster-ip-range=${ADDRESSES.services}`,
    `--audit-policy-file=${join(SOURCES, "audit_policy.yaml")}`,
    `--audit-log-path=${at.apiServerAuditLog}`,
  ];
}

/** The controller manager; it gives service accounts to namespaces and signs nothing. */
export async function controllerManager(at: Layout, state: State): Promise<string[]> {
  return [
    at.kube,
    "controller-manager",
    ...await controllerFlags(at, state, "controller-manager", state.ports.controllerManager),
    `--root-ca-file=${join(at.pki, "ca.crt")}`,
    "--use-service-account-credentials=true",
    `--service-account-private-key-file=${join(at.pki, "service-account.key")}`,
  ];
}

/** The scheduler. */
export async function scheduler(at: Layout, state: State): Promise<string[]> {
  return [at.kube, "scheduler", ...await controllerFlags(at, state, "scheduler", state.ports.scheduler)];
}

/** What controller manager and scheduler share; with one replica there is no leader to elect, and nobody but `status` asks them anything. */
async function controllerFlags(at: Layout, state: State, name: string, port: number): Promise<string[]> {
  const pair = { certificatePath: join(at.pki, `${name}.crt`), keyPath: join(at.pki, `${name}.key`) };
  const kubeconfig = join(at.etc, `${name}.kubeconfig`);
  await writeKubeconfig(kubeconfig, at, state.apiServerUrl, { [name]: pair });
  return [
    `--kubeconfig=${kubeconfig}`,
    "--leader-elect=false",
    "--bind-address=127.0.0.1",
    `--secure-port=${port}`,
    `--tls-cert-file=${pair.certificatePath}`,
    `--tls-private-key-file=${pair.keyPath}`,
  ];
}
