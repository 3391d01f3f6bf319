/**
 * The chart in the cluster: installed, used, upgraded under live sessions, broken, rolled back and taken away. The
 * tests go on from one another: all find one installation of two gateways.
 */

import assert from "node:assert/strict";
import { createPublicKey, X509Certificate } from "node:crypto";
import { join } from "node:path";
import { Crowd } from "../faults/support/crowd.ts";
import { Pod } from "../faults/support/pod.ts";
import { type Cluster, ROOT, tokenOf } from "./support/cluster.ts";
import { freePort } from "../support/free_port.ts";
import { Installation, type Replica } from "./support/installation.ts";
import { inventory } from "./support/inventory.ts";
import { Kubectl } from "./support/kubectl.ts";
import { SPDY_UPGRADE } from "./support/raw_http.ts";
import { eventually, sleep, within } from "./support/wait.ts";

const NAMESPACE = "e2e-helm";
const DRAIN_SECONDS = 20;
const SESSIONS = 50;
/** For what comes soon, on a machine that does nothing else. */
const SLOWLY = { deadlineMs: 180_000, everyMs: 500 };

/** Of several gateways, each writes a file of its own; there is no index that they could share. */
const VALUES = {
  service: { type: "NodePort" },
  config: {
    server: { drainTimeoutSeconds: DRAIN_SECONDS, tls: { reloadSeconds: 1 } },
    upstream: { kubelet: { allowedAddresses: ["10.244.77.1/32"] } },
    audit: { sinks: [{ type: "stdout" }, { type: "file", path: "/var/log/postern/audit.log" }] },
  },
};

let installation: Installation;
let cluster: Cluster;
/** What there was before anything was installed. */
let before: string[];
/** What Helm printed. */
let notes: string;
/** By the Service's address. */
let kubeconfig: string;

Deno.test.beforeAll(async () => {
  installation = await Installation.prepare(NAMESPACE);
  cluster = installation.cluster;
  await eventually("the namespace has what each has", async () => {
    const names = await installation.kubectl("get", "serviceaccounts,configmaps", "-o", "name");
    return names.split("\n").length === 2 || undefined;
  }, SLOWLY);
  before = await inventory(cluster, NAMESPACE);
  notes = await installation.install(VALUES);
  kubeconfig = await installation.kubeconfig(await installation.serviceUrl(), "service");
});
Deno.test.afterAll(async () => {
  await installation[Symbol.asyncDispose]();
});

Deno.test("helm: two gateways are ready on one node, in a namespace that enforces `restricted`", async () => {
  const replicas = await installation.replicas();
  assert.deepEqual(replicas.map(({ isReady }) => isReady), [true, true]);
  const warnings = await installation.kubectl("get", "events", "--field-selector=reason=FailedCreate");
  assert.equal(warnings, "");
});

Deno.test("helm: the commands that are printed lead a kubectl through the gateway, as they are", async () => {
  await using home = await Home.make(cluster);
  await follow(notes, home);
  // What they say is kept is what there is.
  assert.equal(await home.read("postern-ca.crt"), (await installation.secret("postern-ca", "ca.crt")).trim());
  assert.match(await home.read("recordings.pub"), /^-----BEGIN PUBLIC KEY-----/);
  await Deno.copyFile(join(home.folder, "recordings.pub"), join(installation.folder, "recordings.pub"));
});

Deno.test("helm: the test that is printed passes", async () => {
  await using home = await Home.make(cluster);
  const [, command] = /^Whether all of it works: (.+)$/m.exec(notes) ?? [];
  assert.ok(command !== undefined);
  await Deno.symlink(installation.helmBinary, join(home.folder, "bin", "helm"));
  const { code, stdout, stderr } = await home.run(command, "");
  assert.equal(code, 0, stdout + stderr);
  assert.match(stdout, /Phase: +Succeeded/);
});

interface Row {
  name: string;
  user: "alice" | "bob";
  args: string[];
  code: number;
  stdout: string;
  stderr: RegExp;
}

