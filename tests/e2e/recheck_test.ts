/** What is taken from a user is taken from the sessions that live, and from whoever comes again with the same token. */

import assert from "node:assert/strict";
import { join } from "node:path";
import type { AuditEvent } from "../../audit/event.ts";
import { type Cluster, runningCluster } from "./support/cluster.ts";
import { Gateway, type GatewayOptions } from "./support/gateway.ts";
import { CLIENTS, Kubectl, kubectl, type KubectlRun } from "./support/kubectl.ts";
import { asAdmin } from "./support/service_account.ts";
import { TcpProxy } from "./support/tcp_proxy.ts";
import { eventually, sleep, within } from "./support/wait.ts";

const NAMESPACE = "default";

/** How long a session may take to open while the machine is busy. */
const START_MS = 30_000;

/** The API server itself remembers a token for 10 seconds that it once found good. */
const REVOKED_MS = 40_000;

/** A service account of a test's own, with what it was granted; gone when the test is over. */
class Account implements AsyncDisposable {
  readonly name = `e2e-recheck-${crypto.randomUUID().slice(0, 8)}`;
  token = "";

  private constructor(readonly cluster: Cluster) {}

  static async create(): Promise<Account> {
    const account = new Account(await runningCluster());
    const { cluster, name } = account;
    await asAdmin(cluster, "create", "serviceaccount", name);
    account.token = await asAdmin(cluster, "create", "token", name);
    const resources = "--resource=pods,pods/exec,pods/attach,pods/portforward";
    await asAdmin(cluster, "create", "role", name, "--verb=get,create", resources);
    await asAdmin(cluster, "create", "rolebinding", name, `--role=${name}`, account.subject);
    await account.may("create", "pods/exec");
    return account;
  }

  get subject(): string {
    return `--serviceaccount=${NAMESPACE}:${this.name}`;
  }

  /** Waits until the API server has heard of what was granted. */
  async may(verb: string, resource: string): Promise<void> {
    const who = `system:serviceaccount:${NAMESPACE}:${this.name}`;
    const args = ["auth", "can-i", verb, resource, "--as", who, "-n", NAMESPACE];
    const { cluster } = this;
    await eventually(`${who} may ${verb} ${resource}`, async () => {
      const { code } = await kubectl({ cluster, endpoint: cluster.paths, user: "admin", args });
      return code === 0 || undefined;
    }, { deadlineMs: START_MS });
  }

  /** Its token is good for nothing any more. */
  async revokeToken(): Promise<void> {
    await asAdmin(this.cluster, "delete", "serviceaccount", this.name);
  }

  /** It may do nothing any more. */
  async withdraw(): Promise<void> {
    await asAdmin(this.cluster, "delete", "rolebinding", this.name);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const kinds = "serviceaccount,role,rolebinding,clusterrole,clusterrolebinding";
    await asAdmin(this.cluster, "delete", kinds, this.name, "--ignore-not-found");
  }
}

for (const client of CLIENTS) {
  live(`a session by ${client} ends when its user may no more, and says so`, {}, async (gateway, account) => {
    const session = start(gateway, account, { client, args: SHELL, stdin: "open" });
    await session.shows("ready", START_MS);
    await sleep(1_500);
    await session.write("still here\n"); // it was asked about, and goes on
    await session.shows("still here", START_MS);
    await account.withdraw();
    const { code, stderr } = await within(START_MS, "the session ends", session.outcome);
    assert.notEqual(code, 0);
    assert.match(text(stderr), /access was withdrawn, so the session ends: pods "shell" is forbidden: User/);
    const end = await endOf(gateway);
    assert.equal(end.annotations["postern.dev/end-reason"], "access_revoked");
    assert.equal(end.annotations["postern.dev/ended-by"], "gateway");
    assert.equal(end.responseStatus?.status, "Failure");
  });
}

live("a session ends when its token is no longer good, and says so", {}, async (gateway, account) => {
  const session = start(gateway, account, { args: SHELL, stdin: "open" });
  await session.shows("ready", START_MS);
  await account.revokeToken();
  const { code, stderr } = await within(REVOKED_MS, "the session ends", session.outcome);
  assert.notEqual(code, 0);
  assert.match(text(stderr), /the credential that opened the session is no longer valid/);
  assert.equal((await endOf(gateway)).annotations["postern.dev/end-reason"], "credential_revoked");
});

