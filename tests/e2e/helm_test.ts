/**
 * The chart, as Helm renders it: what it refuses, what it makes of values of every kind, and whether what it generates is good.
 * Nothing here needs the cluster.
 */

import assert from "node:assert/strict";
import { createPrivateKey, X509Certificate } from "node:crypto";
import { join } from "node:path";
import { parse, parseAllDocuments } from "yaml";
import { z } from "zod";
import { needsOf } from "../../cli/doctor/rbac.ts";
import { parseConfiguration } from "../../config/load.ts";
import { CHART, findHelm, helm, render } from "../../deploy/helm/helm.ts";
import { manifests } from "../../deploy/helm/manifests.ts";
import { Demo } from "../support/demo.ts";

const VARIANTS = [...Deno.readDirSync(join(CHART, "ci"))].map(({ name }) => name).sort();

const object = z.looseObject({
  apiVersion: z.string(),
  kind: z.string(),
  metadata: z.looseObject({ name: z.string(), namespace: z.string().optional() }),
  data: z.record(z.string(), z.string()).optional(),
});
type Rendered = z.infer<typeof object>;

let binary: string;
Deno.test.beforeAll(async () => {
  binary = await findHelm();
});

/** The objects that the chart makes of values. */
async function objectsOf(...args: string[]): Promise<Rendered[]> {
  return parseAllDocuments(await render(binary, args))
    .map((document): unknown => document.toJS())
    .filter((value) => value !== null)
    .map((value) => object.parse(value));
}

/** @returns the one of that kind; of that name, where there are several */
function only(objects: readonly Rendered[], kind: string, name?: string): Rendered {
  const found = objects.filter((each) =>
    each.kind === kind && (name === undefined || each.metadata.name === name)
  );
  assert.equal(found.length, 1, `${kind} ${name ?? ""}`);
  return found[0]!;
}

const valuesOf = (variant: string) => `--values=${join(CHART, "ci", variant)}`;

/** A value of a Secret. */
const secret = ({ data }: Rendered, key: string) => atob(data?.[key] ?? "");

Deno.test("helm: deploy/manifests is current (else: deno task manifests)", async () => {
  for (const { url, text } of await manifests(binary)) {
    assert.equal(await Deno.readTextFile(url), text, url.pathname);
  }
});

