/**
 * The commands that copy files are exec with tar or rsync at its other end. Each must leave the same files through the gateway
 * as straight at the API server, and say the same.
 *
 * OpenShift's `oc` is in no registry that these tests can install from. `oc rsh` and `oc rsync` are kubectl's own exec
 * with a fixed command line (pkg/cli/rsh, pkg/cli/rsync of openshift/oc), which is what is run here; where the machine has
 * an `oc`, it is run too.
 */

import assert from "node:assert/strict";
import { join } from "node:path";
import { run as runLocally } from "../cluster/processes.ts";
import { runningCluster } from "./support/cluster.ts";
import { Digest, pattern } from "./support/digest.ts";
import { sharedGateway } from "./support/gateway.ts";
import { ALL_CLIENTS, type Client, CLIENTS, type Endpoint, kubectl } from "./support/kubectl.ts";
import { ASLEEP, createPod, deletePod } from "./support/pods.ts";
import { writeRemoteShell } from "./support/remote_shell.ts";
import { asAdmin } from "./support/service_account.ts";
import { both, normalised, withoutNames } from "./support/side_by_side.ts";
import { Terminal } from "./support/terminal.ts";
import { makeTree, SAY_TREE } from "./support/tree.ts";

const gateway = sharedGateway();
const OC = (await runningCluster()).paths.oc;

const POD = "e2e-copy";
let work = "";
Deno.test.beforeAll(async () => {
  work = await Deno.makeTempDir({ prefix: "postern-copy-" });
  await makeTree(join(work, "tree"));
  await createPod(gateway().cluster, POD, { containers: { main: { command: ASLEEP } } });
});
Deno.test.afterAll(async () => {
  await deletePod(gateway().cluster, POD);
  await Deno.remove(work, { recursive: true });
});

for (const client of ALL_CLIENTS) {
  live(`kubectl cp of a folder to a pod leaves the same by ${client}`, async () => {
    const [direct, through] = await both(gateway(), async (endpoint) => {
      const there = `/tmp/${crypto.randomUUID()}`;
      const outcome = await cp(endpoint, client, join(work, "tree"), `${POD}:${there}`);
      return { ...outcome, tree: await treeInPod(there) };
    });
    assert.equal(direct.code, 0, direct.stderr);
    assert.equal(direct.tree, await treeHere(join(work, "tree")));
    assert.deepEqual(through, direct);
  });

  live(`kubectl cp of a folder from a pod leaves the same by ${client}`, async () => {
    const there = await placeTree();
    const [direct, through] = await both(gateway(), async (endpoint) => {
      const here = await Deno.makeTempDir({ dir: work });
      const outcome = await cp(endpoint, client, `${POD}:${there}`, join(here, "tree"));
      return { ...outcome, stderr: outcome.stderr.replaceAll(here, "<here>"), tree: await treeHere(here) };
    });
    assert.equal(direct.code, 0, direct.stderr);
    assert.match(direct.tree, /large\.bin 644 [0-9a-f]{64}/);
    assert.deepEqual(through, direct);
  });
}

/** Not among them: a file that is not there in the pod. kubectl often ends, with 0, before it has shown what tar says of it. */
const refusals = [
  {
    name: "a pod that is not there",
    from: "nosuch:/etc/passwd",
    to: "<here>/copy",
    stderr: /"nosuch" not found/,
  },
  {
    name: "a folder that takes no files",
    from: "<work>/tree/plain.txt",
    to: `${POD}:/proc/plain.txt`,
    stderr: /./,
  },
  {
    name: "a container that is not there",
    from: `${POD}:/etc/passwd`,
    to: "<here>/copy",
    args: ["-c", "nosuch"],
    stderr: /nosuch/,
  },
];
for (const client of CLIENTS) {
  for (const { name, from, to, args = [], stderr } of refusals) {
    live(`kubectl cp says the same by ${client} of ${name}`, async () => {
      const [direct, through] = await both(gateway(), async (endpoint) => {
        const here = await Deno.makeTempDir({ dir: work });
        const path = (word: string) => word.replace("<here>", here).replace("<work>", work);
        const outcome = await cp(endpoint, client, path(from), path(to), ...args);
        return { ...outcome, stderr: outcome.stderr.replaceAll(here, "<here>") };
      });
      assert.match(direct.stderr, stderr);
      assert.deepEqual(through, direct);
    });
  }
}

