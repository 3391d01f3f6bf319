/** Whatever ends before its time says so: to the client, by exit code and in words, and to the audit. */

import assert from "node:assert/strict";
import { join } from "node:path";
import type { AuditEvent } from "../../audit/event.ts";
import { ROOT, runningCluster, tokenOf } from "./support/cluster.ts";
import { Gateway, type GatewayOptions, startCommand } from "./support/gateway.ts";
import { CLIENTS, Kubectl, kubectl, type KubectlRun } from "./support/kubectl.ts";
import { openSilently, SPDY_UPGRADE } from "./support/raw_http.ts";
import { asAdmin } from "./support/service_account.ts";
import { SmallDisk } from "./support/small_disk.ts";
import { TcpProxy } from "./support/tcp_proxy.ts";
import { eventually, within } from "./support/wait.ts";

/** Goes on for longer than any test waits; it ends by itself, because a container keeps what nobody reads any more. */
const ENDLESS = "echo ready; for i in $(seq 400); do echo more; sleep 0.05; done";

for (const client of CLIENTS) {
  withGateway(`SIGTERM ends a session that goes on, by ${client}, with a reason`, {
    drainTimeoutSeconds: 1,
  }, async (gateway) => {
    const session = start(gateway, { client, args: exec("echo ready; cat"), stdin: "open" });
    await session.shows("ready");
    gateway.terminate();
    const { code, stderr } = await session.outcome;
    assert.notEqual(code, 0);
    assert.match(text(stderr), /gateway is shutting down/);
    await gateway.ended();
    const end = await endOf(gateway);
    assert.equal(end.annotations["postern.dev/end-reason"], "gateway_draining");
    assert.equal(end.responseStatus?.status, "Failure");
  });

  withGateway(`SIGTERM lets a session end by itself, by ${client}`, {
    drainTimeoutSeconds: 20,
  }, async (gateway) => {
    const session = start(gateway, { client, args: exec("echo ready; sleep 2; echo done; exit 5") });
    await session.shows("ready");
    gateway.terminate();
    const { code, stdout } = await session.outcome;
    assert.deepEqual([code, text(stdout)], [5, "ready\ndone\n"]);
    await within(5_000, "the gateway ends when its last session has", gateway.ended());
    assert.equal((await endOf(gateway)).annotations["postern.dev/end-reason"], "command_ended");
  });

  withGateway(`a killed kubectl ends its session, by ${client}`, {}, async (gateway) => {
    const session = start(gateway, { client, args: exec(ENDLESS), stdin: "open" });
    await session.shows("ready");
    session.kill();
    await session.outcome;
    const end = await endOf(gateway);
    assert.match(end.annotations["postern.dev/end-reason"] ?? "", /^client_(vanished|closed)$/);
    assert.equal(end.annotations["postern.dev/ended-by"], "client");
  });

  withKubeletProxy(
    `a kubelet that vanishes amid output is no success, by ${client}`,
    async (gateway, proxy) => {
      const session = start(gateway, { client, args: exec(ENDLESS) });
      await session.shows("more");
      proxy.cut();
      const { code, stderr } = await session.outcome;
      assert.notEqual(code, 0);
      assert.notEqual(text(stderr), "");
      const end = await endOf(gateway);
      assert.match(end.annotations["postern.dev/end-reason"] ?? "", /^upstream_(vanished|closed)$/);
      assert.equal(end.responseStatus?.status, "Failure");
    },
  );

  withKubeletProxy(`a kubelet that is not there is said to be so, by ${client}`, async (gateway, proxy) => {
    await proxy.close();
    const { code, stderr } = await kubectl(of(gateway, { client, args: exec("echo inside") }));
    assert.equal(code, 1);
    assert.match(text(stderr), /error dialing backend|connection refused|kubelet/i);
    const kinds = (await gateway.events()).map(({ annotations }) => annotations["postern.dev/event"]);
    assert.ok(kinds.includes("refusal") && !kinds.includes("start"), kinds.join());
  });
}

