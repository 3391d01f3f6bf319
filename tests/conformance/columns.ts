import { type Cluster, runningCluster, tokensOf } from "../e2e/support/cluster.ts";
import { Gateway, type GatewayOptions } from "../e2e/support/gateway.ts";
import type { Endpoint } from "../e2e/support/kubectl.ts";

/** A way to the containers: what every row is tried at. */
export interface Column extends Endpoint {
  name: "API server" | "kubelet mode" | "apiserver mode";
  cluster: Cluster;
  url: string;
  port: number;
  caCerts: string[];
  /** Bearer tokens by user. */
  tokens: ReadonlyMap<string, string>;
  /** A word that no other column has, for names of files and pods; masked in what is compared. */
  word: string;
}

/**
 * The kubelet itself, as a reference for paths that are its own: the API server's node proxy loses the query of an upgrade, and
 * goes to no kubelet on a loopback address.
 */
export function kubeletOf(at: Column): Column {
  const { kubelet } = at.cluster.ports;
  return { ...at, url: `https://127.0.0.1:${kubelet}`, port: kubelet };
}

/** The columns, and their end. */
export interface Columns extends AsyncDisposable {
  all: [Column, ...Column[]];
}

/** A client that opens too few streams is told so after this; the kubelet never tells it. */
const STREAM_CREATION_TIMEOUT_SECONDS = 5;

const MODES: readonly { name: Column["name"]; options: GatewayOptions }[] = [
  { name: "kubelet mode", options: {} },
  { name: "apiserver mode", options: { upstream: { mode: "apiserver" } } },
];

/** Starts a gateway in each mode, in front of the cluster that runs. */
export async function openColumns(): Promise<Columns> {
  const cluster = await runningCluster();
  const common = {
    cluster,
    caCerts: [await Deno.readTextFile(cluster.paths.caCertificate)],
    tokens: await tokensOf(cluster),
  };
  const direct: Column = {
    ...common,
    name: "API server",
    url: cluster.apiServerUrl,
    port: Number(new URL(cluster.apiServerUrl).port),
    kubeconfig: cluster.paths.kubeconfig,
    word: newWord(),
  };
  const all: Columns["all"] = [direct];
  const gateways: Gateway[] = [];
  for (const { name, options } of MODES) {
    const sessions = { streamCreationTimeoutSeconds: STREAM_CREATION_TIMEOUT_SECONDS };
    const gateway = await Gateway.start({ sessions, ...options });
    gateways.push(gateway);
    const { url, port, kubeconfig } = gateway;
    all.push({ ...common, name, url, port, kubeconfig, word: newWord() });
  }
  return {
    all,
    async [Symbol.asyncDispose]() {
      for (const gateway of gateways) await gateway[Symbol.asyncDispose]();
    },
  };
}

function newWord(): string {
  return `c${crypto.randomUUID().slice(0, 8)}`;
}
