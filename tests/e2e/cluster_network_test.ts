/** The network of the test cluster: what a gateway in a pod finds there, what Services lead to, and who stays outside. */

import assert from "node:assert/strict";
import { readMachineState, type State } from "../cluster/state.ts";
import { run } from "../cluster/processes.ts";
import { type Cluster, runningCluster } from "./support/cluster.ts";
import { kubectl } from "./support/kubectl.ts";
import { IMAGE } from "./support/pods.ts";
import { eventually } from "./support/wait.ts";

const NAMESPACE = "postern-system";
/** Serves HTTP, as the gateway's service account, and has kubectl to ask others with. */
const INSIDE = "e2e-network-inside";
const ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount";
const KUBECTL = "/programs/kubectl-1.34";
/** For each command; a busy machine starts a program in a pod in ten seconds. */
const DEADLINE_MS = 120_000;
/** What a neighbour of this machine has for an address; RFC 5737 keeps it free. */
const [MACHINE, NEIGHBOUR] = ["203.0.113.1", "203.0.113.2"];

Deno.test.beforeAll(async () => {
  const cluster = await runningCluster();
  await remove(cluster);
  const manifest = new TextEncoder().encode(JSON.stringify(inside(cluster)));
  await admin(cluster, ["create", "-f", "-"], manifest);
  // Ready by a probe: the kubelet comes to the pod's address.
  await admin(cluster, ["-n", NAMESPACE, "wait", `pod/${INSIDE}`, "--for=condition=Ready", "--timeout=110s"]);
});
Deno.test.afterAll(async () => await remove(await runningCluster()));

live("the API server is where every pod looks for it, and proves it to the pod's own authority", async () => {
  const cluster = await runningCluster();
  // With no kubeconfig, kubectl takes KUBERNETES_SERVICE_HOST and the files of the service account.
  const node = JSON.parse(
    await shell(cluster, NAMESPACE, INSIDE, `${KUBECTL} get --raw /api/v1/nodes/node1`),
  );
  const { addresses } = await state();
  assert.deepEqual(node.status.addresses, [
    { type: "InternalIP", address: addresses.node },
    { type: "Hostname", address: "node1" },
  ]);
  const host = await shell(cluster, NAMESPACE, INSIDE, "echo $KUBERNETES_SERVICE_HOST");
  assert.equal(host, addresses.kubernetes);
});

live(
  "the kubelet is at the node's InternalIP, and runs a command for who may create nodes/proxy",
  async () => {
    const cluster = await runningCluster();
    const { kubelet } = await servers();
    assert.equal(await kubectlInside(cluster, kubelet.url, ...kubelet.ask), "shell");
  },
);

for (const name of ["API server", "kubelet"] as const) {
  live(`attack: a pod is not led to another in place of the ${name}: its certificate names it`, async () => {
    const cluster = await runningCluster();
    const { url, ask } = (await servers())[name];
    await kubectlInside(cluster, url, ...ask);
    await assert.rejects(
      () => kubectlInside(cluster, url, "--tls-server-name=elsewhere", ...ask),
      /x509: certificate is valid for .*, not elsewhere/,
    );
  });
}

live(
  "a Service's address leads to its pod: from this machine, from another pod, and from that pod itself",
  async () => {
    const cluster = await runningCluster();
    const address = await admin(cluster, ["get", "service/ports", "-o", "jsonpath={.spec.clusterIP}"]);
    const greeting = `exec 3<>/dev/tcp/${address}/80; cat <&3`;
    assert.equal((await run(["timeout", "60", "bash", "-c", greeting])).trim(), "7003");
    for (const pod of ["shell", "deployment/ports"]) {
      const said = await shell(cluster, "default", pod, `timeout 60 bash -c '${greeting}'`);
      assert.equal(said, "7003", `from ${pod}`);
    }
  },
);

