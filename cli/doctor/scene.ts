import type { Configuration } from "../../config/gateway_configuration.ts";
import { loadConfiguration, parseConfiguration } from "../../config/load.ts";
import { API_VERSION, KIND } from "../../config/gateway_configuration.ts";
import { KubeClient } from "../../kube/client.ts";
import { CredentialSource } from "../../kube/credentials.ts";
import { type Connection, inClusterConnection, readKubeconfig } from "../../kube/kubeconfig.ts";
import type { Subject } from "./bypass.ts";

/** What the doctor was asked. */
export interface Request {
  /** The gateway's configuration; absent: the defaults. */
  config: string | undefined;
  /** Somebody else's eyes: a kubeconfig of who may read RBAC. */
  kubeconfig: string | undefined;
  context: string | undefined;
  /** The gateway's service account, where somebody else asks. */
  serviceAccount: { namespace: string; name: string } | undefined;
  /** Nodes to look at, where they may not be listed. */
  nodes: readonly string[];
  /** Who may go around the gateway, as has been decided. */
  accepted: readonly Subject[];
  /** A user's token, to see whether the gateway would know them. */
  tokenFile: string | undefined;
}

/** What the checks look at. */
export interface Scene extends Request {
  configuration: Configuration;
  connection: Connection;
  client: KubeClient;
  credentials: CredentialSource;
  /**
   * Whether the questions are the gateway's own: with its credentials, and where its files are. Otherwise those files are looked at
   * by nobody, as they are elsewhere.
   */
  isGateway: boolean;
  timeoutMs: number;
}

/** Reads what the gateway reads when it starts. @throws where it would not start */
export async function openScene(request: Request): Promise<Scene> {
  const configuration = request.config === undefined
    ? parseConfiguration(`apiVersion: ${API_VERSION}\nkind: ${KIND}\n`, "defaults")
    : await loadConfiguration(request.config);
  const { kubernetes } = configuration;
  const isGateway = request.kubeconfig === undefined;
  const connection = await connectionOf(request, kubernetes);
  const credentials = new CredentialSource(connection);
  const timeoutMs = kubernetes.requestTimeoutSeconds * 1000;
  const client = new KubeClient({ server: connection.server, credentials, timeoutMs });
  return { ...request, configuration, connection, client, credentials, isGateway, timeoutMs };
}

async function connectionOf(
  { kubeconfig, context }: Request,
  kubernetes: Configuration["kubernetes"],
): Promise<Connection> {
  if (kubeconfig !== undefined) return await readKubeconfig(kubeconfig, context);
  if (kubernetes.kubeconfig !== undefined) {
    return await readKubeconfig(kubernetes.kubeconfig, kubernetes.context);
  }
  return inClusterConnection();
}
