/**
 * What the chart makes of values of every kind, and the plain manifests, as the real API server takes them: each object, with every
 * field known, and none that Pod Security `restricted` would warn of. Nothing of it is made.
 */

import assert from "node:assert/strict";
import { join } from "node:path";
import { parseAllDocuments } from "yaml";
import { z } from "zod";
import { CHART, findHelm, helm } from "../../deploy/helm/helm.ts";
import { type Cluster, ROOT, runningCluster } from "./support/cluster.ts";
import { kubectl } from "./support/kubectl.ts";
import { type CustomResourceDefinition, operatorsCrds } from "./support/operators_crds.ts";
import { asAdmin } from "./support/service_account.ts";

const VARIANTS = [...Deno.readDirSync(join(CHART, "ci"))].map(({ name }) => name).sort();
const MANIFESTS = [...Deno.readDirSync(join(ROOT, "deploy", "manifests"))].map(({ name }) => name)
  .filter((name) => name.endsWith(".yaml")).sort();

const NAMESPACE = `e2e-dry-run-${crypto.randomUUID().slice(0, 8)}`;

const object = z.looseObject({
  apiVersion: z.string(),
  kind: z.string(),
  metadata: z.looseObject({ name: z.string() }),
  spec: z.looseObject({}).optional(),
});
type Rendered = z.infer<typeof object>;

let cluster: Cluster;
let binary: string;
let crds: CustomResourceDefinition[] = [];
let turn: Deno.FsFile;

Deno.test.beforeAll(async () => {
  [cluster, binary] = await Promise.all([runningCluster(), findHelm()]);
  // Definitions are the whole cluster's: who runs this file at the same time would take them from the other.
  turn = await Deno.open(join(cluster.directory, "definitions.lock"), { create: true, write: true });
  await turn.lock(true);
  crds = await operatorsCrds();
  const levels = ["enforce", "warn", "audit"].map((
    mode,
  ) => [`pod-security.kubernetes.io/${mode}`, "restricted"]);
  const namespace = {
    apiVersion: "v1",
    kind: "Namespace",
    metadata: { name: NAMESPACE, labels: Object.fromEntries(levels) },
  };
  // A run that was killed may have left definitions behind.
  await succeed(["apply", "--server-side", "--force-conflicts", "--filename=-"], [namespace, ...crds]);
  const names = crds.map(({ metadata }) => `crd/${metadata.name}`);
  await asAdmin(cluster, "wait", "--for=condition=Established", "--timeout=60s", ...names);
});
Deno.test.afterAll(async () => {
  const names = crds.map(({ metadata }) => `crd/${metadata.name}`);
  if (names.length > 0) await asAdmin(cluster, "delete", "--ignore-not-found", ...names);
  await asAdmin(cluster, "delete", "namespace", NAMESPACE, "--ignore-not-found", "--wait=false");
  turn.close();
});

const CREATE = ["create", "--dry-run=server", "--validate=strict", "--filename=-"];

for (const variant of VARIANTS) {
  live(`helm, server-side dry run: ${variant}`, async () => await taken(await objectsOf(variant)));
}

for (const file of MANIFESTS) {
  live(`manifests, server-side dry run: ${file}`, async () => {
    const text = await Deno.readTextFile(join(ROOT, "deploy", "manifests", file));
    // The tests' own gateway has some of the names.
    const [namespace, ...objects] = parseObjects(text.replaceAll("postern-system", NAMESPACE));
    assert.equal(namespace?.kind, "Namespace");
    await taken(objects);
  });
}

live("helm, server-side dry run: every definition that is there is one that some variant uses", async () => {
  const kinds = (await Promise.all(VARIANTS.map(objectsOf))).flat().map(({ kind }) => kind);
  const unused = crds.map(({ spec }) => z.object({ kind: z.string() }).parse(spec["names"]).kind)
    .filter((kind) => !kinds.includes(kind));
  assert.deepEqual(unused, []);
});

