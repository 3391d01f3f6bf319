import { generateKeyPairSync } from "node:crypto";
import { join } from "node:path";
import { stringify } from "yaml";
import type { GivenConfiguration } from "../../config/gateway_configuration.ts";
import type { ControlPlane } from "./control_plane.ts";

/** What the gateways of the lab differ in. */
export interface GatewayOptions {
  /** @default {"off"} */
  recording?: "off" | "required";
  /** @default {"kubelet"} */
  upstream?: "kubelet" | "apiserver";
  /** @default {0}, which is any */
  port?: number;
}

/**
 * Writes a configuration as it would be in production: decisions go to a file and wait for the disk. Only what bounds the
 * number of sessions is raised.
 *
 * @returns the configuration file
 */
export async function writeGatewayFiles(
  folder: string,
  { at, caFile, url, gatewayTokenFile }: ControlPlane,
  { recording = "off", upstream = "kubelet", port = 0 }: GatewayOptions,
): Promise<string> {
  const kubeconfig = join(folder, "kubeconfig.yaml");
  const signingKeyFile = join(folder, "recordings.key");
  const configuration: GivenConfiguration = {
    apiVersion: "postern.dev/v1alpha1",
    kind: "GatewayConfiguration",
    server: {
      address: "127.0.0.1",
      port,
      tls: { certFile: join(at.gateway, "tls.crt"), keyFile: join(at.gateway, "tls.key") },
      limits: { maxConnections: 100_000, maxConnectionsPerAddress: 100_000 },
      drainTimeoutSeconds: 0,
    },
    kubernetes: { kubeconfig },
    upstream: {
      mode: upstream,
      kubelet: { addressTypes: ["Hostname"], allowedAddresses: ["127.0.0.0/8"] },
    },
    sessions: { maxSessions: 100_000 },
    audit: { sinks: [{ type: "file", path: join(folder, "audit.log") }] },
    recording: {
      mode: recording,
      signingKeyFile,
      sink: { type: "folder", path: join(folder, "recordings") },
    },
  };
  const { privateKey } = generateKeyPairSync("ed25519");
  await Deno.writeTextFile(signingKeyFile, privateKey.export({ type: "pkcs8", format: "pem" }).toString());
  await Deno.writeTextFile(
    kubeconfig,
    stringify({
      apiVersion: "v1",
      kind: "Config",
      "current-context": "bench",
      clusters: [{ name: "bench", cluster: { server: url, "certificate-authority": caFile } }],
      users: [{ name: "gateway", user: { tokenFile: gatewayTokenFile } }],
      contexts: [{ name: "bench", context: { cluster: "bench", user: "gateway" } }],
    }),
  );
  const configFile = join(folder, "gateway.yaml");
  await Deno.writeTextFile(configFile, stringify(configuration));
  return configFile;
}
