import type { Cluster } from "../e2e/support/cluster.ts";
import { ASLEEP, type ContainerSpec, createPod, deletePod } from "../e2e/support/pods.ts";
import { asAdmin } from "../e2e/support/service_account.ts";
import type { Column } from "./columns.ts";

/** Pods of our own: what other tests do to the cluster's does not show here. */
export const POD = {
  /** One container, which answers late. */
  one: "conformance-one",
  /** A regular container, an init container that has ended, and an ephemeral one. */
  kinds: "conformance-kinds",
} as const;

/** Where the cluster's pod `ports` gives back what comes; a second one, and one at which nobody listens. */
export const [ECHO_PORT, OTHER_ECHO_PORT, NOBODYS_PORT] = [7000, 7006, 7999] as const;

/** Where POD.one answers, two seconds after its client has ended. */
export const LATE_PORT = 7100;

/** The containers of {@linkcode POD}.kinds. */
export const KINDS = { regular: "regular", init: "earlier", ephemeral: "later" } as const;

/** Answers each line, and those that begin with `err` on standard error. */
const ANSWERS =
  'while read -r line; do case $line in err*) echo "got $line" >&2 ;; *) echo "got $line" ;; esac; done';

/** The pod to attach to by way of one column: what is typed there shows to whoever else is attached. */
export function attachPod({ word }: Column): string {
  return `conformance-attach-${word}`;
}

/** Containers of an {@linkcode attachPod}: they answer lines; two have a terminal, or stdin only once for each client. */
export function onceContainer(client: number): string {
  return `once-${client}`;
}

/** How many clients may each end the stdin of a container. */
export const ONCE_CONTAINERS = 4;

const LATE = `nc -ll -p ${LATE_PORT} -e sh -c 'cat > /dev/null; sleep 2; echo late'`;

/** Makes all pods, in place of what an earlier run has left. */
export async function createPods(cluster: Cluster, columns: readonly Column[]): Promise<void> {
  await deleteRemains(cluster);
  const asleep: ContainerSpec = { command: ASLEEP };
  const answers: ContainerSpec = {
    command: ["sh", "-c", `${ANSWERS}; exec ${ASLEEP.join(" ")}`],
    stdin: true,
  };
  const once: ContainerSpec = {
    command: ["sh", "-c", `${ANSWERS}; echo "stdin has ended"`],
    stdin: true,
    stdinOnce: true,
  };
  const onces = Array.from({ length: ONCE_CONTAINERS }, (_, index) => [onceContainer(index), once] as const);
  await Promise.all([
    createPod(cluster, POD.one, {
      containers: {
        one: { command: ["sh", "-c", `${LATE} & exec ${ASLEEP.join(" ")}`] },
      },
    }),
    createPod(cluster, POD.kinds, {
      containers: { [KINDS.regular]: asleep },
      initContainers: { [KINDS.init]: { command: ["true"] } },
    }).then(() => addEphemeral(cluster)),
    ...columns.map((column) =>
      createPod(cluster, attachPod(column), {
        containers: {
          reader: answers,
          terminal: { command: ["sh"], stdin: true, tty: true },
          ...Object.fromEntries(onces),
        },
      })
    ),
  ]);
}

/** Ends them. */
export async function deletePods(cluster: Cluster, columns: readonly Column[]): Promise<void> {
  const names = [...Object.values(POD), ...columns.map(attachPod)];
  await Promise.all(names.map((name) => deletePod(cluster, name)));
}

/** What a run has left that was killed. */
async function deleteRemains(cluster: Cluster): Promise<void> {
  const names = (await asAdmin(cluster, "get", "pods", "-o", "name")).split("\n")
    .filter((name) => /^pod\/conformance-(one|kinds|attach-|run-)/.test(name));
  if (names.length > 0) await asAdmin(cluster, "delete", ...names, "--ignore-not-found", "--now");
}

async function addEphemeral(cluster: Cluster): Promise<void> {
  const container = {
    name: KINDS.ephemeral,
    image: "postern.test/toolbox:1",
    imagePullPolicy: "Never",
    command: ASLEEP,
  };
  const patch = JSON.stringify({ spec: { ephemeralContainers: [container] } });
  await asAdmin(cluster, "patch", "pod", POD.kinds, "--subresource=ephemeralcontainers", `--patch=${patch}`);
  const running = "jsonpath={.status.ephemeralContainerStatuses[0].state.running.startedAt}";
  await asAdmin(cluster, "wait", `pod/${POD.kinds}`, `--for=${running}`, "--timeout=30s");
}