live(
  "helm, server-side dry run: a field that nobody knows would be found in whatever has a specification",
  async () => {
    const byKind = new Map(
      (await Promise.all(VARIANTS.map(objectsOf))).flat().map((each) => [each.kind, each]),
    );
    const misspelt = [...byKind.values()].filter(({ spec }) => spec !== undefined)
      .map((each) => ({ ...each, spec: { ...each.spec, nonsense: true } }));
    assert.ok(misspelt.length >= 9, String(misspelt.map(({ kind }) => kind)));
    const { code, stdout, stderr } = await run(CREATE, misspelt);
    assert.notEqual(code, 0);
    assert.equal(stdout, "", "nothing of it is taken");
    const found = stderr.match(/unknown field "spec\.nonsense"/g) ?? [];
    assert.ok(found.length >= misspelt.length, stderr);
  },
);

live(
  "helm, server-side dry run: a pod that asks for more than `restricted` gives would be found",
  async () => {
    const objects = await objectsOf("default-values.yaml");
    const Pod = z.looseObject({ spec: z.looseObject({}) });
    const greedy = objects.flatMap((each): Rendered[] => {
      if (each.kind === "Pod") return [{ ...each, spec: { ...each.spec, hostNetwork: true } }];
      if (each.kind !== "Deployment") return [];
      const template = Pod.parse(each.spec?.["template"]);
      return [{
        ...each,
        spec: { ...each.spec, template: { ...template, spec: { ...template.spec, hostPID: true } } },
      }];
    });
    assert.equal(greedy.length, 2);
    const { stdout, stderr } = await run(CREATE, greedy);
    assert.match(
      stderr,
      /^Warning: would violate PodSecurity "restricted:latest": host namespaces \(hostPID=true\)$/m,
    );
    assert.match(stderr, /pods ".*" is forbidden: violates PodSecurity "restricted:latest": host namespaces/);
    assert.doesNotMatch(stdout, /^pod\//m);
  },
);

/** All of them would be made, and the API server has nothing to say to any. */
async function taken(objects: readonly Rendered[]): Promise<void> {
  const { stdout, stderr } = await succeed(CREATE, objects);
  assert.equal(stderr, "", "a warning");
  assert.equal(stdout.match(/ created \(server dry run\)$/gm)?.length, objects.length, stdout);
}

const rendered = new Map<string, Rendered[]>();

/** What the chart makes of a variant's values in this cluster, its test among it. */
async function objectsOf(variant: string): Promise<Rendered[]> {
  const known = rendered.get(variant);
  if (known !== undefined) return known;
  const server = [`--kubeconfig=${cluster.paths.kubeconfig}`, "--kube-context=admin", "--dry-run=server"];
  const values = `--values=${join(CHART, "ci", variant)}`;
  const args = ["template", "postern", CHART, `--namespace=${NAMESPACE}`, values, ...server, "--validate"];
  const { success, out, error } = await helm(binary, ...args);
  assert.ok(success, error);
  const objects = parseObjects(out);
  rendered.set(variant, objects);
  return objects;
}

function parseObjects(text: string): Rendered[] {
  return parseAllDocuments(text).map((document): unknown => document.toJS()).filter((value) => value !== null)
    .map((value) => object.parse(value));
}

/** Runs kubectl as administrator, on objects: one by one, because of a `List` it leaves no field to the server to validate. */
async function run(args: readonly string[], objects: readonly unknown[]) {
  const { code, stdout, stderr } = await kubectl({
    cluster,
    endpoint: cluster.paths,
    client: "kubectl-1.34",
    user: "admin",
    args,
    stdin: new TextEncoder().encode(objects.map((each) => JSON.stringify(each)).join("\n---\n")),
    deadlineMs: 120_000,
  });
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes).trimEnd();
  return { code, stdout: text(stdout), stderr: text(stderr) };
}

async function succeed(args: readonly string[], objects: readonly unknown[]) {
  const said = await run(args, objects);
  assert.equal(said.code, 0, said.stderr);
  return said;
}

function live(name: string, fn: () => Promise<void>): void {
  Deno.test({ name, fn, sanitizeOps: true, sanitizeResources: true });
}
