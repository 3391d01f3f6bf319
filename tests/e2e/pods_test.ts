/**
 * The pods of the documents, run for real: init containers, volumes, projected volumes, the downward API. What they mount is
 * read by exec, beside the API server and through the gateway.
 */

import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { join } from "node:path";
import { ROOT } from "./support/cluster.ts";
import { sharedGateway } from "./support/gateway.ts";
import { type Endpoint, kubectl } from "./support/kubectl.ts";
import { asAdmin } from "./support/service_account.ts";
import { both, normalised } from "./support/side_by_side.ts";

const gateway = sharedGateway();

const MANIFESTS = join(ROOT, "tests", "e2e", "manifests", "documents.yaml");
const READY_PODS = ["e2e-docs-volumes", "e2e-docs-projected", "e2e-docs-downward"];
Deno.test.beforeAll(async () => {
  const { cluster } = gateway();
  await asAdmin(cluster, "delete", "-f", MANIFESTS, "--ignore-not-found", "--now");
  await asAdmin(cluster, "create", "-f", MANIFESTS);
  const ready = READY_PODS.map((name) => `pod/${name}`);
  await asAdmin(cluster, "wait", ...ready, "--for=condition=Ready", "--timeout=60s");
  const initRuns = "jsonpath={.status.initContainerStatuses[0].state.running.startedAt}";
  await asAdmin(cluster, "wait", "pod/e2e-docs-init", `--for=${initRuns}`, "--timeout=60s");
});
Deno.test.afterAll(async () => {
  await asAdmin(gateway().cluster, "delete", "-f", MANIFESTS, "--now");
});

interface Row {
  name: string;
  /** Pod, without the `e2e-docs-` that all have; `-c` and a container may follow. */
  in: readonly string[];
  command: readonly string[];
  stdout: string | RegExp;
  /** @default {0} */
  code?: number;
  stderr?: RegExp;
}

const volumes = ["volumes", "-c", "main"];
const rows: readonly Row[] = [
  {
    name: "an emptyDir has what another container wrote",
    in: volumes,
    command: ["cat", "/scratch/file"],
    stdout: "shared\n",
  },
  {
    name: "a folder of the node can be read",
    in: volumes,
    command: ["grep", "node1", "/node/etc/hosts"],
    stdout: /^127\.0\.0\.1 node1/,
  },
  {
    name: "a folder of the node that is mounted readOnly can not be written",
    in: volumes,
    command: ["touch", "/node/etc/written-by-a-test"],
    stdout: "",
    code: 1,
    stderr: /Read-only file system/,
  },
  {
    name: "a config map is a file for each key",
    in: volumes,
    command: ["sh", "-c", "ls /config; cat /config/greeting"],
    stdout: "greeting\nsettings.ini\nhello from a config map",
  },
  {
    name: "one file of a config map by subPath",
    in: volumes,
    command: ["cat", "/settings.ini"],
    stdout: "[log]\nlevel = debug\n",
  },
  {
    name: "a secret's key has the path and mode that were asked for",
    in: volumes,
    command: ["sh", "-c", "stat -Lc %a /secret/my/password; cat /secret/my/password"],
    stdout: "400\ncorrect horse",
  },
  {
    name: "a projected volume has all its sources",
    in: ["projected"],
    command: ["sh", "-c", "cd /projected; find -L . -type f | grep -v '/\\.\\.' | sort; cat my-group/*"],
    stdout:
      "./cpu_limit\n./labels\n./my-group/greeting\n./my-group/username\n./token\nhello from a config mapadmin",
  },
  {
    name: "a projected volume has labels and limits",
    in: ["projected"],
    command: ["sh", "-c", "cat /projected/labels; echo; cat /projected/cpu_limit"],
    stdout: 'app="documents"\ntier="1"\n500',
  },
  {
    name: "the downward API by environment",
    in: ["downward"],
    command: ["sh", "-c", "env | grep ^MY_ | grep -v ^MY_POD_IP | sort"],
    stdout: [
      "MY_CPU_REQUEST=50",
      "MY_MEM_LIMIT=67108864",
      "MY_NODE_NAME=node1",
      "MY_POD_NAME=e2e-docs-downward",
      "MY_POD_NAMESPACE=default",
      "MY_POD_SERVICE_ACCOUNT=default\n",
    ].join("\n"),
  },
  {
    name: "the downward API knows the pod's address",
    in: ["downward"],
    command: ["sh", "-c", 'echo "$MY_POD_IP"'],
    stdout: /^10\.244\.77\.\d+\n$/,
  },
  {
    name: "keys of a config map and a secret by environment",
    in: ["downward"],
    command: ["sh", "-c", 'echo "$GREETING, $DOCS_username, $DOCS_password"'],
    stdout: "hello from a config map, admin, correct horse\n",
  },
  {
    name: "the downward API by files",
    in: ["downward"],
    command: ["sh", "-c", "cat /etc/podinfo/labels; echo; grep ^build /etc/podinfo/annotations"],
    stdout: 'app="documents"\nzone="us-est-coast"\nbuild="two"\nbuilder="john doe"\n',
  },
];

for (const client of ["websocket", "kubectl-1.20"] as const) {
  for (const { name, in: place, command, stdout, code = 0, stderr = /^$/ } of rows) {
    live(`exec reads by ${client}: ${name}`, async () => {
      const [direct, through] = await both(gateway(), (endpoint) => exec(endpoint, client, place, command));
      if (typeof stdout === "string") assert.equal(direct.stdout, stdout, direct.stderr);
      else assert.match(direct.stdout, stdout);
      assert.equal(direct.code, code);
      assert.match(direct.stderr, stderr);
      assert.deepEqual(through, direct);
    });
  }
}

live("exec reads a token that is for the audience that was asked for", async () => {
  const { stdout } = await exec(gateway(), "websocket", ["projected"], ["cat", "/projected/token"]);
  const [, payload = ""] = stdout.split(".");
  const { aud, sub, iat, exp } = JSON.parse(Buffer.from(payload, "base64url").toString());
  assert.deepEqual([aud, sub, exp - iat], [["vault"], "system:serviceaccount:default:default", 7200]);
});

live("exec into an init container that runs lets it end, and the pod begins", async () => {
  const prepare = ["init", "-c", "prepare"];
  const early = await exec(gateway(), "websocket", ["init", "-c", "main"], ["true"]);
  assert.equal(early.code, 1, "main waits for the init container");
  assert.equal(
    (await exec(gateway(), "websocket", prepare, ["cat", "/work/index.html"])).stdout,
    "prepared\n",
  );
  assert.equal((await exec(gateway(), "websocket", prepare, ["touch", "/work/go"])).code, 0);
  await asAdmin(gateway().cluster, "wait", "pod/e2e-docs-init", "--for=condition=Ready", "--timeout=30s");
  const page = ["wget", "-qO-", "http://127.0.0.1:8080/"];
  assert.equal((await exec(gateway(), "websocket", ["init", "-c", "main"], page)).stdout, "prepared\n");
});

function live(name: string, fn: () => Promise<void>): void {
  Deno.test({ name, fn, sanitizeOps: true, sanitizeResources: true });
}

async function exec(
  endpoint: Endpoint,
  client: "websocket" | "kubectl-1.20",
  [pod = "", ...options]: readonly string[],
  command: readonly string[],
) {
  const args = ["exec", `e2e-docs-${pod}`, ...options, "--", ...command];
  const outcome = await kubectl({ cluster: gateway().cluster, endpoint, client, args });
  const { code, stdout, stderr } = normalised(gateway(), outcome);
  return { code, stdout: new TextDecoder().decode(stdout), stderr };
}