live("kubectl cp carries 1 GB to a pod and back unchanged", async () => {
  const [here, back, there] = [join(work, "large"), join(work, "back"), "/tmp/large"];
  const sent = new Digest();
  const file = await Deno.open(here, { write: true, createNew: true });
  await pattern(1_000_000_000, sent).pipeTo(file.writable);
  const sha256 = sent.hex();

  const up = await cp(gateway(), "websocket", here, `${POD}:${there}`);
  assert.deepEqual([up.code, up.stderr], [0, ""]);
  await Deno.remove(here);
  assert.equal((await inPod("sha256sum", there)).split(" ")[0], sha256);

  const down = await cp(gateway(), "kubectl-1.34-spdy", `${POD}:${there}`, back);
  assert.deepEqual([down.code, down.stderr], [0, ""]);
  await inPod("rm", there);
  assert.equal((await runLocally(["sha256sum", back])).split(" ")[0], sha256);
  await Deno.remove(back);
});

for (const client of CLIENTS) {
  live(`rsync with a kubectl-exec shell copies both ways by ${client}`, async () => {
    const [direct, through] = await both(gateway(), async (endpoint) => {
      const rsync = await rsyncBy(endpoint, client);
      const [there, here] = [`/tmp/${crypto.randomUUID()}`, await Deno.makeTempDir({ dir: work })];
      await rsync("--archive", `${work}/tree/`, `${POD}:${there}/`);
      const inThePod = await treeInPod(there);
      await rsync("--archive", `${POD}:${there}/`, `${here}/`);
      return { inThePod, here: await treeHere(here) };
    });
    const tree = await treeHere(join(work, "tree"));
    assert.deepEqual(direct, { inThePod: tree, here: tree });
    assert.deepEqual(through, direct);
  });
}

/** What `oc rsync` gives to rsync, by its default strategy. */
const OC_RSYNC = [
  "--blocking-io",
  "--archive",
  "--no-owner",
  "--no-group",
  "--omit-dir-times",
  "--numeric-ids",
];

live("rsync as oc rsync calls it: --delete takes away what is not in the source", async () => {
  const there = await placeTree();
  await inPod("sh", "-c", `echo stray > ${there}/stray; mkdir ${there}/strays; rm ${there}/plain.txt`);
  const rsync = await rsyncBy(gateway());
  await rsync(...OC_RSYNC, "--delete", `${work}/tree/`, `${POD}:${there}/`);
  assert.equal(await treeInPod(there), await treeHere(join(work, "tree")));
});

live("rsync as oc rsync --watch calls it: again after each change", async () => {
  const here = await Deno.makeTempDir({ dir: work });
  const there = `/tmp/${crypto.randomUUID()}`;
  const rsync = await rsyncBy(gateway());
  const changes = [
    () => Deno.writeTextFile(join(here, "first"), "1"),
    () => Deno.writeTextFile(join(here, "first"), "changed"),
    () => Deno.mkdir(join(here, "folder")),
    () => Deno.remove(join(here, "first")),
  ];
  for (const change of changes) {
    await change();
    await rsync(...OC_RSYNC, "--delete", `${here}/`, `${POD}:${there}/`);
    assert.equal(await treeInPod(there), await treeHere(here));
  }
});

live("tar as oc rsync calls it: --delete empties the folder first, and tar fills it", async () => {
  const there = await placeTree();
  await inPod("sh", "-c", `echo stray > ${there}/.stray`);
  const archive = join(work, "archive.tar");
  await runLocally(["tar", "-C", join(work, "tree"), "-cf", archive, "."]);
  const emptied = await exec("bash", "-c", `shopt -s dotglob && rm -rf ${there}/*`);
  assert.equal(emptied.code, 0, emptied.stderr);
  const file = await Deno.open(archive);
  const filled = await kubectl({
    cluster: gateway().cluster,
    endpoint: gateway(),
    args: ["exec", "-i", POD, "--", "tar", "-C", there, "-ox"],
    stdin: file.readable,
  });
  assert.equal(filled.code, 0);
  assert.equal(await treeInPod(there), await treeHere(join(work, "tree")));
});

live("tar as oc rsync calls it: from a pod", async () => {
  const there = await placeTree();
  const here = await Deno.makeTempDir({ dir: work });
  const { code, stdout } = await exec("tar", "-C", `${there}/`, "-c", ".");
  assert.equal(code, 0);
  await Deno.writeFile(join(here, "archive.tar"), stdout);
  await runLocally(["tar", "-xf", "archive.tar"], { cwd: here });
  await Deno.remove(join(here, "archive.tar"));
  assert.equal(await treeHere(here), await treeHere(join(work, "tree")));
});