const rows: readonly Row[] = [
  {
    name: "alice runs a command",
    user: "alice",
    args: ["exec", "shell", "--", "sh", "-c", "echo inside; exit 7"],
    code: 7,
    stdout: "inside\n",
    stderr: /exit code 7/,
  },
  {
    name: "bob is refused, by RBAC",
    user: "bob",
    args: ["exec", "shell", "--", "true"],
    code: 1,
    stdout: "",
    stderr: /User "bob" cannot create resource "pods\/exec"/,
  },
  {
    name: "alice is refused a privileged container, by the policy",
    user: "alice",
    args: ["exec", "privileged", "--", "true"],
    code: 1,
    stdout: "",
    stderr: /privileged/,
  },
];

for (const { name, user, args, code, stdout, stderr } of rows) {
  Deno.test(`helm: through the Service's address, ${name}`, async () => {
    const outcome = await installation.as(user, kubeconfig, ...args);
    assert.deepEqual([outcome.code, outcome.stdout], [code, stdout], outcome.stderr);
    assert.match(outcome.stderr, stderr);
  });
}

Deno.test("helm: through the Service's address, a file is copied there and back", async () => {
  const [here, back] = ["here", "back"].map((name) => join(installation.folder, name)) as [string, string];
  const bytes = crypto.getRandomValues(new Uint8Array(60_000));
  await Deno.writeFile(here, bytes);
  for (const [from, to] of [[here, "shell:/tmp/e2e-helm"], ["shell:/tmp/e2e-helm", back]] as const) {
    const { code, stderr } = await installation.as("alice", kubeconfig, "cp", from, to);
    assert.equal(code, 0, stderr);
  }
  assert.deepEqual(await Deno.readFile(back), bytes);
});

Deno.test("helm: through the Service's address, a port is forwarded", async () => {
  const args = ["port-forward", "--address", "127.0.0.1", "pod/web", ":8080"];
  const forward = Kubectl.start({ cluster, endpoint: { kubeconfig }, user: "alice", args });
  try {
    await forward.shows("Forwarding from", SLOWLY.deadlineMs);
    const [, port] = /127\.0\.0\.1:(\d+)/.exec(forward.stdoutText) ?? [];
    using client = Deno.createHttpClient({ poolMaxIdlePerHost: 0 });
    const answer = await fetch(`http://127.0.0.1:${port}/`, { client });
    assert.equal(await answer.text(), "postern test cluster\n");
  } finally {
    forward.kill("SIGINT");
    await forward.outcome;
  }
});

Deno.test("helm: each gateway has its events and recordings, and a command in its pod finds and verifies them", async () => {
  for (const replica of await installation.replicas()) {
    const own = await installation.kubeconfig(`https://${replica.address}:8443`, "replica");
    const said = `from ${replica.name}`;
    const { code, stderr } = await installation.as("alice", own, "exec", "shell", "--", "echo", said);
    assert.equal(code, 0, stderr);
    const [index, events] = ["--sqlite=/tmp/index.db", "--events=/var/log/postern/audit.log"];
    await eventually("the session has its last event", async () => {
      const { ends } = await auditOf(replica);
      return ends.length > 0 || undefined;
    }, SLOWLY);
    await installation.postern(replica, "index", "rebuild", index, events);
    assert.match(await installation.postern(replica, "sessions", "list", index), new RegExp(said));
    assert.match(await installation.postern(replica, "verify", "/var/lib/postern/recordings"), /./);
  }
});

Deno.test("helm: a live session is ended by the gateway that holds it, and no other one knows of it", async () => {
  const [holder, other] = await installation.replicas();
  assert.ok(holder !== undefined && other !== undefined);
  const at = (replica: Replica) =>
    installation.kubeconfig(`https://${replica.address}:8443`, `at-${replica.name}`);
  const [atHolder, atOther] = [await at(holder), await at(other)];
  const session = Kubectl.start({
    ...{ cluster, endpoint: { kubeconfig: atHolder }, user: "alice" },
    ...{ args: ["exec", "-i", "shell", "--", "cat"], stdin: "open" },
  });
  try {
    await session.write("here\n");
    await session.shows("here", SLOWLY.deadlineMs);
    const { starts } = await auditOf(holder);
    const path = `/postern/v1/sessions/${starts.at(-1)?.auditID}`;
    const refused = await installation.as("root", atOther, "delete", "--raw", path);
    assert.match(refused.stderr, /sessions\.postern\.dev ".*" not found/); // 409 where an index knows it
    const ended = await installation.as("root", atHolder, "delete", "--raw", path);
    assert.equal(ended.code, 0, ended.stderr);
    assert.notEqual((await session.outcome).code, 0);
  } finally {
    session.kill();
    await session.outcome;
  }
});

