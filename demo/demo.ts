/**
 * The demo: Postern in front of an embedded one-node cluster, until Ctrl-C or SIGTERM.
 *
 * Writes into `.demo/`: `kubeconfig` (contexts alice, bob, root), `audit.log`, `recordings`, `index.sqlite`, `gateway.yaml`, `gateway.log`.
 *
 * @module
 */
import { generateKeyPairSync } from "node:crypto";
import { resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { stringify } from "yaml";
import { openSocketTuner } from "../server/no_delay.ts";
import { DemoFolder } from "./demo_folder.ts";
import { EmbeddedCluster } from "./embedded_cluster.ts";
import { GatewayProcess } from "./gateway_process.ts";
import { introduction } from "./introduction.ts";
import { kubeconfig } from "./kubeconfig.ts";
import { GATEWAY_USER, PEOPLE, tokenOf } from "./manifest.ts";
import { nextStop } from "./stop_signal.ts";

/** Where everything is written: the first argument, or `.demo` in the checkout. */
const FOLDER = resolve(Deno.args[0] ?? fileURLToPath(new URL("../.demo", import.meta.url)));

async function main(): Promise<number> {
  const stop = nextStop();
  using folder = await DemoFolder.open(FOLDER);
  if (folder === undefined) {
    say(`Another demo is running in ${FOLDER}: end it first, or name another folder.`);
    return 1;
  }
  await using cluster = await EmbeddedCluster.start({
    folder: folder.path,
    path: commandPath(),
    tuner: openSocketTuner(),
  });
  const configuration = await writeConfiguration(folder, cluster);
  await using gateway = await GatewayProcess.start(configuration, folder.at("gateway.log"));
  const users = PEOPLE.map((name) => ({ name, token: tokenOf(cluster.state.users, name) }));
  const server = `https://127.0.0.1:${gateway.port}`;
  await folder.write("kubeconfig", kubeconfig({ server, ca: cluster.ca, users }));
  say(introduction({
    server,
    kubeconfig: folder.shown("kubeconfig"),
    auditLog: folder.shown("audit.log"),
    recordings: folder.shown("recordings"),
    recordingsKey: folder.shown("recordings.pub"),
    index: folder.shown("index.sqlite"),
    hasKubectl: await hasKubectl(),
  }));
  const hasStopped = await Promise.race([stop.then(() => false), gateway.ended.then(() => true)]);
  if (hasStopped) {
    say(`\nThe gateway ended by itself, see ${folder.shown("gateway.log")}`);
    return 1;
  }
  say("\nStopping");
  return 0;
}

/** Writes what the gateway is started with. @returns the configuration's path */
async function writeConfiguration(folder: DemoFolder, cluster: EmbeddedCluster): Promise<string> {
  const { cert, key } = cluster.gatewayCertificate;
  await folder.write("gateway.crt", cert);
  await folder.write("gateway.key", key);
  const signing = generateKeyPairSync("ed25519");
  await folder.write(
    "recordings.key",
    signing.privateKey.export({ type: "pkcs8", format: "pem" }).toString(),
  );
  await folder.write("recordings.pub", signing.publicKey.export({ type: "spki", format: "pem" }).toString());
  const users = [{ name: "postern", token: tokenOf(cluster.state.users, GATEWAY_USER) }];
  await folder.write("gateway.kubeconfig", kubeconfig({ server: cluster.apiServer, ca: cluster.ca, users }));
  const configuration = {
    apiVersion: "postern.dev/v1alpha1",
    kind: "GatewayConfiguration",
    server: {
      address: "127.0.0.1",
      port: 0,
      tls: { certFile: "gateway.crt", keyFile: "gateway.key" },
      drainTimeoutSeconds: 1,
    },
    kubernetes: { kubeconfig: "gateway.kubeconfig" },
    upstream: { kubelet: { allowedAddresses: ["127.0.0.0/8"] } },
    audit: { sinks: [{ type: "file", path: "audit.log" }] },
    index: { type: "sqlite", sqlite: { path: "index.sqlite" } },
    recording: { signingKeyFile: "recordings.key", sink: { type: "folder", path: "recordings" } },
  };
  return await folder.write("gateway.yaml", stringify(configuration));
}

/** Where containers find commands: where we do, without what npm adds for its own scripts. */
function commandPath(): string | undefined {
  const folders = Deno.env.get("PATH")?.split(":").filter((folder) => !folder.includes("node_modules"));
  return folders?.join(":") || undefined;
}

async function hasKubectl(): Promise<boolean> {
  try {
    await new Deno.Command("kubectl", { args: ["version", "--client"], stdout: "null", stderr: "null" })
      .output();
    return true;
  } catch {
    return false;
  }
}

function say(text: string): void {
  try {
    Deno.stdout.writeSync(new TextEncoder().encode(`${text}\n`));
  } catch {
    // Whoever read this has gone; what was started must be ended all the same.
  }
}

try {
  Deno.exit(await main());
} catch (cause) {
  say(`The demo cannot run: ${cause instanceof Error ? cause.message : cause}`);
  Deno.exit(1);
}
