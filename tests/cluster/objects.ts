/** The objects that tests find in the cluster: manifests/, applied, and each waited for in the state it is meant to be in. */

import { join } from "node:path";
import { type Layout, SOURCES } from "./layout.ts";
import { run } from "./processes.ts";
import type { State } from "./state.ts";
import { writeSecret } from "./files.ts";
import { writeKubeconfig } from "./users.ts";
import { waitUntil } from "./wait.ts";

const NODE_DEADLINE_SECONDS = 120;
const POD_DEADLINE_SECONDS = 120;
/** Ten years: the gateway's token shall outlive any cluster. */
const GATEWAY_TOKEN = "87600h";

/** What `kubectl wait --for` says of each object that must come to a state. */
const STATES: Record<string, string> = {
  "pod/web": "condition=Ready",
  "pod/shell": "condition=Ready",
  "pod/privileged": "condition=Ready",
  "pod/hostpid": "condition=Ready",
  "pod/tty": "condition=Ready",
  "pod/init": "jsonpath={.status.initContainerStatuses[0].state.running.startedAt}",
  "pod/done": "jsonpath={.status.phase}=Succeeded",
  "pod/attach": "condition=Ready",
  "pod/attach-init": "jsonpath={.status.initContainerStatuses[0].state.running.startedAt}",
  "pod/ports": "condition=Ready",
  "deployment/ports": "condition=Available",
};

/** Waits until the node takes pods. */
export async function waitForNode(at: Layout, state: State): Promise<void> {
  const kubectl = kubectlAs(at, state);
  const node = `node/${state.nodeName}`;
  await waitUntil(
    `${node} is registered`,
    async () => (await kubectl("get", node, "-o", "name", "--ignore-not-found")) !== "",
    { deadlineMs: NODE_DEADLINE_SECONDS * 1000 },
  );
  await kubectl("wait", node, "--for=condition=Ready", `--timeout=${NODE_DEADLINE_SECONDS}s`);
}

/** Applies the manifests and waits for what they make. */
export async function createObjects(at: Layout, state: State): Promise<void> {
  const kubectl = kubectlAs(at, state);
  await waitUntil( // no pod is admitted before its service account is there
    "the namespace default has its service account",
    async () => (await kubectl("get", "serviceaccount/default", "-o", "name", "--ignore-not-found")) !== "",
    { deadlineMs: NODE_DEADLINE_SECONDS * 1000 },
  );
  await kubectl("apply", "--server-side", "-f", join(SOURCES, "manifests"));
  await Promise.all(
    Object.entries(STATES).map(([name, condition]) =>
      kubectl("wait", name, `--for=${condition}`, `--timeout=${POD_DEADLINE_SECONDS}s`)
    ),
  );
}

/** Writes what a gateway needs to come to the API server and the kubelet as itself. */
export async function writeGatewayCredentials(at: Layout, state: State): Promise<void> {
  const kubectl = kubectlAs(at, state);
  const account = ["postern", "--namespace=postern-system"];
  const token = (await kubectl("create", "token", ...account, `--duration=${GATEWAY_TOKEN}`)).trim();
  await writeSecret(state.paths.gatewayToken, token);
  await writeKubeconfig(state.paths.gatewayKubeconfig, at, state.apiServerUrl, { postern: { token } });
}

/** kubectl as the admin of the cluster. */
function kubectlAs(at: Layout, state: State): (...args: string[]) => Promise<string> {
  return (...args) => run([state.paths.kubectl, `--kubeconfig=${at.kubeconfig}`, "--context=admin", ...args]);
}