Deno.test("helm: an upgrade ends none of 50 sessions before its gateway has drained, and refuses nobody who comes meanwhile", async () => {
  const authority = await installation.secret("postern-ca", "ca.crt");
  const certificate = await installation.secret("postern-tls", "tls.crt");
  await using pod = await Pod.create(cluster);
  const olds = await installation.replicas();
  await using crowd = await Crowd.gather({ cluster, kubeconfig, pod: pod.name, size: SESSIONS });
  const newcomers = new Newcomers();
  const upgrading = installation.upgrade({ config: { log: { level: "debug" } } });
  const askedToEndAtMs = new Map<string, number>();
  await eventually("both old gateways are gone", async () => {
    const now = await installation.replicas();
    for (const { name, askedToEndAtMs: at } of now) {
      if (at !== undefined) askedToEndAtMs.set(name, at);
    }
    return !now.some(({ uid }) => olds.some((old) => old.uid === uid)) || undefined;
  }, { ...SLOWLY, deadlineMs: 300_000 });
  const { success, error } = await upgrading;
  assert.ok(success, error);
  const { failures, count } = await newcomers.stop();
  assert.deepEqual(failures, []);
  assert.ok(count >= 100, `${count} came while gateways were replaced`);

  const departed = await crowd.gone(SLOWLY.deadlineMs);
  // Of a forwarded port, the client waits a moment for the reason: on a busy machine it may miss it.
  const told = departed.filter(({ kind, error }) =>
    error.includes("the gateway is shutting down") || kind === "portforward" && error !== ""
  );
  assert.deepEqual(departed.filter((each) => !told.includes(each)), []);
  // The old gateways began to drain one after the other; each had a part of the sessions, and says so in its events.
  const drains = await Promise.all(olds.map(async (old) => {
    const { ends } = await auditOf(old);
    const drained = ends.filter(({ annotations }) =>
      annotations["postern.dev/end-reason"] === "gateway_draining"
    );
    const startedAtMs = askedToEndAtMs.get(old.name);
    assert.ok(startedAtMs !== undefined, `${old.name} was never seen to end`);
    return { overAtMs: startedAtMs + DRAIN_SECONDS * 1000, sessions: drained.length };
  }));
  assert.equal(drains[0]!.sessions + drains[1]!.sessions, SESSIONS);
  const earliest = drains.sort((a, b) => a.overAtMs - b.overAtMs)
    .flatMap(({ overAtMs, sessions }) => Array<number>(sessions).fill(overAtMs));
  const ends = departed.map(({ endedAtMs }) => endedAtMs).sort((a, b) => a - b);
  const early = ends.filter((at, index) => at < earliest[index]!);
  assert.deepEqual(early, []);

  assert.equal(await installation.secret("postern-ca", "ca.crt"), authority);
  assert.equal(await installation.secret("postern-tls", "tls.crt"), certificate);
});