live("a port-forward ends when its user may no more", {}, async (gateway, account) => {
  const session = start(gateway, account, {
    args: ["port-forward", "--address", "127.0.0.1", "pod/shell", ":8080"],
  });
  await session.shows("Forwarding from", START_MS);
  await account.withdraw();
  await session.showsError("lost connection to pod", START_MS);
  session.kill();
  await session.outcome;
  assert.equal((await endOf(gateway)).annotations["postern.dev/end-reason"], "access_revoked");
});

live("a session in somebody's name ends when nobody may act in it any more", {}, async (gateway, account) => {
  const { cluster, name } = account;
  const names = ["--verb=impersonate", "--resource=users", "--resource-name=alice"];
  await asAdmin(cluster, "create", "clusterrole", name, ...names);
  await asAdmin(cluster, "create", "clusterrolebinding", name, `--clusterrole=${name}`, account.subject);
  await account.may("impersonate", "users/alice");
  const session = start(gateway, account, { args: ["--as", "alice", ...SHELL], stdin: "open" });
  await session.shows("ready", START_MS);
  await asAdmin(cluster, "delete", "clusterrolebinding", name);
  const { stderr } = await within(START_MS, "the session ends", session.outcome);
  assert.match(text(stderr), /access was withdrawn.*cannot impersonate/);
  const end = await endOf(gateway);
  assert.equal(end.annotations["postern.dev/end-reason"], "access_revoked");
  assert.equal(end.impersonatedUser?.username, "alice");
});

live("whoever is no cluster-admin any more leaves the privileged container", {}, async (gateway, account) => {
  const { cluster, name } = account;
  await asAdmin(
    cluster,
    "create",
    "clusterrolebinding",
    name,
    "--clusterrole=cluster-admin",
    account.subject,
  );
  await account.may("*", "*.*");
  const args = ["exec", "-i", "privileged", "--", "sh", "-c", "echo ready; cat"];
  const session = start(gateway, account, { args, stdin: "open" });
  await session.shows("ready", START_MS);
  await asAdmin(cluster, "delete", "clusterrolebinding", name);
  const { stderr } = await within(START_MS, "the session ends", session.outcome);
  assert.match(text(stderr), /access was withdrawn.*only cluster-admins may open it/);
});

live("a session at the API server ends when its user may no more", {
  upstream: { mode: "apiserver" },
}, async (gateway, account) => {
  const session = start(gateway, account, { args: SHELL, stdin: "open" });
  await session.shows("ready", START_MS);
  await account.withdraw();
  const { stderr } = await within(START_MS, "the session ends", session.outcome);
  assert.match(text(stderr), /access was withdrawn/);
});

live("where nobody asks again, a session goes on, and it was said that nobody does", {
  sessions: { recheck: "off" },
}, async (gateway, account) => {
  const session = start(gateway, account, { args: SHELL, stdin: "open" });
  await session.shows("ready", START_MS);
  await account.withdraw();
  await sleep(3_000);
  await session.write("still here\n");
  await session.shows("still here", START_MS);
  await session.endStdin();
  assert.equal((await session.outcome).code, 0);
  assert.match(await gateway.log(), /live sessions are not asked about again/);
});

for (
  const { what, revoke, says } of [
    {
      what: "a revoked token",
      revoke: (account: Account) => account.revokeToken(),
      says: /Unauthorized|must be logged in/,
    },
    {
      what: "a withdrawn permission",
      revoke: (account: Account) => account.withdraw(),
      says: /Forbidden|forbidden/,
    },
  ]
) {
  live(`attack: ${what} opens nothing once what was remembered of it has expired`, {
    authentication: { cacheTtlSeconds: 2 },
    authorization: { cacheTtlSeconds: 2 },
  }, async (gateway, account) => {
    const args = ["exec", "shell", "--", "echo", "inside"];
    const open = () => kubectl(run(gateway, account, { args }));
    assert.equal(text((await open()).stdout), "inside\n");
    await revoke(account);
    const refused = await eventually("it opens nothing", async () => {
      const outcome = await open();
      return outcome.code === 0 ? undefined : outcome;
    }, { deadlineMs: REVOKED_MS, everyMs: 200 });
    assert.match(text(refused.stderr), says);
    assert.equal((await open()).code, 1);
  });
}