for (const variant of VARIANTS) {
  Deno.test(`helm: lint finds nothing wrong with ${variant}`, async () => {
    const { success, out, error } = await helm(
      binary,
      ...["lint", CHART, "--strict", "--kube-version=1.34.0", valuesOf(variant)],
    );
    assert.ok(success, out + error);
    assert.doesNotMatch(out, /\[(WARNING|ERROR)\]/);
  });

  Deno.test(`helm: what ${variant} makes has all its names, and a configuration that would be taken`, async () => {
    const objects = await objectsOf(valuesOf(variant));
    const names = objects.map(({ kind, metadata }) => `${kind} ${metadata.name}`);
    assert.equal(new Set(names).size, names.length, "no two objects are the same");
    for (const { kind, metadata } of objects) {
      assert.equal(metadata.namespace, kind.startsWith("ClusterRole") ? undefined : "postern-system", kind);
    }
    const configuration = configurationOf(objects);
    // What is mounted is what the configuration names.
    const mounted = mountedPaths(objects);
    for (const path of filesNamedBy(configuration)) {
      assert.ok(mounted.includes(path), `${path} is not mounted`);
    }
  });

  grantsWhatIsNeeded(variant, valuesOf(variant));

  Deno.test(`helm: the commands that are printed after installing with ${variant} are a shell's`, async () => {
    const notes = await notesOf(valuesOf(variant));
    const commands = notes.split("\n").filter((line) => /^ {2}(kubectl|postern|[A-Z]+=|#)/.test(line)).join(
      "\n",
    );
    assert.match(commands, /kubectl config set-cluster postern --server="\$SERVER"/);
    // What is to be filled in is in capitals.
    const { success, stderr } = await new Deno.Command("sh", { args: ["-n", "-c", commands] }).output();
    assert.ok(success, new TextDecoder().decode(stderr));
    assert.doesNotMatch(notes, /<no value>|%!/);
  });
}

for (
  const [what, values, sentence] of [
    ["a key that is misspelled", ["replicaCuont=1"], /additional properties 'replicaCuont' not allowed/],
    [
      "a configuration that the gateway would refuse",
      ["config.upstream.mode=x"],
      /at '\/config\/upstream\/mode': value must be one of/,
    ],
    ["an admin port that nobody can probe", ["config.admin.address=127.0.0.1"], /loopback/],
    ["no admin port", ["config.admin.listener=off"], /config\.admin\.listener must be on/],
    ["a port that needs a capability", ["config.server.port=443"], /1024 or more/],
    ["a port that nobody knows", ["config.server.port=0"], /must not be 0/],
    [
      "an index in a file for two gateways",
      ["config.index.type=sqlite"],
      /sqlite is for a gateway that runs alone/,
    ],
    [
      "two gateways that write one chain of recordings",
      ["config.recording.instance=one"],
      /recording\.instance must be left out/,
    ],
    [
      "a volume of one node for two gateways",
      ["evidence.volume.accessModes={ReadWriteOnce}"],
      /ReadWriteMany/,
    ],
    ["a Secret that is not named", ["tls.source=secret"], /tls\.secretName is needed/],
    ["an issuer that is not named", ["tls.source=certManager"], /issuerRef\.name is needed/],
    [
      "to give the gateway's rights to everything in its namespace",
      ["serviceAccount.create=false"],
      /serviceAccount\.name is needed/,
    ],
    ["an Ingress without a host", ["ingress.enabled=true"], /ingress\.host is needed/],
    [
      "a group that the API server knows nothing of, where it decides",
      ["config.upstream.mode=apiserver", "config.authorization.group=postern.dev"],
      /authorization\.group must be left out/,
    ],
    [
      "S3 without credentials",
      [
        "config.recording.sink.type=s3",
        "config.recording.sink.endpoint=https://s3.example.com",
        "config.recording.sink.region=x",
        "config.recording.sink.bucket=door",
      ],
      /evidence\.s3\.secretName is needed/,
    ],
  ] as const
) {
  Deno.test(`helm: refuses ${what}, and says why`, async () => {
    await assert.rejects(render(binary, values.map((value) => `--set=${value}`)), sentence);
  });
}

for (
  const [what, values] of [
    ["sessions in the gateway's name over SPDY alone", [
      "--set=config.upstream.mode=apiserver",
      "--set=config.upstream.apiserver.identity=gateway",
      "--set=config.upstream.apiserver.transport=spdy",
    ]],
    ["a token of the gateway's for kubelets alone", [
      "--set=config.upstream.kubelet.tokenFile=/etc/postern/kubelet/token",
      "--set=files[0].secret=kubelet,files[0].key=token,files[0].path=kubelet/token",
    ]],
  ] as const
) grantsWhatIsNeeded(what, ...values);

function grantsWhatIsNeeded(what: string, ...values: string[]): void {
  Deno.test(`helm: ${what} grants what \`postern doctor\` finds is needed, and nothing else`, async () => {
    const objects = await objectsOf(...values);
    const role = objects.find(({ kind, metadata }) =>
      kind === "ClusterRole" && metadata.name.endsWith(":gateway")
    );
    const rules = z.array(
      z.object({
        apiGroups: z.array(z.string()),
        resources: z.array(z.string()),
        verbs: z.array(z.string()),
      }),
    )
      .parse(role?.["rules"]);
    const granted = rules.flatMap(({ apiGroups, resources, verbs }) =>
      apiGroups.flatMap((group) =>
        resources.flatMap((resource) => verbs.map((verb) => `${verb} ${group}/${resource}`))
      )
    );
    const needed = needsOf(configurationOf(objects)).map(({ group, resource, verb }) =>
      `${verb} ${group}/${resource}`
    );
    assert.deepEqual(granted.sort(), needed.sort());
  });
}

Deno.test("helm: the certificate that is generated is good for the Service, by an authority of its own", async () => {
  const objects = await objectsOf(
    "--set=tls.ipAddresses={192.0.2.7}",
    "--set=tls.dnsNames={door.example.com}",
  );
  const tls = only(objects, "Secret", "postern-tls");
  const [certificate, authority] = [secret(tls, "tls.crt"), secret(tls, "ca.crt")];
  const leaf = new X509Certificate(certificate);
  assert.equal(leaf.ca, false);
  assert.equal(leaf.verify(new X509Certificate(authority).publicKey), true);
  for (const name of ["postern.postern-system.svc", "postern", "door.example.com"]) {
    assert.equal(leaf.checkHost(name), name);
  }
  assert.equal(leaf.checkIP("192.0.2.7"), "192.0.2.7");
  // A client that is as strict as Deno's takes it.
  using listener = Deno.listenTls({
    hostname: "127.0.0.1",
    port: 0,
    cert: certificate,
    key: secret(tls, "tls.key"),
  });
  const accepted = (async () => {
    using connection = await listener.accept();
    await connection.handshake();
  })();
  const connection = await Deno.connect({ hostname: "127.0.0.1", port: listener.addr.port });
  using secured = await Deno.startTls(connection, {
    hostname: "postern.postern-system.svc",
    caCerts: [authority],
  });
  await secured.handshake();
  await accepted;
});

Deno.test("helm: the authority's key is in a Secret of its own, which no pod mounts", async () => {
  const text = await render(binary, []);
  const objects = await objectsOf();
  assert.ok(secret(only(objects, "Secret", "postern-ca"), "ca.key").includes("PRIVATE KEY"));
  assert.equal(only(objects, "Secret", "postern-tls").data?.["ca.key"], undefined);
  assert.equal(
    [...text.matchAll(/postern-ca\b/g)].length,
    1,
    "it is named where it is made, and nowhere else",
  );
});

Deno.test("helm: the signing key that is generated is Ed25519, in PKCS #8", async () => {
  const pem = secret(only(await objectsOf(), "Secret", "postern-recording"), "signing.key");
  assert.match(pem, /^-----BEGIN PRIVATE KEY-----/);
  assert.equal(createPrivateKey(pem).asymmetricKeyType, "ed25519");
});

Deno.test("helm: an upgrade keeps authority, certificate and signing key, until the names are others", async () => {
  const first = await objectsOf();
  const names = ["postern-ca", "postern-tls", "postern-recording"];
  const values = (objects: readonly Rendered[]) => names.map((name) => only(objects, "Secret", name).data);
  await using cluster = await SecretsOnly.serve(first.filter(({ kind }) => kind === "Secret"));
  assert.deepEqual(values(await objectsOf(...cluster.args)), values(first));

  const renamed = await objectsOf(...cluster.args, "--set=tls.dnsNames={new.example.com}");
  const [authority, certificate, key] = values(renamed);
  assert.deepEqual([authority, key], [values(first)[0], values(first)[2]]);
  const leaf = new X509Certificate(atob(certificate?.["tls.crt"] ?? ""));
  assert.equal(leaf.checkHost("new.example.com"), "new.example.com");
  assert.equal(leaf.verify(new X509Certificate(atob(authority?.["ca.crt"] ?? "")).publicKey), true);
});

Deno.test("helm: an upgrade makes a new certificate when half of its time is over, by the same authority", async () => {
  const secrets = (await objectsOf()).filter(({ kind }) => kind === "Secret");
  const old = only(secrets, "Secret", "postern-tls");
  const annotations = z.record(z.string(), z.string()).parse(old.metadata["annotations"]);
  const half = (825 * 86_400 * 1000) / 2;
  assert.ok(Math.abs(Number(annotations["postern.dev/renew-at"]) * 1000 - Date.now() - half) < 600_000);
  old.metadata["annotations"] = {
    ...annotations,
    "postern.dev/renew-at": String(Math.floor(Date.now() / 1000) - 1),
  };
  await using cluster = await SecretsOnly.serve(secrets);
  const renewed = only(await objectsOf(...cluster.args), "Secret", "postern-tls");
  assert.notEqual(renewed.data?.["tls.crt"], old.data?.["tls.crt"]);
  assert.equal(renewed.data?.["ca.crt"], old.data?.["ca.crt"]);
});

Deno.test("helm: another configuration makes other pods, and another version of the chart alone does not", async () => {
  const templateOf = async (...args: string[]) => {
    const { spec } = z.object({ spec: z.object({ template: z.unknown() }) }).parse(
      only(await objectsOf(...args), "Deployment"),
    );
    return JSON.stringify(spec.template);
  };
  const before = await templateOf();
  assert.notEqual(await templateOf("--set=config.sessions.maxSessions=7"), before);
  assert.equal(await templateOf("--set=commonLabels.team=security"), before);
  assert.equal(await templateOf("--set=replicaCount=5"), before);
  assert.doesNotMatch(before, /helm\.sh/);
});

Deno.test("helm: the alerts know the namespace and how many sessions a gateway takes", async () => {
  const objects = await objectsOf(
    "--set=metrics.prometheusRule.enabled=true",
    "--set=config.sessions.maxSessions=123456",
  );
  const text = JSON.stringify(only(objects, "PrometheusRule"));
  assert.match(text, /> 0\.9 \* 123456"/);
  assert.match(text, /namespace=\\"postern-system\\"/);
  assert.doesNotMatch(text, /NAMESPACE|MAX_SESSIONS/);
});

Deno.test("helm: the dashboard is JSON where Grafana's sidecar looks for it", async () => {
  const dashboard = only(
    await objectsOf("--set=metrics.dashboard.enabled=true"),
    "ConfigMap",
    "postern-dashboard",
  );
  assert.equal(JSON.parse(dashboard.data?.["postern.json"] ?? "").title, "Postern");
  assert.deepEqual(
    z.looseObject({ grafana_dashboard: z.string() }).parse(dashboard.metadata["labels"]).grafana_dashboard,
    "1",
  );
});

Deno.test("helm: the admin port has a Service only where that is wanted", async () => {
  const services = async (...args: string[]) =>
    (await objectsOf(...args)).filter(({ kind }) => kind === "Service").map((each) => JSON.stringify(each));
  const [service, ...others] = await services();
  assert.deepEqual(others, []);
  assert.doesNotMatch(service!, /admin|9464/);
  assert.equal((await services("--set=metrics.serviceMonitor.enabled=true")).length, 2);
});

Deno.test("helm: what the test pod runs tells a gateway from what is none", async () => {
  await using demo = await Demo.start();
  const folder = await Deno.makeTempDir({ prefix: "postern-e2e-helm-" });
  try {
    await Deno.copyFile(join(CHART, "files", "connection.js"), join(folder, "connection.js"));
    await Deno.writeTextFile(join(folder, "ca.crt"), demo.ca);
    await Deno.writeTextFile(join(folder, "token"), demo.token("alice"));
    await Deno.writeTextFile(join(folder, "wrong"), "nobody's");
    const run = async (tlsName: string, tokenFile: string) => {
      const { success, stdout } = await new Deno.Command(Deno.execPath(), {
        args: [
          "run",
          "--no-prompt",
          "--no-config",
          "--allow-net",
          "--allow-env",
          "--allow-read",
          join(folder, "connection.js"),
        ],
        env: {
          SERVICE: "POSTERN",
          POSTERN_SERVICE_HOST: "127.0.0.1",
          POSTERN_SERVICE_PORT: String(demo.port),
          TLS_NAME: tlsName,
          TOKEN_FILE: join(folder, tokenFile),
        },
      }).output();
      return { success, said: new TextDecoder().decode(stdout) };
    };
    const good = await run("127.0.0.1", "token");
    assert.ok(good.success, good.said);
    assert.equal([...good.said.matchAll(/^ok: /gm)].length, 3);
    const misnamed = await run("somebody.example.com", "token");
    assert.equal(misnamed.success, false);
    assert.match(misnamed.said, /^FAILED: who has no credential is refused: .*certificate/m);
    const unknown = await run("127.0.0.1", "wrong");
    assert.equal(unknown.success, false);
    assert.match(unknown.said, /^FAILED: who has a good one .*: answered 401, not 200/m);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

/** The configuration in the ConfigMap, as the gateway reads it. */
function configurationOf(objects: readonly Rendered[]) {
  const text = objects.find(({ kind, data }) => kind === "ConfigMap" && data?.["gateway.yaml"] !== undefined)
    ?.data?.["gateway.yaml"];
  return parseConfiguration(text ?? "", "/etc/postern/gateway.yaml");
}

/** Paths of the files that the gateway's pods have below /etc/postern. */
function mountedPaths(objects: readonly Rendered[]): string[] {
  const items = z.object({ items: z.array(z.object({ path: z.string() })) });
  const source = z.union([z.object({ secret: items }), z.object({ configMap: items })]);
  const volume = z.looseObject({ name: z.string() });
  const projection = z.object({ projected: z.object({ sources: z.array(source) }) });
  const { spec } = z.object({
    spec: z.object({ template: z.object({ spec: z.object({ volumes: z.array(volume) }) }) }),
  }).parse(only(objects, "Deployment"));
  const { projected } = projection.parse(spec.template.spec.volumes.find(({ name }) => name === "files"));
  return projected.sources.flatMap((source) => ("secret" in source ? source.secret : source.configMap).items)
    .map(({ path }) => `/etc/postern/${path}`);
}

/** Every path below /etc/postern that is used as the configuration stands. */
function filesNamedBy({ server, recording, audit, index }: ReturnType<typeof configurationOf>): string[] {
  const used = [
    server.tls,
    { signingKeyFile: recording.signingKeyFile },
    recording.sink,
    ...audit.sinks,
    ...(index.type === "postgresql" ? [index.postgresql] : []),
  ];
  return used.flatMap((section) => Object.values(section)).filter((value): value is string =>
    typeof value === "string" && value.startsWith("/etc/postern/")
  );
}

/** NOTES.txt, which `helm template` does not render: by a copy of the chart in which it is an object's data. */
async function notesOf(...args: string[]): Promise<string> {
  const folder = await Deno.makeTempDir({ prefix: "postern-e2e-notes-" });
  try {
    const { success } = await new Deno.Command("cp", { args: ["-r", `${CHART}/.`, folder] }).output();
    assert.ok(success);
    await Deno.rename(join(folder, "templates", "NOTES.txt"), join(folder, "files", "NOTES.txt"));
    await Deno.writeTextFile(
      join(folder, "templates", "notes.yaml"),
      'notes: {{ tpl (.Files.Get "files/NOTES.txt") . | quote }}\n',
    );
    const text = await render(binary, [...args, "--show-only=templates/notes.yaml"], folder);
    return z.object({ notes: z.string() }).parse(parse(text)).notes;
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** As much of an API server as `lookup` asks: Secrets, and that there are such. */
class SecretsOnly implements AsyncDisposable {
  readonly #server: Deno.HttpServer;
  readonly #folder: string;

  private constructor(server: Deno.HttpServer, folder: string) {
    this.#server = server;
    this.#folder = folder;
  }

  static async serve(secrets: readonly Rendered[]): Promise<SecretsOnly> {
    const byPath = new Map<string, unknown>([
      ["/version", { major: "1", minor: "34", gitVersion: "v1.34.0" }],
      ["/api", { kind: "APIVersions", versions: ["v1"] }],
      ["/apis", { kind: "APIGroupList", apiVersion: "v1", groups: [] }],
      ["/api/v1", {
        kind: "APIResourceList",
        groupVersion: "v1",
        resources: [{
          name: "secrets",
          singularName: "secret",
          namespaced: true,
          kind: "Secret",
          verbs: ["get"],
        }],
      }],
      ...secrets.map((each) =>
        [`/api/v1/namespaces/postern-system/secrets/${each.metadata.name}`, each] as const
      ),
    ]);
    const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, (request) => {
      const value = byPath.get(new URL(request.url).pathname);
      return value === undefined
        ? Response.json({ kind: "Status", code: 404 }, { status: 404 })
        : Response.json(value);
    });
    const folder = await Deno.makeTempDir({ prefix: "postern-e2e-lookup-" });
    await Deno.writeTextFile(
      join(folder, "kubeconfig"),
      JSON.stringify({
        apiVersion: "v1",
        kind: "Config",
        clusters: [{ name: "c", cluster: { server: `http://127.0.0.1:${server.addr.port}` } }],
        users: [{ name: "u", user: {} }],
        contexts: [{ name: "x", context: { cluster: "c", user: "u" } }],
        "current-context": "x",
      }),
    );
    return new SecretsOnly(server, folder);
  }

  /** What Helm must be told to look there. */
  get args(): string[] {
    return ["--dry-run=server", `--kubeconfig=${join(this.#folder, "kubeconfig")}`];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.shutdown();
    await Deno.remove(this.#folder, { recursive: true });
  }
}
