/** What is no session passes the gateway as if it were not there, with the user's own rights. */

import assert from "node:assert/strict";
import { join } from "node:path";
import type { User } from "./support/cluster.ts";
import { sharedGateway } from "./support/gateway.ts";
import { CLIENTS, type Endpoint, Kubectl, kubectl, type KubectlRun } from "./support/kubectl.ts";
import { Digest, pattern } from "./support/digest.ts";
import { asAdmin } from "./support/service_account.ts";
import { eventually } from "./support/wait.ts";

const gateway = sharedGateway();

interface Row {
  args: readonly string[];
  /** Exit code for root, so that no row passes because both fail. @default {0} */
  code?: number;
}

const rows: readonly Row[] = [
  { args: ["get", "pods", "-o", "name"] },
  { args: ["get", "pod", "web", "-o", "json"] },
  { args: ["get", "pods", "-l", "no=such"] },
  { args: ["get", "pod", "nosuch"], code: 1 },
  { args: ["get", "nodes", "-o", "name"] },
  { args: ["get", "pods", "-A", "-o", "name"] },
  { args: ["get", "--raw", "/version"] },
  { args: ["get", "--raw", "/api/v1/namespaces/default/pods?limit=1&fieldSelector=metadata.name%3Dweb"] },
  { args: ["get", "--raw", "/nosuch"], code: 1 },
  { args: ["api-resources", "-o", "name"] },
  { args: ["explain", "pod.spec.hostPID"] },
  { args: ["logs", "done"] },
  { args: ["logs", "web", "-c", "sidecar"] },
  { args: ["logs", "web", "-c", "nosuch"], code: 1 },
  { args: ["auth", "can-i", "create", "pods/exec"] },
  { args: ["auth", "can-i", "delete", "pods"] },
  { args: ["auth", "can-i", "--list"] },
  { args: ["create", "configmap", "x", "--dry-run=server", "-o", "jsonpath={.metadata.name}"] },
];
const USERS: readonly User[] = ["alice", "bob", "root"];
for (const { args, code = 0 } of rows) {
  for (const user of USERS) {
    live(`kubectl ${args.join(" ")} as ${user} is the same through the gateway`, async () => {
      const run = async (endpoint: Endpoint) => {
        const outcome = texts(await kubectl({ cluster: gateway().cluster, endpoint, user, args }));
        return { ...outcome, stderr: outcome.stderr.replaceAll(endpointUrl(endpoint), "<server>") };
      };
      const [direct, through] = await Promise.all([run(gateway().cluster.paths), run(gateway())]);
      if (user === "root") assert.equal(direct.code, code, direct.stderr);
      assert.deepEqual(through, direct);
    });
  }
}