Deno.test("helm: an upgrade that cannot start leaves the old gateways and their sessions, and a rollback takes it back", async () => {
  const olds = await installation.replicas();
  await using session = await LiveSession.open();
  // The schema has no rule that compares two values; the gateway has.
  const broken = { config: { audit: { sinks: [{ type: "stdout" }, { type: "stdout" }] } } };
  const { success } = await installation.upgrade(broken, "--timeout=10s");
  assert.ok(!success);
  const now = await installation.replicas();
  for (const { uid } of olds) {
    assert.ok(now.some((each) => each.uid === uid && each.isReady && each.askedToEndAtMs === undefined));
  }
  const { code, stderr } = await installation.as("alice", kubeconfig, "exec", "shell", "--", "true");
  assert.equal(code, 0, stderr);
  await eventually("the new one says what is wrong", async () => {
    const fresh = (await installation.replicas()).find(({ uid }) => !olds.some((old) => old.uid === uid));
    const log = fresh && await installation.kubectl("logs", fresh.name).catch(() => ""); // it may not have begun
    return log?.match(/audit\.sinks.*: expected another sink than sinks\[0\]/) ?? undefined;
  }, SLOWLY);
  await installation.rollback();
  await eventually("what was broken is gone", async () => {
    const uids = (await installation.replicas()).map(({ uid }) => uid).sort();
    return uids.join() === olds.map(({ uid }) => uid).sort().join() || undefined;
  }, SLOWLY);
  await session.answers();
});

Deno.test("helm: a rollback to what ran before replaces the gateways, and new sessions come through all the while", async () => {
  const olds = await installation.replicas();
  const newcomers = new Newcomers();
  await installation.rollback(1);
  const { failures } = await newcomers.stop();
  assert.deepEqual(failures, []);
  const serving = (await installation.replicas()).filter(({ askedToEndAtMs }) =>
    askedToEndAtMs === undefined
  );
  assert.equal(serving.length, 2);
  assert.ok(serving.every(({ uid }) => !olds.some((old) => old.uid === uid)));
  const configuration = await installation.kubectl("get", "configmap", "postern", "-o", "jsonpath={.data}");
  assert.doesNotMatch(configuration, /debug/);
});

Deno.test("helm: a further name makes a certificate of the same authority, which live gateways take up", async () => {
  const name = "door.example.com";
  const authority = await installation.secret("postern-ca", "ca.crt");
  const olds = (await installation.replicas()).filter(({ askedToEndAtMs }) => askedToEndAtMs === undefined);
  await using session = await LiveSession.open();
  const { success, error } = await installation.upgrade({ tls: { dnsNames: [name] } });
  assert.ok(success, error);
  assert.equal(await installation.secret("postern-ca", "ca.crt"), authority);
  const certificate = new X509Certificate(await installation.secret("postern-tls", "tls.crt"));
  assert.ok(
    certificate.checkHost(name) !== undefined && certificate.checkIssued(new X509Certificate(authority)),
  );
  for (const { name: pod, address } of olds) {
    // The kubelet looks after a pod's Secrets about once in a minute, and at once when the pod is changed.
    await installation.kubectl("annotate", "pod", pod, `e2e.postern.dev/looked-at=${Date.now()}`);
    await eventually(`${pod} shows the new certificate`, async () => {
      try {
        const tls = {
          hostname: address,
          port: 8443,
          caCerts: [authority],
          unsafelyDisableHostnameVerification: true,
        };
        (await Deno.connectTls(tls)).close();
        using connection = await Deno.connect({ hostname: address, port: 8443 });
        (await Deno.startTls(connection, { hostname: name, caCerts: [authority] })).close();
        return true;
      } catch {
        return undefined;
      }
    }, SLOWLY);
  }
  await session.answers();
  const now = (await installation.replicas()).filter(({ askedToEndAtMs }) => askedToEndAtMs === undefined);
  assert.deepEqual(now.map(({ uid }) => uid).sort(), olds.map(({ uid }) => uid).sort());
});

Deno.test("helm: uninstalled, it leaves the claim with the evidence, which is still whole, and nothing else", async () => {
  await using session = await LiveSession.open();
  const said = await installation.uninstall();
  assert.match(said, /kept due to the resource policy[^]*\[PersistentVolumeClaim\] postern-evidence/);
  assert.notEqual((await session.ended()).code, 0);
  const claim = "PersistentVolumeClaim postern-evidence";
  let left: string[] = [];
  await eventually("what ends has ended", async () => {
    left = (await inventory(cluster, NAMESPACE)).filter((each) => !before.includes(each));
    return left.length === 1 || undefined;
  }, SLOWLY).catch(() => {});
  assert.deepEqual(left, [claim]);
  await verified("recordings.pub");
});