live("a Service that is made leads to its pods, one that is removed leads nowhere", async () => {
  const cluster = await runningCluster();
  const there = (...args: string[]) => admin(cluster, ["-n", NAMESPACE, ...args]);
  await there("expose", "pod", INSIDE, "--port=80", "--target-port=8080");
  const address = await there("get", `service/${INSIDE}`, "-o", "jsonpath={.spec.clusterIP}");
  const ask = () => fetch(`http://${address}/`, { signal: AbortSignal.timeout(2000) }).catch(() => undefined);
  const page = await eventually("the Service answers", ask, { deadlineMs: DEADLINE_MS });
  assert.equal(await page.text(), "postern test cluster\n");

  await there("delete", `service/${INSIDE}`);
  await eventually("it answers no more", async () => {
    const answer = await ask();
    await answer?.body?.cancel();
    return answer === undefined || undefined;
  }, { deadlineMs: DEADLINE_MS });
});

live(
  "no program of the cluster listens on an address that others than this machine and its pods have",
  async () => {
    const { processes, addresses, ports } = await state();
    const pids = Object.values(processes).map(({ pid }) => pid);
    // udp   UNCONN 0      0       127.0.0.1:323       0.0.0.0:*    users:(("chronyd",pid=500,fd=5))
    const sockets = (await run(["ss", "--no-header", "-l", "-t", "-u", "-n", "-p"])).trim().split("\n")
      .filter((line) => pids.some((pid) => line.includes(`pid=${pid},`)))
      .map((line) => line.split(/\s+/)[4] ?? "");
    const ours = [
      `127.0.0.1:${ports.apiServer}`,
      `127.0.0.1:${ports.kubelet}`,
      `${addresses.node}:${ports.apiServer}`,
    ];
    assert.deepEqual(
      ours.filter((socket) => !sockets.includes(socket)),
      [],
      "listeners that were looked for",
    );
    const isInside = (socket: string) =>
      /^127\.|^\[::1\]/.test(socket) || socket.startsWith(`${addresses.node}:`);
    assert.deepEqual(sockets.filter((socket) => !isInside(socket)), []);
  },
);

live(
  "attack: a neighbour of this machine that routes the cluster's addresses to it comes to none of them",
  async () => {
    const cluster = await runningCluster();
    const { addresses, ports } = await state();
    const pod = await admin(cluster, ["get", "pod/web", "-o", "jsonpath={.status.podIP}"]);
    await using neighbour = await Neighbour.start([addresses.pods, addresses.services]);
    using listener = Deno.listen({ hostname: MACHINE, port: 0 });
    const { port } = listener.addr;
    await eventually(
      "the neighbour comes to this machine",
      async () => await neighbour.connects(MACHINE, port) || undefined,
      { deadlineMs: DEADLINE_MS },
    );
    const targets: [string, number][] = [
      [addresses.node, ports.apiServer],
      [addresses.node, ports.kubelet],
      [addresses.kubernetes, 443],
      [pod, 8080],
    ];
    const reached = await Promise.all(targets.map(([address, port]) => neighbour.connects(address, port)));
    assert.deepEqual(reached, targets.map(() => false));
  },
);

/** A network of its own at the other end of a cable to this machine; it ends with the process that holds it. */
class Neighbour implements AsyncDisposable {
  readonly #holder: Deno.ChildProcess;

  private constructor(holder: Deno.ChildProcess) {
    this.#holder = holder;
  }

  /** @param routed ranges of addresses that it sends to this machine */
  static async start(routed: string[]): Promise<Neighbour> {
    const command = new Deno.Command("unshare", { args: ["--net", "sleep", "300"], stdin: "null" });
    const neighbour = new Neighbour(command.spawn());
    try {
      await neighbour.#plug(routed);
      return neighbour;
    } catch (error) {
      await neighbour[Symbol.asyncDispose]();
      throw error;
    }
  }