for (const client of ALL_CLIENTS) {
  live(`a shell as oc rsh opens it is the same in a terminal by ${client}`, async () => {
    const [direct, through] = await both(gateway(), async (endpoint) => {
      const args = ["exec", "-it", POD, "--", "/bin/sh", "-c", 'TERM="xterm" /bin/sh'];
      const terminal = new Terminal({ cluster: gateway().cluster, endpoint, client, args }, {
        columns: 80,
        rows: 24,
      });
      await terminal.shows("/ # ");
      terminal.type("echo $TERM-$((6*7))\r");
      await terminal.shows("\nxterm-42\r\n");
      await terminal.shows("/ # ");
      terminal.type("exit 4\r");
      const code = await terminal.end();
      return { code, shown: withoutRedraws(withoutNames(gateway(), terminal.output)) };
    });
    assert.equal(direct.code, 4);
    assert.deepEqual(through, direct);
  });
}

for (const strategy of ["rsync", "tar"]) {
  liveWithOc(`oc rsync --strategy=${strategy} copies a folder`, async (oc) => {
    const there = `/tmp/${crypto.randomUUID()}`;
    await inPod("mkdir", there);
    await oc("rsync", `--strategy=${strategy}`, `${work}/tree/`, `${POD}:${there}`);
    assert.equal(await treeInPod(there), await treeHere(join(work, "tree")));
  });
}

liveWithOc("oc rsh runs a command", async (oc) => {
  assert.equal(await oc("rsh", POD, "echo", "hello"), "hello\n");
});

/** Ignored, and shown as such, where the machine has no `oc`. */
function liveWithOc(name: string, fn: (oc: (...args: string[]) => Promise<string>) => Promise<void>): void {
  const oc = (...args: string[]) =>
    runLocally([OC ?? "oc", "--kubeconfig", gateway().kubeconfig, "--context", "root", ...args]);
  Deno.test({
    name,
    ignore: OC === undefined,
    fn: () => fn(oc),
    sanitizeOps: true,
    sanitizeResources: true,
  });
}

function live(name: string, fn: () => Promise<void>): void {
  Deno.test({ name, fn, sanitizeOps: true, sanitizeResources: true });
}

/** The shell writes its prompt, and what was typed so far, again when the terminal's size reaches it, whenever that is. */
function withoutRedraws(shown: string): string {
  // deno-lint-ignore no-control-regex
  return shown.replaceAll(/\r\/ # [^\r\n\x1b]*\x1b\[J/g, "");
}

async function cp(endpoint: Endpoint, client: Client, from: string, to: string, ...args: string[]) {
  const { cluster } = gateway();
  const outcome = await kubectl({
    cluster,
    endpoint,
    client,
    args: ["cp", ...args, from, to],
    deadlineMs: 120_000,
  });
  const { code, stdout, stderr } = normalised(gateway(), outcome);
  return { code, stdout: new TextDecoder().decode(stdout), stderr };
}

/** Through the gateway. */
async function exec(...command: string[]) {
  const { cluster } = gateway();
  const args = ["exec", POD, "--", ...command];
  return normalised(gateway(), await kubectl({ cluster, endpoint: gateway(), args }));
}

/** rsync, with a script for its remote shell that runs kubectl exec; it must succeed. */
async function rsyncBy(endpoint: Endpoint, client: Client = "websocket") {
  const script = join(await Deno.makeTempDir({ dir: work }), "rsh");
  await writeRemoteShell(script, { cluster: gateway().cluster, endpoint, client });
  return (...args: string[]) => runLocally(["rsync", "--rsh", script, ...args]);
}

/** The tree, in a folder of the pod's that no other test has. @returns its path */
async function placeTree(): Promise<string> {
  const there = `/tmp/${crypto.randomUUID()}`;
  await asAdmin(gateway().cluster, "cp", join(work, "tree"), `${POD}:${there}`);
  return there;
}

async function inPod(...command: string[]): Promise<string> {
  return await asAdmin(gateway().cluster, "exec", POD, "--", ...command);
}

async function treeInPod(folder: string): Promise<string> {
  return await inPod("sh", "-c", SAY_TREE, "sh", folder);
}

async function treeHere(folder: string): Promise<string> {
  return (await runLocally(["sh", "-c", SAY_TREE, "sh", folder])).trim();
}
