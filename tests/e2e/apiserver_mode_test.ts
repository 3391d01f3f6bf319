/** Sessions opened at the API server: as the user or as the gateway, seen by its own audit. */

import assert from "node:assert/strict";
import type { AuditEvent } from "../../audit/event.ts";
import { ask, Forward, greeting } from "./support/forward.ts";
import { Gateway, sharedGateway } from "./support/gateway.ts";
import { CLIENTS, Kubectl, kubectl, type KubectlRun } from "./support/kubectl.ts";
import { createPod, deletePod } from "./support/pods.ts";
import { asAdmin } from "./support/service_account.ts";
import { eventually } from "./support/wait.ts";

/** Answers each line of its stdin. */
const READER = "e2e-apiserver-reader";
/** The ports of the cluster's pod `ports`: one gives back what comes, one says its number. */
const [ECHO, GREET] = [7000, 7003];

const asUser = sharedGateway({ upstream: { mode: "apiserver" } });

Deno.test.beforeAll(async () => {
  const command = ["sh", "-c", 'while read -r line; do echo "got $line"; done'];
  await createPod(asUser().cluster, READER, { containers: { reader: { command, stdin: true } } });
});
Deno.test.afterAll(() => deletePod(asUser().cluster, READER));

for (const client of CLIENTS) {
  live(`a command has the output and the exit code that it has directly, by ${client}`, async () => {
    const script = "cat; echo to-stderr >&2; exit 7";
    const run = { client, user: "alice", args: ["exec", "-i", "shell", "--", "sh", "-c", script] } as const;
    const stdin = new TextEncoder().encode("through the API server\n");
    const [direct, through] = await Promise.all([
      outcome(asUser().cluster.paths, { ...run, stdin }),
      outcome(asUser(), { ...run, stdin }),
    ]);
    assert.deepEqual(through, direct);
    assert.equal(through.code, 7);
  });

  live(`who may not exec is told so by the gateway, by ${client}`, async () => {
    const refused = await outcome(asUser(), { client, user: "bob", args: ["exec", "shell", "--", "id"] });
    assert.equal(refused.code, 1);
    assert.match(refused.stderr, /User "bob" cannot create resource "pods\/exec"/);
  });

  live(`a privileged container stays for cluster-admins, by ${client}`, async () => {
    const args = ["exec", "privileged", "--", "echo", "inside"];
    const alice = await outcome(asUser(), { client, user: "alice", args });
    assert.match(alice.stderr, /only cluster-admins/);
    assert.equal((await outcome(asUser(), { client, user: "root", args })).stdout, "inside\n");
  });
}

const overWebSocket = sharedGateway({
  upstream: { mode: "apiserver", apiserver: { transport: "websocket" } },
});

for (const client of CLIENTS) {
  live(`over WebSocket a command is what it is directly, by ${client}`, async () => {
    const script = "sha256sum; echo to-stderr >&2; exit 7";
    const args = ["exec", "-i", "shell", "--", "sh", "-c", script];
    const stdin = new Uint8Array(8 << 20).fill(7);
    // Who asks by GET needs `get` there, which alice has not.
    const run = { client, user: "root", args, stdin } as const;
    const [direct, through] = await Promise.all([
      outcome(asUser().cluster.paths, run),
      outcome(overWebSocket(), run),
    ]);
    assert.equal(through.stderr.includes("to-stderr"), true);
    assert.deepEqual([through.code, through.stdout], [direct.code, direct.stdout]);
    const starts = (await overWebSocket().events()).filter((event) => isStartOf(event, "sha256sum"));
    assert.equal(starts.at(-1)?.annotations["postern.dev/upstream-protocol"], "WebSocket v5.channel.k8s.io");
  });
}

live("the API server's audit log has the session by the ID that the gateway's events name", async () => {
  const word = crypto.randomUUID();
  await outcome(asUser(), { user: "alice", args: ["exec", "shell", "--", "echo", word] });
  const [start] = (await asUser().events()).filter((event) => isStartOf(event, word));
  const id = start?.annotations["postern.dev/upstream-audit-id"];
  assert.ok(id !== undefined && id === start?.auditID);
  const own = await eventually("the API server has written it down", async () => {
    const lines = (await Deno.readTextFile(asUser().cluster.paths.apiServerAuditLog)).split("\n");
    const events = lines.filter((line) => line.includes(id)).map((line) => JSON.parse(line));
    return events.length > 0 ? events : undefined;
  }, { deadlineMs: 10_000 });
  assert.equal(own[0].user.username, "alice");
  assert.equal(own[0].objectRef.subresource, "exec");
});

live("whoever is impersonated is so at the API server too", async () => {
  const word = crypto.randomUUID();
  const args = ["--as", "alice", "exec", "shell", "--", "echo", word];
  assert.equal((await outcome(asUser(), { user: "root", args })).stdout, `${word}\n`);
  const own = await eventually("the API server has written it down", async () => {
    const lines = (await Deno.readTextFile(asUser().cluster.paths.apiServerAuditLog)).split("\n");
    return lines.find((line) => line.includes(word) && line.includes('"subresource":"exec"'));
  }, { deadlineMs: 10_000 });
  const { user, impersonatedUser } = JSON.parse(own);
  assert.deepEqual([user.username, impersonatedUser.username], ["root", "alice"]);
});

