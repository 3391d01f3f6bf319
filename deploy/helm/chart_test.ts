import assert from "node:assert/strict";
import { parse, parseAllDocuments } from "yaml";
import { z } from "zod";
import { needsOf } from "../../cli/doctor/rbac.ts";
import { API_VERSION, KIND } from "../../config/gateway_configuration.ts";
import { parseConfiguration } from "../../config/load.ts";
import { DEFINITIONS } from "../../observability/definitions.ts";
import { chartValues, VALUES_SCHEMA, valuesSchema } from "./values_schema.ts";

/** What can be said of the chart without Helm. What Helm makes of it is tested in tests/e2e/helm_test.ts. */

const read = (path: string) => Deno.readTextFile(new URL(path, import.meta.url));

const anything = z.record(z.string(), z.unknown());
/** As much of a rendered object as the tests look at. */
const object = z.object({ kind: z.string(), metadata: z.object({ name: z.string() }) });
const rule = z.object({
  apiGroups: z.array(z.string()),
  resources: z.array(z.string()),
  verbs: z.array(z.string()),
});

/** The objects of a rendered file. */
async function rendered(file: string): Promise<Record<string, unknown>[]> {
  return parseAllDocuments(await read(`../manifests/${file}`)).map((document) =>
    anything.parse(document.toJS())
  );
}

/** The one object of a kind and name. */
function only(objects: readonly Record<string, unknown>[], kind: string, name: string) {
  const found = objects.filter((each) => {
    const { kind: is, metadata } = object.parse(each);
    return is === kind && metadata.name === name;
  });
  assert.equal(found.length, 1, `${kind} ${name}`);
  return found[0]!;
}

Deno.test("values.schema.json is current (else: deno task generate)", async () => {
  assert.equal(await Deno.readTextFile(VALUES_SCHEMA), valuesSchema());
});

Deno.test("values.yaml has a value for everything that can be said, and nothing else", async () => {
  const values: unknown = parse(await read("postern/values.yaml"));
  chartValues.parse(values);
  const missing: string[] = [];
  walk(JSON.parse(valuesSchema()), values, "");
  // What charts within charts say; the configuration's defaults are its own.
  assert.deepEqual(missing, ["global"]);

  function walk(schema: { properties?: Record<string, never> }, value: unknown, path: string): void {
    if (schema.properties === undefined || path === "config.") return;
    const given = anything.parse(value);
    for (const [key, inner] of Object.entries(schema.properties)) {
      if (!Object.hasOwn(given, key)) missing.push(`${path}${key}`);
      else walk(inner, given[key], `${path}${key}.`);
    }
  }
});