Deno.test("helm: installed again by the same name, it takes the claim up, and what was recorded before is still verified", async () => {
  const port = String(freePort());
  const printed = (await installation.install({ ...VALUES, service: { type: "ClusterIP" } }))
    .replaceAll("8443", port); // which somebody else may have on this machine
  await using home = await Home.make(cluster);
  const [, args] = /^ {2}# +kubectl (.+ port-forward .+)$/m.exec(printed) ?? [];
  assert.ok(args !== undefined, printed);
  const forward = Kubectl.start({ cluster, endpoint: cluster.paths, user: "root", args: args.split(" ") });
  try {
    await forward.shows("Forwarding from", SLOWLY.deadlineMs);
    await follow(printed, home);
  } finally {
    forward.kill("SIGINT");
    await forward.outcome;
  }
  const key = createPublicKey(await installation.secret("postern-recording", "signing.key"));
  await Deno.writeTextFile(
    join(installation.folder, "next.pub"),
    key.export({ type: "spki", format: "pem" }).toString(),
  );
  await verified("recordings.pub", "next.pub");
});

/** Does as the notes say, in a shell, and comes into a container. */
async function follow(notes: string, home: Home): Promise<void> {
  const commands = notes.split("\n").filter((line) => /^ {2}[^ #]/.test(line))
    .map((line) => line.replace(" POD ", " shell "));
  const { code, stdout, stderr } = await home.run(`set -eu\n${commands.join("\n")}\n`, "echo inside\n");
  assert.equal(code, 0, stderr);
  assert.match(stdout, /^shell +1\/1 +Running/m); // get pods
  assert.match(stdout, /^inside$/m); // exec
}

/** Waits until every recording in the volume is whole and signed with one of these keys: the last may not have ended yet. */
async function verified(...keys: string[]): Promise<void> {
  const store = join(installation.evidence, "store", "recordings");
  const args = ["verify", store, ...keys.flatMap((key) => ["--key", join(installation.folder, key)])];
  let said = "";
  await eventually("all is verified", async () => {
    const { success, stdout, stderr } = await new Deno.Command(join(ROOT, "cli", "kubectl-postern"), { args })
      .output();
    said = new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
    return success || undefined;
  }, SLOWLY).catch(() => assert.fail(said));
}

/** Somebody's folder and kubectl, in whose kubeconfig root is who is meant where nobody is said. */
class Home implements AsyncDisposable {
  private constructor(readonly folder: string, readonly kubeconfig: string) {}

  static async make(cluster: Cluster): Promise<Home> {
    const folder = await Deno.makeTempDir({ prefix: "postern-e2e-home-" });
    const bin = join(folder, "bin");
    await Deno.mkdir(bin);
    await Deno.symlink(cluster.paths.kubectl134, join(bin, "kubectl"));
    await Deno.symlink(join(ROOT, "cli", "kubectl-postern"), join(bin, "postern"));
    const kubeconfig = join(folder, "config");
    const config = JSON.parse(await Deno.readTextFile(cluster.paths.kubeconfig));
    await Deno.writeTextFile(kubeconfig, JSON.stringify({ ...config, "current-context": "root" }));
    return new Home(folder, kubeconfig);
  }

  /** Runs a script as a shell does to which it was pasted. */
  async run(script: string, stdin: string) {
    const child = new Deno.Command("sh", {
      args: ["-c", script],
      cwd: this.folder,
      env: {
        PATH: `${this.folder}/bin:${Deno.env.get("PATH") ?? ""}`,
        HOME: this.folder,
        KUBECONFIG: this.kubeconfig,
      },
      clearEnv: true,
      ...{ stdin: "piped", stdout: "piped", stderr: "piped" },
      signal: AbortSignal.timeout(120_000),
    }).spawn();
    const writer = child.stdin.getWriter();
    await writer.write(new TextEncoder().encode(stdin));
    await writer.close();
    const { code, stdout, stderr } = await child.output();
    return { code, stdout: new TextDecoder().decode(stdout), stderr: new TextDecoder().decode(stderr) };
  }

  async read(name: string): Promise<string> {
    return (await Deno.readTextFile(join(this.folder, name))).trim();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Deno.remove(this.folder, { recursive: true });
  }
}

/**
 * People who come through the Service all the time: alice opens sessions and asks for a pod, one after the other, and bob
 * knocks many times in a second, so that no moment is missed. He is refused, but because he is bob.
 */
class Newcomers {
  #isOver = false;
  readonly #failures: string[] = [];
  #count = 0;
  readonly #all: Promise<unknown>;

  constructor() {
    this.#all = Promise.all([this.#come(), this.#knock()]);
    this.#all.catch(() => {}); // `stop` is told
  }

  /** @returns what those were told who were refused, and how many came */
  async stop(): Promise<{ failures: string[]; count: number }> {
    this.#isOver = true;
    await this.#all;
    return { failures: this.#failures, count: this.#count };
  }

  get #goesOn(): boolean {
    return !this.#isOver && this.#failures.length < 10;
  }

  async #come(): Promise<void> {
    while (this.#goesOn) {
      for (const args of [["exec", "shell", "--", "echo", "inside"], ["get", "pod", "shell"]]) {
        const { code, stderr } = await installation.as("alice", kubeconfig, ...args);
        this.#count++;
        if (code !== 0) this.#failures.push(`${new Date().toISOString()} ${args[0]}: ${stderr}`);
      }
    }
  }

  async #knock(): Promise<void> {
    const address = new URL(await installation.serviceUrl()).hostname;
    const caCerts = [await installation.secret("postern-tls", "ca.crt")];
    const request = [
      "POST /api/v1/namespaces/default/pods/shell/exec?command=true&stdout=true HTTP/1.1",
      `Host: ${installation.serviceName}`,
      `Authorization: Bearer ${await tokenOf(cluster, "bob")}`,
      ...SPDY_UPGRADE,
    ].join("\r\n") + "\r\n\r\n";
    while (this.#goesOn) {
      const answer = await knock(address, caCerts, request).catch(String);
      this.#count++;
      if (!answer.startsWith("HTTP/1.1 403 ")) this.#failures.push(`${new Date().toISOString()} ${answer}`);
      await sleep(20);
    }
  }
}

