/**
 * A real Kubernetes of one node on this machine, for the end-to-end tests.
 *
 *     deno run -A tests/cluster/cluster.ts up|down|status
 *
 * Exit codes: 0 well; 1 something failed (`status`: something is not well); 2 this machine cannot hold it as it is.
 */
// deno-lint-ignore-file no-console -- a command: what it says is for the person who typed it

import { dirname, join } from "node:path";
import { buildProgram, builtProgram, checkGo, findKubectl, programsToBuild } from "./build.ts";
import { makeCertificates } from "./certificates.ts";
import { endCluster, livingProcesses, removeFiles } from "./cleanup.ts";
import { containerd, importImage } from "./containerd.ts";
import { apiServer, controllerManager, etcd, scheduler } from "./control_plane.ts";
import { removeIfThere } from "./files.ts";
import { isHealthy } from "./health.ts";
import { writeImage } from "./image.ts";
import { kubelet } from "./kubelet.ts";
import { type Layout, layout } from "./layout.ts";
import { ADDRESSES, checkNetwork, kubeProxy, makeNetwork, relay } from "./network.ts";
import { createObjects, waitForNode, writeGatewayCredentials } from "./objects.ts";
import { checkMachine, installPackages, unpackBusybox, unpackKubectl120 } from "./packages.ts";
import { choosePorts } from "./ports.ts";
import { isAlive, isInstalled, run, startInBackground, tail } from "./processes.ts";
import { installPythonClient } from "./python_client.ts";
import { type Component, COMPONENTS, lockMachine, readMachineState, saveState, type State } from "./state.ts";
import { Unfit } from "./unfit.ts";
import { writeKubeconfig, writeTokens } from "./users.ts";
import { waitUntil } from "./wait.ts";

const HEALTH_DEADLINE_MS = 120_000;
const NODE_NAME = "node1";

const COMMANDS: Record<string, (at: Layout) => Promise<number>> = {
  up: (at) => alone(() => up(at)),
  down: (at) => alone(() => down(at)),
  status,
};

async function up(at: Layout): Promise<number> {
  checkMachine();
  const known = await readMachineState();
  if (known !== undefined) {
    const living = await livingProcesses(known);
    const [first] = living;
    if (known.directory !== at.root && first !== undefined) {
      throw new Unfit(
        `Another test cluster runs on this machine, from ${known.directory} (pid ${first.pid}): ` +
          `end it with "down" in ${dirname(known.directory)} first.`,
      );
    }
    if (known.complete && living.length === COMPONENTS.length && await isHealthy("apiserver", known)) {
      console.log(`running already: ${known.apiServerUrl}, ${known.paths.kubeconfig}`);
      return 0;
    }
    await step(`taking away what is left of a cluster in ${known.directory}`, () => endCluster(known));
  }
  await start(at);
  return 0;
}

/** From a machine that has nothing running to a cluster with its pods. */
async function start(at: Layout): Promise<void> {
  const toBuild = await programsToBuild(at);
  if (toBuild.length > 0) await checkGo(); // before anything is installed for nothing
  await removeFiles(at);
  for (
    const folder of [at.bin, at.pki, at.gateway, at.etc, at.etcd, at.containerd, at.kubelet, at.image, at.log]
  ) {
    await Deno.mkdir(folder, { recursive: true });
  }
  await Deno.chmod(at.etcd, 0o700);

  const installed = await step("Debian packages", installPackages);
  if (installed.length > 0) console.log(`  installed ${installed.join(" ")}`);
  await checkNetwork();
  const kubectl120 = await step("kubectl 1.20", () => unpackKubectl120(at));
  const busybox = await step("busybox", () => unpackBusybox(at));
  for (const name of toBuild) {
    const first = name === "kube" ? " (Kubernetes: ten minutes the first time)" : "";
    await step(`building ${name}${first}`, () => buildProgram(at, name));
  }
  const clients = {
    kubectl: await findKubectl(at),
    kubectl120,
    kubectl134: builtProgram(at, "kubectl-1.34"),
    python: await step("Python client", () => installPythonClient(at)),
    goClient: builtProgram(at, "goclient"),
    ...await isInstalled("oc") && { oc: (await run(["sh", "-c", "command -v oc"])).trim() },
  };
  const programs = { busybox, "toolbox-echo": builtProgram(at, "toolbox-echo") };
  const archive = await step("container image", () => writeImage(at, programs));

  const state = newState(at, clients);
  await step("certificates and users", () => writeIdentities(at, state));
  const launch = (component: Component, command: string[]) =>
    step(component, () => startComponent(at, state, component, command));

  await launch("etcd", etcd(at, state));
  await step("network", makeNetwork);
  await launch("containerd", await containerd(at));
  await step("importing the image", () => importImage(at, archive));
  await removeIfThere(at.apiServerAuditLog); // the API server would add to it
  await launch("apiserver", apiServer(at, state));
  await launch("relay", relay(at, state));
  await launch("controller-manager", await controllerManager(at, state));
  await launch("scheduler", await scheduler(at, state));
  await launch("kubelet", await kubelet(at, state));
  await step(`${NODE_NAME} ready`, () => waitForNode(at, state));
  await launch("kube-proxy", await kubeProxy(at, state)); // after its node, whose address it asks for
  await step("users, gateway and pods", () => createObjects(at, state));
  await writeGatewayCredentials(at, state);

  state.complete = true;
  await saveState(state);
  console.log(`up: ${state.apiServerUrl}\nkubectl --kubeconfig ${at.kubeconfig} --context admin get pods`);
}