for (const client of CLIENTS) {
  withGateway(`a session in which nothing happens ends with a reason, by ${client}`, {
    sessions: { idleTimeoutSeconds: 2 },
  }, async (gateway) => {
    const session = start(gateway, { client, args: exec("echo ready; exec sleep 60"), stdin: "open" });
    const { code, stdout, stderr } = await session.outcome;
    assert.deepEqual([code, text(stdout)], [1, "ready\n"]);
    assert.match(text(stderr), /nothing was sent either way for 2s/);
    assert.equal((await endOf(gateway)).annotations["postern.dev/end-reason"], "idle_limit");
  });

  withGateway(`one session too many is refused with a reason, by ${client}`, {
    sessions: { maxSessions: 1 },
  }, async (gateway) => {
    const first = start(gateway, { client, args: exec("echo ready; cat"), stdin: "open" });
    await first.shows("ready");
    const second = await kubectl(of(gateway, { client, args: exec("echo inside") }));
    assert.deepEqual([second.code, text(second.stdout)], [1, ""]);
    assert.match(text(second.stderr), /as many sessions open as it may/);
    await first.endStdin();
    assert.equal((await first.outcome).code, 0);
    const third = await kubectl(of(gateway, { client, args: exec("echo inside") }));
    assert.equal(text(third.stdout), "inside\n", "a place is given back");
  });
}

withGateway("a client that upgrades and then says nothing is not waited for", {
  sessions: { streamCreationTimeoutSeconds: 1 },
}, async (gateway) => {
  const { cluster, port } = gateway;
  const caCerts = [await Deno.readTextFile(cluster.paths.caCertificate)];
  const target = "/api/v1/namespaces/default/pods/shell/exec?command=sleep&command=60&stdout=true";
  const headers = [...SPDY_UPGRADE, `Authorization: Bearer ${await tokenOf(cluster, "alice")}`];
  using silent = await openSilently({ port, caCerts }, `POST ${target}`, headers);
  // A second to say something, then the time a client has to read why it was ended, on each side.
  await within(15_000, "the gateway closes the connection", silent.closed());
  assert.equal((await endOf(gateway)).annotations["postern.dev/end-reason"], "setup_timeout");
});

withGateway("many sessions at once are each their own", {}, async (gateway) => {
  const sessions = Array.from({ length: 24 }, async (_, index) => {
    const client = CLIENTS[index % CLIENTS.length]!;
    const said = `${index}-${crypto.randomUUID()}`.repeat(1000);
    const stdin = new TextEncoder().encode(said);
    const outcome = await kubectl(of(gateway, { client, args: exec(`sleep 1; cat; exit ${index}`), stdin }));
    assert.deepEqual([outcome.code, text(outcome.stdout)], [index, said]);
  });
  await Promise.all(sessions);
});

withGateway("a pod that is deleted ends its sessions as it does directly", {}, async (gateway) => {
  const { cluster } = gateway;
  const name = `e2e-${crypto.randomUUID().slice(0, 8)}`;
  const shell = JSON.parse(await asAdmin(cluster, "get", "pod", "shell", "-o", "json"));
  const { containers, dnsPolicy, terminationGracePeriodSeconds, automountServiceAccountToken } = shell.spec;
  const spec = { containers, dnsPolicy, terminationGracePeriodSeconds, automountServiceAccountToken };
  const manifest = { apiVersion: "v1", kind: "Pod", metadata: { name }, spec };
  const stdin = new TextEncoder().encode(JSON.stringify(manifest));
  await kubectl({ cluster, endpoint: cluster.paths, user: "admin", args: ["create", "-f", "-"], stdin });
  try {
    await asAdmin(cluster, "wait", "--for=condition=Ready", `pod/${name}`, "--timeout=20s");
    const args = exec(ENDLESS, name);
    const [direct, through] = [cluster.paths, gateway].map((endpoint) =>
      Kubectl.start({ cluster, endpoint, args, onStdout: () => {} })
    );
    const session = start(gateway, { args });
    await session.shows("more");
    await asAdmin(cluster, "delete", "pod", name, "--wait=false");
    const codes = [(await direct!.outcome).code, (await through!.outcome).code, (await session.outcome).code];
    assert.deepEqual(codes, [137, 137, 137]);
  } finally {
    await asAdmin(cluster, "delete", "pod", name, "--ignore-not-found", "--wait=false");
  }
});