/** @returns what is answered first */
async function knock(hostname: string, caCerts: string[], request: string): Promise<string> {
  const plain = await within(30_000, "a connection", Deno.connect({ hostname, port: 443 }));
  using connection = await Deno.startTls(plain, { hostname: installation.serviceName, caCerts });
  await connection.write(new TextEncoder().encode(request));
  const buffer = new Uint8Array(4096);
  const count = await within(30_000, "an answer", connection.read(buffer));
  return new TextDecoder().decode(buffer.subarray(0, count ?? 0));
}

/** A session that goes on while other things happen. */
class LiveSession implements AsyncDisposable {
  #said = 0;

  private constructor(readonly kubectl: Kubectl) {}

  static async open(): Promise<LiveSession> {
    const args = ["exec", "-i", "shell", "--", "cat"];
    const session = new LiveSession(
      Kubectl.start({
        cluster,
        endpoint: { kubeconfig },
        user: "alice",
        args,
        stdin: "open",
        deadlineMs: 300_000,
      }),
    );
    await session.answers();
    return session;
  }

  async answers(): Promise<void> {
    const line = `line ${++this.#said}\n`;
    await this.kubectl.write(line);
    await this.kubectl.shows(line, SLOWLY.deadlineMs);
  }

  async ended() {
    return await this.kubectl.outcome;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.kubectl.kill();
    await this.kubectl.outcome;
  }
}

/** The events of sessions of one gateway, that lives or not: each has a folder of the volume. */
async function auditOf({ name }: Pick<Replica, "name">) {
  const text = await Deno.readTextFile(join(installation.evidence, "pods", name, "audit.log"));
  const events = text.split("\n").filter((line) => line !== "")
    .map((line): { auditID: string; annotations: Record<string, string> } => JSON.parse(line));
  const of = (kind: string) => events.filter(({ annotations }) => annotations["postern.dev/event"] === kind);
  return { starts: of("start"), ends: of("end") };
}
