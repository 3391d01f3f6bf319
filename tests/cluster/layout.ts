/**
 * Where everything of the test cluster lies. `down` removes all of it but `bin`, `debian`, `python`, `kubectl-1.20` and `log`.
 *
 *     .cluster/
 *       kubeconfig          contexts admin, alice, bob, carol, root, straight to the API server
 *       state.json          ports, pids and paths, see state.ts
 *       bin/                kube, kubectl-1.34, goclient, toolbox-echo: built once
 *       kubectl-1.20/       Debian's kubernetes-client, unpacked, not installed
 *       debian/             other Debian packages that are unpacked, not installed
 *       python/             the Python client, installed once
 *       pki/                ca.crt, ca.key and every leaf
 *       gateway/            what a gateway in front of this cluster is started with
 *       etc/                configuration that the components read
 *       etcd/ containerd/ kubelet/ cni/ image/
 *       log/                one file for each component, begun anew by `up`; the API server's audit log
 */

import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** The folder of these sources, absolute. */
export const SOURCES = fileURLToPath(new URL(".", import.meta.url));

/** The checkout that the sources stand in, absolute. */
export const CHECKOUT = join(SOURCES, "..", "..");

/** Absolute paths of what one cluster writes. */
export interface Layout {
  root: string;
  kubeconfig: string;
  state: string;
  bin: string;
  kube: string;
  kubectl120: string;
  debian: string;
  python: string;
  pki: string;
  gateway: string;
  etc: string;
  etcd: string;
  containerd: string;
  containerdSocket: string;
  kubelet: string;
  podLogs: string;
  cni: string;
  image: string;
  log: string;
  apiServerAuditLog: string;
}

/** @param root the cluster's folder, absolute */
export function layout(root: string = join(CHECKOUT, ".cluster")): Layout {
  const at = (...parts: string[]) => join(root, ...parts);
  return {
    root,
    kubeconfig: at("kubeconfig"),
    state: at("state.json"),
    bin: at("bin"),
    kube: at("bin", "kube"),
    kubectl120: at("kubectl-1.20"),
    debian: at("debian"),
    python: at("python"),
    pki: at("pki"),
    gateway: at("gateway"),
    etc: at("etc"),
    etcd: at("etcd"),
    containerd: at("containerd"),
    containerdSocket: at("containerd", "containerd.sock"),
    kubelet: at("kubelet"),
    podLogs: at("kubelet", "logs"),
    cni: at("cni"),
    image: at("image"),
    log: at("log"),
    apiServerAuditLog: at("log", "apiserver-audit.log"),
  };
}
