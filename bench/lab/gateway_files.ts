import { generateKeyPairSync } from "node:crypto";
import { join } from "node:path";
import { stringify } from "yaml";
import type { GivenConfiguration } from "../../config/gateway_configuration.ts";

/** What the gateway of the lab has to know. */
export interface GatewayFiles {
  certFile: string;
  keyFile: string;
  caFile: string;
  apiPort: number;
  /** Whether sessions are recorded, stdin too. @default {false} */
  isRecorded?: boolean;
}

/**
 * Writes a configuration as it would be in production: decisions go to a file and wait for the disk.
 *
 * @returns the configuration file
 */
export async function writeGatewayFiles(
  folder: string,
  { certFile, keyFile, caFile, apiPort, isRecorded = false }: GatewayFiles,
): Promise<string> {
  const kubeconfig = join(folder, "kubeconfig.yaml");
  const signingKeyFile = join(folder, "recordings.key");
  const configuration: GivenConfiguration = {
    apiVersion: "postern.dev/v1alpha1",
    kind: "GatewayConfiguration",
    server: { address: "127.0.0.1", port: 0, tls: { certFile, keyFile }, drainTimeoutSeconds: 0 },
    kubernetes: { kubeconfig },
    upstream: { kubelet: { allowedAddresses: ["127.0.0.0/8"] } },
    audit: { sinks: [{ type: "file", path: join(folder, "audit.log") }] },
    recording: {
      mode: isRecorded ? "required" : "off",
      stdin: "content",
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
      clusters: [{
        name: "bench",
        cluster: { server: `https://127.0.0.1:${apiPort}`, "certificate-authority": caFile },
      }],
      users: [{ name: "gateway", user: { token: "bench-gateway-token" } }],
      contexts: [{ name: "bench", context: { cluster: "bench", user: "gateway" } }],
    }),
  );
  const configFile = join(folder, "gateway.yaml");
  await Deno.writeTextFile(configFile, stringify(configuration));
  return configFile;
}