withoutApiServer("sessions outlive an API server that is away for a while, and both is written down", {
  recheckGraceSeconds: 60,
}, async (gateway, account, proxy) => {
  const session = start(gateway, account, { args: SHELL, stdin: "open" });
  await session.shows("ready", START_MS);
  proxy.isOpen = false;
  proxy.cut();
  const begun = await eventually("that nobody can tell", async () => await recheck(gateway, "unanswered"), {
    deadlineMs: START_MS,
  });
  assert.equal(begun.annotations["postern.dev/grace-ms"], "60000");
  await session.write("still here\n");
  await session.shows("still here", START_MS);
  proxy.isOpen = true;
  await eventually("that somebody can", async () => await recheck(gateway, "answered"), {
    deadlineMs: START_MS,
  });
  await session.endStdin();
  assert.equal((await session.outcome).code, 0);
});

withoutApiServer("attack: keeping the API server away keeps no session alive for longer than the grace", {
  recheckGraceSeconds: 2,
}, async (gateway, account, proxy) => {
  const session = start(gateway, account, { args: SHELL, stdin: "open" });
  await session.shows("ready", START_MS);
  await account.withdraw();
  proxy.isOpen = false;
  proxy.cut();
  const { code, stderr } = await within(START_MS, "the session ends", session.outcome);
  assert.notEqual(code, 0);
  assert.match(text(stderr), /for 2s nobody could say whether the session may go on/);
  assert.equal((await endOf(gateway)).annotations["postern.dev/end-reason"], "access_unconfirmed");
  proxy.isOpen = true;
});

const SHELL = ["exec", "-i", "shell", "--", "sh", "-c", "echo ready; cat"];

function run(gateway: Gateway, { token }: Account, given: Pick<KubectlRun, "client" | "args" | "stdin">) {
  const args = ["--token", token, ...given.args];
  return { ...given, cluster: gateway.cluster, endpoint: gateway, args, deadlineMs: 3 * START_MS };
}

function start(...args: Parameters<typeof run>): Kubectl {
  return Kubectl.start(run(...args));
}

async function recheck(gateway: Gateway, state: string): Promise<AuditEvent | undefined> {
  return (await gateway.events()).find(({ annotations }) => annotations["postern.dev/recheck"] === state);
}

/** The end of the one session that there was. */
async function endOf(gateway: Gateway): Promise<AuditEvent> {
  return await eventually("the session's end is written down", async () => {
    return (await gateway.events()).find(({ annotations }) => annotations["postern.dev/event"] === "end");
  }, { deadlineMs: START_MS });
}

function text(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
}

/** Sessions are asked about every second, unless a test says otherwise. */
function live(
  name: string,
  options: GatewayOptions,
  body: (gateway: Gateway, account: Account) => Promise<void>,
): void {
  Deno.test({
    name: `recheck: ${name}`,
    sanitizeOps: true,
    sanitizeResources: true,
    fn: async () => {
      await using account = await Account.create();
      await using gateway = await Gateway.start({
        ...options,
        sessions: { recheckSeconds: 1, ...options.sessions },
      });
      await body(gateway, account);
      await gateway.stop();
    },
  });
}

/** The gateway comes to the API server by a proxy, which the test may close; kubectl comes to the gateway. */
function withoutApiServer(
  name: string,
  sessions: NonNullable<GatewayOptions["sessions"]>,
  body: (gateway: Gateway, account: Account, proxy: TcpProxy) => Promise<void>,
): void {
  Deno.test({
    name: `recheck: ${name}`,
    sanitizeOps: true,
    sanitizeResources: true,
    fn: async () => {
      await using account = await Account.create();
      const { cluster } = account;
      const proxy = new TcpProxy(Number(new URL(cluster.apiServerUrl).port));
      const directory = await Deno.makeTempDir({ prefix: "postern-recheck-" });
      const kubeconfig = join(directory, "kubeconfig");
      const given = await Deno.readTextFile(cluster.paths.gatewayKubeconfig);
      const url = new URL(cluster.apiServerUrl);
      url.port = String(proxy.port);
      await Deno.writeTextFile(kubeconfig, given.replaceAll(cluster.apiServerUrl, url.origin));
      try {
        await using gateway = await Gateway.start({
          kubernetes: { kubeconfig, requestTimeoutSeconds: 1 },
          sessions: { recheckSeconds: 1, ...sessions },
        });
        await body(gateway, account, proxy);
        await gateway.stop();
      } finally {
        await proxy.close();
        await Deno.remove(directory, { recursive: true });
      }
    },
  });
}