  async #plug(routed: string[]): Promise<void> {
    const { pid } = this.#holder;
    const cable = `pn${pid}`; // an interface's name has 15 characters at most
    const own = await Deno.readLink("/proc/self/ns/net");
    await eventually(
      "the neighbour has a network of its own",
      async () => await Deno.readLink(`/proc/${pid}/ns/net`).catch(() => own) !== own || undefined,
    );
    await run(["ip", "link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", String(pid)]);
    await run(["ip", "address", "add", `${MACHINE}/30`, "dev", cable]);
    await run(["ip", "link", "set", cable, "up"]);
    await this.#run("ip", "address", "add", `${NEIGHBOUR}/30`, "dev", "eth0");
    await this.#run("ip", "link", "set", "eth0", "up");
    for (const range of routed) await this.#run("ip", "route", "add", range, "via", MACHINE);
  }

  /** Whether it gets a connection within three seconds: longer than a packet that is lost is waited for. */
  async connects(address: string, port: number): Promise<boolean> {
    const connect = `exec 3<>/dev/tcp/${address}/${port}`;
    return await this.#run("timeout", "3", "bash", "-c", connect).then(() => true, () => false);
  }

  async #run(...command: string[]): Promise<string> {
    return await run(["nsenter", `--net=/proc/${this.#holder.pid}/ns/net`, ...command]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#holder.kill("SIGKILL");
    await this.#holder.status;
  }
}

function inside(cluster: Cluster): unknown {
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name: INSIDE, namespace: NAMESPACE, labels: { app: INSIDE } },
    spec: {
      serviceAccountName: "postern",
      automountServiceAccountToken: true,
      dnsPolicy: "Default",
      terminationGracePeriodSeconds: 0,
      containers: [{
        name: "inside",
        image: IMAGE,
        imagePullPolicy: "Never",
        command: ["httpd", "-f", "-p", "8080", "-h", "/www"],
        readinessProbe: { httpGet: { path: "/", port: 8080 }, periodSeconds: 1 },
        volumeMounts: [{ name: "programs", mountPath: "/programs", readOnly: true }],
      }],
      volumes: [{ name: "programs", hostPath: { path: `${cluster.directory}/bin`, type: "Directory" } }],
    },
  };
}

async function remove(cluster: Cluster): Promise<void> {
  await admin(cluster, ["-n", NAMESPACE, "delete", `pod/${INSIDE}`, "--ignore-not-found", "--now"]);
  await admin(cluster, ["-n", NAMESPACE, "delete", `service/${INSIDE}`, "--ignore-not-found"]);
}

/** Where a pod finds them, and what the gateway's service account may ask of each: the least of what it needs. */
async function servers() {
  const { addresses, ports } = await state();
  return {
    "API server": { url: `https://${addresses.kubernetes}`, ask: ["get", "--raw", "/healthz"] },
    "kubelet": {
      url: `https://${addresses.node}:${ports.kubelet}`,
      ask: ["create", "--raw", "/run/default/shell/shell?cmd=hostname", "-f", "/dev/null"],
    },
  };
}

/** kubectl in the pod, at a server that it is told, with what every pod has of its service account. */
async function kubectlInside(cluster: Cluster, url: string, ...args: string[]): Promise<string> {
  const script =
    `exec ${KUBECTL} --certificate-authority=${ACCOUNT}/ca.crt --token="$(cat ${ACCOUNT}/token)" "$@"`;
  const command = ["sh", "-c", script, "sh", `--server=${url}`, ...args];
  return await admin(cluster, ["-n", NAMESPACE, "exec", INSIDE, "--", ...command]);
}

async function shell(cluster: Cluster, namespace: string, pod: string, script: string): Promise<string> {
  return await admin(cluster, ["-n", namespace, "exec", pod, "--", "sh", "-c", script]);
}

/** kubectl as the administrator; it must succeed, and may take its time. @returns its output, trimmed */
async function admin(cluster: Cluster, args: string[], stdin?: Uint8Array): Promise<string> {
  const run = { cluster, endpoint: cluster.paths, user: "admin", args, deadlineMs: DEADLINE_MS } as const;
  const { code, stdout, stderr } = await kubectl({ ...run, ...stdin && { stdin } });
  if (code !== 0) throw new Error(`kubectl ${args.join(" ")}: ${new TextDecoder().decode(stderr).trim()}`);
  return new TextDecoder().decode(stdout).trim();
}

async function state(): Promise<State> {
  const known = await readMachineState();
  assert.ok(known !== undefined, "the test cluster is up");
  return known;
}

function live(name: string, fn: () => Promise<void>): void {
  Deno.test({ name, sanitizeOps: true, sanitizeResources: true, fn });
}