/** The programs that tests come to the cluster with. */
type Clients = Pick<
  State["paths"],
  "kubectl" | "kubectl120" | "kubectl134" | "oc" | "python" | "goClient"
>;

function newState(at: Layout, clients: Clients): State {
  const ports = choosePorts();
  return {
    directory: at.root,
    complete: false,
    ports,
    processes: {},
    apiServerUrl: `https://127.0.0.1:${ports.apiServer}`,
    nodeName: NODE_NAME,
    addresses: ADDRESSES,
    paths: {
      kubeconfig: at.kubeconfig,
      ...clients,
      caCertificate: join(at.pki, "ca.crt"),
      caKey: join(at.pki, "ca.key"),
      gatewayKubeconfig: join(at.gateway, "kubeconfig"),
      gatewayToken: join(at.gateway, "token"),
      gatewayCertificate: join(at.gateway, "tls.crt"),
      gatewayKey: join(at.gateway, "tls.key"),
      log: at.log,
      apiServerAuditLog: at.apiServerAuditLog,
    },
  };
}

async function writeIdentities(at: Layout, state: State): Promise<void> {
  await makeCertificates(at);
  const tokens = await writeTokens(at);
  await writeKubeconfig(at.kubeconfig, at, state.apiServerUrl, {
    admin: { certificatePath: join(at.pki, "admin.crt"), keyPath: join(at.pki, "admin.key") },
    alice: { token: tokens.alice },
    bob: { token: tokens.bob },
    carol: { token: tokens.carol },
    root: { token: tokens.root },
  });
}

/** Starts a component, writes down that it was started, and waits until it is well. */
async function startComponent(
  at: Layout,
  state: State,
  component: Component,
  command: string[],
): Promise<void> {
  const process = await startInBackground(command, join(at.log, `${component}.log`));
  state.processes[component] = process;
  await saveState(state);
  let ended = false;
  await waitUntil(`${component} is healthy`, async () => {
    ended = !await isAlive(process);
    return ended || await isHealthy(component, state);
  }, { deadlineMs: HEALTH_DEADLINE_MS });
  if (ended) throw new Error(`${component} has ended; ${process.log} says last:\n${await tail(process.log)}`);
}

async function down(at: Layout): Promise<number> {
  checkMachine();
  const known = await readMachineState();
  if (known?.directory === at.root) {
    await step("ending the cluster", () => endCluster(known));
    await removeFiles(at);
    return 0;
  }
  const elsewhere = known === undefined ? "" : `; the one on this machine is of ${known.directory}`;
  console.log(`no cluster of ${at.root} is running${elsewhere}`);
  return 0;
}

async function status(at: Layout): Promise<number> {
  const known = await readMachineState();
  if (known === undefined || known.directory !== at.root) {
    console.log(`no cluster of ${at.root} is running`);
    return 1;
  }
  let well = known.complete;
  for (const component of COMPONENTS) {
    const process = known.processes[component];
    const healthy = process !== undefined && await isAlive(process) && await isHealthy(component, known);
    well &&= healthy;
    const words = [
      component.padEnd(20),
      String(process?.pid ?? "-").padEnd(8),
      healthy ? "healthy" : "NOT HEALTHY",
    ];
    console.log(words.join(" "));
  }
  const { node, kubernetes, pods, services } = known.addresses;
  console.log(`node ${node}, pods ${pods}, Services ${services}, of them "kubernetes" ${kubernetes}`);
  console.log(known.complete ? `kubeconfig ${known.paths.kubeconfig}` : `"up" has not come to its end`);
  return well ? 0 : 1;
}

/** Runs a command while no other `up` or `down` is at work on this machine. */
async function alone(command: () => Promise<number>): Promise<number> {
  checkMachine();
  using lock = await lockMachine();
  if (lock === undefined) throw new Unfit(`Another "up" or "down" is at work on this machine: wait for it.`);
  return await command();
}

/** Says what is being done, and how long it took. */
async function step<T>(what: string, work: () => Promise<T>): Promise<T> {
  const startedMs = performance.now();
  const result = await work();
  console.log(`${what}: ${((performance.now() - startedMs) / 1000).toFixed(1)} s`);
  return result;
}

async function main(args: readonly string[]): Promise<number> {
  const command = COMMANDS[args[0] ?? ""];
  if (command === undefined || args.length !== 1) {
    console.error("usage: deno run -A tests/cluster/cluster.ts up|down|status");
    return 2;
  }
  const at = layout();
  try {
    return await command(at);
  } catch (error) {
    if (error instanceof Unfit) {
      console.error(error.message);
      return 2;
    }
    console.error(error);
    console.error(`the logs are in ${at.log}; "down" takes away what was started`);
    return 1;
  }
}

if (import.meta.main) Deno.exit(await main(Deno.args));