/** Each gateway, by the transport on which it opens sessions at the API server, and who may open them so. */
const BY_TRANSPORT = [
  { transport: "SPDY", gateway: asUser, user: "alice" },
  // Who asks by GET needs `get` there, which alice has not.
  { transport: "WebSocket", gateway: overWebSocket, user: "root" },
] as const;

for (const { transport, gateway, user } of BY_TRANSPORT) {
  for (const client of CLIENTS) {
    live(`attach goes the same way over ${transport}, by ${client}`, async () => {
      const { cluster } = gateway();
      const args = ["attach", "-i", READER];
      const session = Kubectl.start({ cluster, endpoint: gateway(), client, user, args, stdin: "open" });
      const word = crypto.randomUUID();
      await session.write(`${word}\n`);
      await session.shows(`got ${word}`);
      session.kill();
      await session.outcome;
      await wentToApiServer(gateway(), "attach", transport);
    });

    live(`port-forward goes the same way over ${transport}, by ${client}`, async () => {
      const forward = await Forward.start(gateway(), { client, user }, "ports", `:${GREET}`, `:${ECHO}`);
      const [[greet], [echo] = [0]] = forward.pairs;
      assert.equal(await greeting(greet), `${GREET}\n`);
      const answers = await Promise.all(["one", "two", "three"].map((word) => ask(echo, word)));
      assert.deepEqual(answers, ["one", "two", "three"]);
      await forward.stop();
      await wentToApiServer(gateway(), "portforward", transport);
    });
  }
}

live("who may not forward ports is told so by the gateway", async () => {
  const refused = await outcome(asUser(), { user: "bob", args: ["port-forward", "ports", `:${GREET}`] });
  assert.equal(refused.code, 1);
  assert.match(refused.stderr, /User "bob" cannot create resource "pods\/portforward"/);
});

live(
  "as the gateway: RBAC must grant it the session, and the API server writes down the gateway",
  async () => {
    await using gateway = await Gateway.start({
      upstream: { mode: "apiserver", apiserver: { identity: "gateway" } },
    });
    const { cluster } = gateway;
    const name = `e2e-gateway-${crypto.randomUUID().slice(0, 8)}`;
    const word = crypto.randomUUID();
    const run = { user: "alice", args: ["exec", "shell", "--", "echo", word] } as const;
    const without = await outcome(gateway, run);
    assert.match(without.stderr, /the API server does not let the gateway in/);
    await asAdmin(cluster, "create", "role", name, "--verb=create", "--resource=pods/exec");
    await asAdmin(
      cluster,
      ...["create", "rolebinding", name, `--role=${name}`, "--serviceaccount=postern-system:postern"],
    );
    try {
      await eventually("the gateway may", async () => {
        const { stdout } = await outcome(gateway, run);
        return stdout === `${word}\n` ? true : undefined;
      }, { deadlineMs: 10_000, everyMs: 300 });
    } finally {
      await asAdmin(cluster, "delete", "role,rolebinding", name);
    }
    const lines = (await Deno.readTextFile(cluster.paths.apiServerAuditLog)).split("\n");
    const own = lines.findLast((line) => line.includes(word) && line.includes('"subresource":"exec"'));
    assert.equal(JSON.parse(own ?? "{}").user?.username, "system:serviceaccount:postern-system:postern");
  },
);

function live(name: string, fn: () => Promise<void>): void {
  Deno.test({ name, fn, sanitizeOps: true, sanitizeResources: true });
}

type Run = Omit<KubectlRun, "cluster" | "endpoint">;

async function outcome(endpoint: { kubeconfig: string }, run: Run) {
  const { code, stdout, stderr } = await kubectl({ ...run, cluster: asUser().cluster, endpoint });
  const decoder = new TextDecoder();
  return { code, stdout: decoder.decode(stdout), stderr: decoder.decode(stderr) };
}

/** The last session of a kind was opened at the API server, on this transport. */
async function wentToApiServer(gateway: Gateway, subresource: string, transport: string): Promise<void> {
  const starts = (await gateway.events()).filter(({ objectRef, annotations }) =>
    objectRef?.subresource === subresource && annotations["postern.dev/event"] === "start"
  );
  const start = starts.at(-1);
  assert.ok(start !== undefined, `no ${subresource} was opened`);
  const { "postern.dev/upstream": upstream, "postern.dev/upstream-protocol": protocol } = start.annotations;
  assert.equal(upstream, new URL(gateway.cluster.apiServerUrl).host);
  assert.match(protocol ?? "", new RegExp(`^${transport}`));
}

function isStartOf({ annotations }: AuditEvent, word: string): boolean {
  return annotations["postern.dev/event"] === "start" &&
    (annotations["postern.dev/argv"] ?? "").includes(word);
}
