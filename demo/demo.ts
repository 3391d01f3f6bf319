/**
 * The demo: Postern in front of an embedded one-node cluster, until Ctrl-C or SIGTERM.
 *
 * Writes into `.demo/`: `kubeconfig` (contexts alice, bob, root), `audit.log`, `gateway.yaml`, `gateway.log`.
 *
 * @module
 */
import { join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { stringify } from "yaml";
import { EmbeddedCluster } from "./embedded_cluster.ts";
import { GatewayProcess } from "./gateway_process.ts";
import { kubeconfig } from "./kubeconfig.ts";
import { GATEWAY_USER, PEOPLE, tokenOf } from "./manifest.ts";

/** Where everything is written: the first argument, or `.demo` in the checkout. */
const FOLDER = resolve(Deno.args[0] ?? fileURLToPath(new URL("../.demo", import.meta.url)));

async function main(): Promise<number> {
  const stop = nextSignal();
  await using cluster = await EmbeddedCluster.start(FOLDER);
  const configuration = await writeConfiguration(cluster);
  const gateway = await GatewayProcess.start(configuration, join(FOLDER, "gateway.log"));
  const people = PEOPLE.map((name) => ({ name, token: tokenOf(cluster.state.users, name) }));
  const server = `https://127.0.0.1:${gateway.port}`;
  await write("kubeconfig", kubeconfig({ server, ca: cluster.ca, users: people }));
  say(await introduction(server));
  const first = await Promise.race([stop, gateway.ended]);
  if (typeof first !== "string") {
    say(`the gateway ended by itself, see ${shown("gateway.log")}`);
    return 1;
  }
  say("\nstopping");
  await gateway.stop();
  return 0;
}

/** Writes what the gateway is started with, and returns the configuration's path. */
async function writeConfiguration(cluster: EmbeddedCluster): Promise<string> {
  const { cert, key } = cluster.gatewayCertificate;
  await write("gateway.crt", cert);
  await write("gateway.key", key);
  const users = [{ name: "postern", token: tokenOf(cluster.state.users, GATEWAY_USER) }];
  await write("gateway.kubeconfig", kubeconfig({ server: cluster.apiServer, ca: cluster.ca, users }));
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
  };
  return await write("gateway.yaml", stringify(configuration));
}

/** Writes a file of `.demo`, for its owner alone: most hold a token or a key. */
async function write(name: string, text: string): Promise<string> {
  const path = join(FOLDER, name);
  await Deno.writeTextFile(path, text, { mode: 0o600 });
  return path;
}

async function introduction(server: string): Promise<string> {
  const kubectl = `kubectl --kubeconfig ${shown("kubeconfig")}`;
  const lines = [
    "",
    `Postern is listening on ${server}, in front of an embedded cluster of one node.`,
    "",
    "Paste into another terminal, in this folder:",
    "",
    `  ${kubectl} get pods`,
    `  ${kubectl} --context alice exec -it shell -- sh`,
    `  ${kubectl} --context alice exec privileged -- id    # refused, and says why`,
    `  ${kubectl} --context root  exec privileged -- id    # a cluster-admin may`,
    `  ${kubectl} --context bob   exec shell -- id         # may only read`,
    "",
    `Everything is written down in ${shown("audit.log")}:`,
    "",
    `  tail -f ${shown("audit.log")}`,
    "",
  ];
  if (!await hasKubectl()) {
    lines.push(
      "There is no kubectl on this machine: install it from your system's packages or kubernetes.io/docs/tasks/tools.",
      "",
    );
  }
  lines.push("Commands run on this machine, as you, in a folder of their own each. Ctrl-C ends everything.");
  return lines.join("\n");
}

function shown(name: string): string {
  return relative(Deno.cwd(), join(FOLDER, name));
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

function nextSignal(): Promise<string> {
  return new Promise((resolve) => {
    for (const signal of ["SIGINT", "SIGTERM"] as const) {
      Deno.addSignalListener(signal, () => resolve(signal));
    }
  });
}

function say(text: string): void {
  try {
    Deno.stdout.writeSync(new TextEncoder().encode(`${text}\n`));
  } catch {
    // Whoever read this has gone; what was started must be ended all the same.
  }
}

Deno.exit(await main());