for (const client of CLIENTS) {
  live(`a ConfigMap is applied, read, changed and deleted by ${client}`, async () => {
    const name = `e2e-${crypto.randomUUID()}`;
    const apply = async (value: string) => {
      const manifest = { apiVersion: "v1", kind: "ConfigMap", metadata: { name }, data: { value } };
      const stdin = new TextEncoder().encode(JSON.stringify(manifest));
      return await through({ client, args: ["apply", "-f", "-"], stdin });
    };
    assert.equal((await apply("grüße\n")).stdout, `configmap/${name} created\n`);
    assert.equal((await apply("two")).stdout, `configmap/${name} configured\n`);
    const get = await through({ client, args: ["get", "cm", name, "-o", "jsonpath={.data.value}"] });
    assert.equal(get.stdout, "two");
    const patch = ["patch", "cm", name, "--type=merge", "-p", '{"data":{"value":"three"}}'];
    assert.equal((await through({ client, args: patch })).code, 0);
    const asAlice = await through({ client, user: "alice", args: ["delete", "cm", name] });
    assert.match(asAlice.stderr, /User "alice" cannot delete resource "configmaps"/);
    assert.equal((await through({ client, args: ["delete", "cm", name] })).code, 0);
  });

  live(`cp carries a file into a container and back unchanged, by ${client}`, async () => {
    const folder = await Deno.makeTempDir({ prefix: "postern-e2e-" });
    try {
      const [sent, received] = [new Digest(), new Digest()];
      const remote = `shell:/tmp/${crypto.randomUUID()}`;
      const [from, to] = [join(folder, "from"), join(folder, "to")];
      await Deno.writeFile(from, pattern(20_000_003, sent));
      const up = await through({ client, user: "alice", args: ["cp", from, remote] });
      assert.equal(up.code, 0, up.stderr);
      const down = await through({ client, user: "alice", args: ["cp", remote, to] });
      assert.equal(down.code, 0, down.stderr);
      received.take(await Deno.readFile(to));
      assert.deepEqual([received.bytes, received.hex()], [sent.bytes, sent.hex()]);
      await asAdmin(gateway().cluster, "exec", "shell", "--", "rm", remote.replace("shell:", ""));
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  });
}

live("a watch shows an object as soon as it is there", async () => {
  const name = `e2e-${crypto.randomUUID()}`;
  const watch = Kubectl.start({
    cluster: gateway().cluster,
    endpoint: gateway(),
    args: ["get", "cm", "-w", "-o", "name"],
    stdin: "none",
  });
  try {
    await watch.shows("kube-root-ca.crt"); // what is there already, so it watches
    await asAdmin(gateway().cluster, "create", "cm", name);
    await watch.shows(name, 2_000);
  } finally {
    watch.kill();
    await watch.outcome;
    await asAdmin(gateway().cluster, "delete", "cm", name, "--ignore-not-found");
  }
});

live("followed logs show a line as soon as it is written", async () => {
  const { cluster } = gateway();
  const run = {
    cluster,
    endpoint: gateway(),
    user: "alice",
    args: ["logs", "-f", "--tail=0", "shell"],
  } as const;
  const logs = Kubectl.start(run);
  try {
    const line = crypto.randomUUID();
    // Nothing says when it follows, so lines are written until one is seen.
    await eventually("a line is followed", async () => {
      await asAdmin(cluster, "exec", "shell", "--", "sh", "-c", `echo ${line} >/proc/1/fd/1`);
      return logs.stdoutText.includes(line) ? true : undefined;
    }, { everyMs: 300 });
  } finally {
    logs.kill();
    await logs.outcome;
  }
});

live("a client that is gone ends its watch at the API server", async () => {
  const { cluster } = gateway();
  // Nobody else watches these in one namespace.
  const watches = async () => {
    const metrics = await asAdmin(cluster, "get", "--raw", "/metrics");
    const line = metrics.split("\n").find((each) =>
      each.startsWith("apiserver_longrunning_requests{") && each.includes('resource="podtemplates"') &&
      each.includes('scope="namespace"')
    );
    return Number(line?.split(" ").at(-1) ?? 0);
  };
  assert.equal(await watches(), 0);
  const watch = Kubectl.start({ cluster, endpoint: gateway(), args: ["get", "podtemplates", "-w"] });
  try {
    await eventually("the API server has the watch", async () => await watches() === 1 ? true : undefined);
  } finally {
    watch.kill();
    await watch.outcome;
  }
  await eventually("the API server has it no more", async () => await watches() === 0 ? true : undefined);
});

live("without a credential the API server answers, not the gateway", async () => {
  const { cluster, url } = gateway();
  const caCerts = [await Deno.readTextFile(cluster.paths.caCertificate)];
  using client = Deno.createHttpClient({ caCerts });
  const answer = async (server: string) => {
    const response = await fetch(`${server}/api/v1/namespaces/default/pods`, { client });
    return { code: response.status, body: await response.json() };
  };
  const direct = await answer(cluster.apiServerUrl);
  assert.ok(direct.code === 401 || direct.code === 403);
  assert.deepEqual(await answer(url), direct);
});

function live(name: string, fn: () => Promise<void>): void {
  Deno.test({ name, fn, sanitizeOps: true, sanitizeResources: true });
}

async function through(run: Omit<KubectlRun, "cluster" | "endpoint">) {
  return texts(await kubectl({ ...run, cluster: gateway().cluster, endpoint: gateway() }));
}

function endpointUrl(endpoint: Endpoint): string {
  return endpoint === gateway() ? gateway().url : gateway().cluster.apiServerUrl;
}

function texts({ code, stdout, stderr }: Awaited<ReturnType<typeof kubectl>>) {
  const decoder = new TextDecoder();
  return { code, stdout: decoder.decode(stdout), stderr: decoder.decode(stderr) };
}