live("no audit, no session: a full disk refuses until there is room", async () => {
  await using disk = await SmallDisk.mount(64 << 10);
  await using gateway = await Gateway.start({ auditPath: join(disk.folder, "audit.log") });
  const inside = async () => (await kubectl(of(gateway, { args: exec("echo inside") }))).code;
  assert.equal(await inside(), 0);
  const filler = join(disk.folder, "filler");
  await disk.fill(filler);
  await refusedForAudit(gateway);
  await Deno.remove(filler);
  assert.equal(await inside(), 0);
  await gateway.stop();
});

live("no audit, no session: a folder that is gone refuses until it is back", async () => {
  const folder = await Deno.makeTempDir({ prefix: "postern-e2e-audit-" });
  const away = `${folder}-away`;
  try {
    await using gateway = await Gateway.start({ auditPath: join(folder, "audit.log") });
    assert.equal((await kubectl(of(gateway, { args: exec("echo inside") }))).code, 0);
    await Deno.rename(folder, away);
    await refusedForAudit(gateway);
    await Deno.rename(away, folder);
    assert.equal((await kubectl(of(gateway, { args: exec("echo inside") }))).code, 0);
    await gateway.stop();
  } finally {
    for (const each of [folder, away]) await Deno.remove(each, { recursive: true }).catch(() => {});
  }
});

live("a gateway without configuration, or with a wrong one, says so and does not start", async () => {
  const folder = await Deno.makeTempDir({ prefix: "postern-e2e-" });
  try {
    const file = join(folder, "gateway.yaml");
    await Deno.writeTextFile(
      file,
      "apiVersion: postern.dev/v1alpha1\nkind: GatewayConfiguration\nsever: {}\n",
    );
    for (const args of [[], ["--config", join(folder, "nosuch")], ["--config", file]]) {
      const [binary = "", ...start] = await startCommand();
      const { code, stderr } = await new Deno.Command(binary, {
        args: [...start, ...args],
        cwd: ROOT,
        stdin: "null",
        stdout: "null",
      }).output();
      assert.ok(code === 1 || code === 2, `${code}`);
      assert.match(text(stderr), args.length === 0 ? /usage/ : args[1] === file ? /sever/ : /nosuch/);
    }
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

/** Every client is refused, with the reason, and nothing runs. */
async function refusedForAudit(gateway: Gateway): Promise<void> {
  for (const client of CLIENTS) {
    const { code, stdout, stderr } = await kubectl(of(gateway, { client, args: exec("echo inside") }));
    assert.deepEqual([code, text(stdout)], [1, ""]);
    assert.match(text(stderr), /audit log cannot be written, so nothing is opened/);
  }
}

/** Registers a test with a gateway of its own, which must end well. */
function withGateway(name: string, options: GatewayOptions, test: (gateway: Gateway) => Promise<void>): void {
  const fn = async () => {
    await using gateway = await Gateway.start(options);
    await test(gateway);
    await gateway.stop();
  };
  live(name, fn);
}

/** The same, with something to cut between gateway and kubelet. */
function withKubeletProxy(name: string, test: (gateway: Gateway, proxy: TcpProxy) => Promise<void>): void {
  const fn = async () => {
    const { ports } = await runningCluster();
    using proxy = new TcpProxy(ports.kubelet);
    await using gateway = await Gateway.start({ kubeletPort: proxy.port });
    await test(gateway, proxy);
    await gateway.stop();
    await proxy.close();
  };
  live(name, fn);
}

function live(name: string, fn: () => Promise<void>): void {
  Deno.test({ name, fn, sanitizeOps: true, sanitizeResources: true });
}

type Run = Omit<KubectlRun, "cluster" | "endpoint">;

function of(gateway: Gateway, run: Run): KubectlRun {
  return { user: "alice", ...run, cluster: gateway.cluster, endpoint: gateway };
}

function start(gateway: Gateway, run: Run): Kubectl {
  return Kubectl.start(of(gateway, run));
}

function exec(script: string, pod = "shell"): string[] {
  return ["exec", "-i", pod, "--", "sh", "-c", script];
}

async function endOf(gateway: Gateway): Promise<AuditEvent> {
  return await eventually("the end is written down", async () => {
    const events = await gateway.events();
    return events.find(({ annotations }) => annotations["postern.dev/event"] === "end");
  });
}

function text(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
}