Deno.test("every pattern of the schema is one that Go can read, which looks neither ahead nor back", () => {
  const patterns = [...valuesSchema().matchAll(/"pattern": "(.*)"/g)].map(([, pattern = ""]) => pattern);
  assert.ok(patterns.length > 10);
  assert.deepEqual(patterns.filter((pattern) => /\(\?[=!<]|\\\\[1-9]/.test(pattern)), []);
});

for await (const { name } of Deno.readDir(new URL("postern/ci", import.meta.url))) {
  Deno.test(`${name} says what can be said`, async () => {
    chartValues.parse(parse(await read(`postern/ci/${name}`)));
  });
}

for (
  const [what, values] of [
    ["a key that is misspelled", { replicaCuont: 2 }],
    ["a key of the configuration that is misspelled", { config: { upstream: { mod: "kubelet" } } }],
    ["a mode that there is not", { config: { upstream: { mode: "proxy" } } }],
    ["a tag instead of a digest", { image: { digest: "latest" } }],
    [
      "a file that leads out of its folder",
      { files: [{ secret: "a", key: "b", path: "../../usr/bin/deno" }] },
    ],
    ["an absolute file", { files: [{ secret: "a", key: "b", path: "/etc/passwd" }] }],
    ["a file of both a Secret and a ConfigMap", {
      files: [{ secret: "a", configMap: "a", key: "b", path: "c" }],
    }],
    ["a range that is none", { networkPolicy: { kubelets: { cidrs: ["everywhere"] } } }],
    ["no gateway at all", { replicaCount: 0 }],
  ] as const
) {
  Deno.test(`the schema refuses ${what}`, () => {
    assert.equal(chartValues.safeParse(values).success, false);
  });
}

Deno.test("the chart's version of the application is that of package.json", async () => {
  const { appVersion } = z.object({ appVersion: z.string() }).parse(parse(await read("postern/Chart.yaml")));
  const { version } = z.object({ version: z.string() }).parse(JSON.parse(await read("../../package.json")));
  assert.equal(appVersion, version);
});

for (const file of ["kubelet.yaml", "apiserver.yaml", "apiserver-gateway.yaml"]) {
  Deno.test(`${file}: the gateway would take its configuration`, async () => {
    const { data } = z.object({ data: z.record(z.string(), z.string()) }).parse(
      only(await rendered(file), "ConfigMap", "postern"),
    );
    const configuration = parseConfiguration(data["gateway.yaml"] ?? "", "/etc/postern/gateway.yaml");
    const { mode, apiserver: { identity } } = configuration.upstream;
    assert.equal(`${mode}${identity === "gateway" ? "-gateway" : ""}.yaml`, file);
    assert.equal(configuration.admin.listener, "on");
  });

  Deno.test(`${file}: the gateway is granted what \`postern doctor\` finds it needs, and nothing else`, async () => {
    const { rules } = z.object({ rules: z.array(rule) }).parse(
      only(await rendered(file), "ClusterRole", "postern:postern-system:gateway"),
    );
    const [mode = "", ...asGateway] = file.replace(".yaml", "").split("-");
    const upstream = { mode, ...(asGateway.length > 0 && { apiserver: { identity: "gateway" } }) };
    const minimal = JSON.stringify({ apiVersion: API_VERSION, kind: KIND, upstream });
    const needs = needsOf(parseConfiguration(minimal, "/etc/postern/gateway.yaml"));
    const granted = rules.flatMap(({ apiGroups, resources, verbs }) =>
      apiGroups.flatMap((group) =>
        resources.flatMap((resource) => verbs.map((verb) => ({ group, resource, verb })))
      )
    );
    const words = ({ group, resource, verb }: typeof granted[number]) => `${verb} ${group}/${resource}`;
    assert.deepEqual(granted.map(words).sort(), needs.map(words).sort());
  });

  Deno.test(`${file}: the pod is one that Pod Security "restricted" takes, and writes to nothing but volumes`, async () => {
    const security = z.object({
      runAsNonRoot: z.literal(true),
      runAsUser: z.int().min(1),
      seccompProfile: z.object({ type: z.literal("RuntimeDefault") }),
    });
    const container = z.object({
      securityContext: z.strictObject({
        allowPrivilegeEscalation: z.literal(false),
        readOnlyRootFilesystem: z.literal(true),
        capabilities: z.strictObject({ drop: z.tuple([z.literal("ALL")]) }),
      }),
      ports: z.array(z.strictObject({ name: z.string(), containerPort: z.int().min(1024) })),
    });
    const pod = z.object({
      hostNetwork: z.undefined().optional(),
      hostPID: z.undefined().optional(),
      hostIPC: z.undefined().optional(),
      securityContext: security,
      containers: z.tuple([container]),
      initContainers: z.undefined().optional(),
      volumes: z.array(
        z.object({ name: z.string() }).and(
          z.union([
            z.object({ projected: anything }),
            z.object({ emptyDir: anything }),
            z.object({ persistentVolumeClaim: anything }),
          ]),
        ),
      ),
    });
    const deployment = only(await rendered(file), "Deployment", "postern");
    z.object({ spec: z.object({ template: z.object({ spec: pod }) }) }).parse(deployment);
  });

  Deno.test(`${file}: a stolen token is good for an hour, not for a year`, async () => {
    const token = z.object({ serviceAccountToken: z.object({ expirationSeconds: z.int() }) });
    const volume = z.object({
      projected: z.object({ sources: z.array(z.union([token, anything])) }).optional(),
    });
    const pod = z.object({ automountServiceAccountToken: z.literal(false), volumes: z.array(volume) });
    const { spec } = z.object({ spec: z.object({ template: z.object({ spec: pod }) }) })
      .parse(only(await rendered(file), "Deployment", "postern"));
    const tokens = spec.template.spec.volumes.flatMap(({ projected }) => projected?.sources ?? [])
      .flatMap((source) => {
        const { success, data } = token.safeParse(source);
        return success ? [data.serviceAccountToken.expirationSeconds] : [];
      });
    // 3607 is what the API server takes for a client that does not know of tokens that end, and extends.
    assert.deepEqual(tokens, [3600]);
  });

  Deno.test(`${file}: Kubernetes waits for longer than the gateway drains`, async () => {
    const objects = await rendered(file);
    const { data } = z.object({ data: z.record(z.string(), z.string()) }).parse(
      only(objects, "ConfigMap", "postern"),
    );
    const { server } = parseConfiguration(data["gateway.yaml"] ?? "", "/etc/postern/gateway.yaml");
    const { spec } = z.object({
      spec: z.object({ template: z.object({ spec: z.object({ terminationGracePeriodSeconds: z.int() }) }) }),
    })
      .parse(only(objects, "Deployment", "postern"));
    assert.ok(spec.template.spec.terminationGracePeriodSeconds >= server.drainTimeoutSeconds + 30);
    assert.ok(server.shutdownDelaySeconds > 0, "who balances has to notice");
  });

  Deno.test(`${file}: no key and no certificate is in it, and nothing that only Helm knows`, async () => {
    const objects = await rendered(file);
    assert.deepEqual(objects.filter(({ kind }) => kind === "Secret"), []);
    assert.doesNotMatch(await read(`../manifests/${file}`), /helm\.sh|Helm/);
  });
}

/** Names of metrics in an expression, without what a histogram adds to its own. */
function metricsOf(expression: string): string[] {
  return [...expression.matchAll(/\b(?:postern|process)_[a-z_]+/g)].map(([name]) =>
    name.replace(/_(bucket|sum|count)$/, "")
  );
}

/** Labels that an expression selects or groups by. */
function labelsOf(expression: string): string[] {
  const grouped = [...expression.matchAll(/\bby \(([^)]*)\)/g)].flatMap(([, list = ""]) =>
    list.split(/,\s*/)
  );
  const selected = [...expression.matchAll(/([a-z_]+)=~?"/g)].map(([, label = ""]) => label);
  return [...grouped, ...selected];
}

const KNOWN = new Map<string, readonly string[]>(
  Object.values<{ name: string; labels?: readonly string[] }>(DEFINITIONS).map((each) =>
    [each.name, each.labels ?? []] as const
  ),
);

/** What Prometheus adds to every series of a pod, and to a histogram's. */
const ADDED = ["namespace", "pod", "le"];

function checkExpression(expression: string): void {
  const metrics = metricsOf(expression);
  assert.ok(metrics.length > 0, expression);
  const labels = new Set(ADDED);
  for (const metric of metrics) {
    assert.ok(KNOWN.has(metric), `there is no metric ${metric}: ${expression}`);
    for (const label of KNOWN.get(metric) ?? []) labels.add(label);
  }
  assert.deepEqual(labelsOf(expression).filter((label) => !labels.has(label)), [], expression);
}

Deno.test("every alert asks for metrics and labels that there are, and says what it means", async () => {
  const alert = z.strictObject({
    alert: z.string().regex(/^Postern[A-Za-z]+$/),
    expr: z.string(),
    for: z.string().optional(),
    labels: z.strictObject({ severity: z.enum(["critical", "warning", "info"]) }),
    annotations: z.strictObject({ summary: z.string(), description: z.string() }),
  });
  const rules = z.strictObject({
    groups: z.array(z.strictObject({ name: z.string(), rules: z.array(alert) })),
  });
  const { groups } = rules.parse(parse(await read("postern/files/rules.yaml")));
  const alerts = groups.flatMap(({ rules }) => rules);
  assert.equal(new Set(alerts.map(({ alert }) => alert)).size, alerts.length);
  for (const { expr } of alerts) checkExpression(expr);
});

Deno.test("every panel of the dashboard asks for metrics and labels that there are", async () => {
  const panel = z.object({
    id: z.int(),
    title: z.string(),
    targets: z.array(z.object({ expr: z.string() })).optional(),
  });
  const { panels } = z.object({ panels: z.array(panel) }).parse(
    JSON.parse(await read("postern/files/dashboard.json")),
  );
  const expressions = panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr));
  assert.ok(expressions.length > 20);
  assert.equal(new Set(panels.map(({ id }) => id)).size, panels.length);
  for (const expression of expressions) checkExpression(expression);
});

Deno.test("every metric of the gateway is in the dashboard, but for what only alerts need", async () => {
  const shown = metricsOf(await read("postern/files/dashboard.json"));
  const hidden = [...KNOWN.keys()].filter((name) => !shown.includes(name));
  assert.deepEqual(hidden, []);
});

Deno.test("docs/rbac.md explains every rule that is granted, in every mode", async () => {
  const headings = (await read("../../docs/rbac.md")).split("\n").filter((line) => line.startsWith("### "));
  const unexplained: string[] = [];
  for (const file of ["kubelet.yaml", "apiserver.yaml", "apiserver-gateway.yaml"]) {
    const { rules } = z.object({ rules: z.array(rule) }).parse(
      only(await rendered(file), "ClusterRole", "postern:postern-system:gateway"),
    );
    for (const { resources, verbs } of rules) {
      for (const [resource, verb] of resources.flatMap((resource) => verbs.map((verb) => [resource, verb]))) {
        const isThere = headings.some((line) =>
          line.includes(`\`${verb}\``) && line.includes(`\`${resource}\``)
        );
        if (!isThere) unexplained.push(`${verb} ${resource}`);
      }
    }
  }
  assert.deepEqual(unexplained, []);
});
