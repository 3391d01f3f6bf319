import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import process from "node:process";
import { inClusterConnection, KubeconfigError, readKubeconfig } from "./kubeconfig.ts";

const base64 = (text: string) => Buffer.from(text).toString("base64");

/** A kubeconfig of one context; `cluster` and `user` are YAML in flow style. */
function kubeconfig(user: string, cluster = "{server: 'https://api:6443'}"): string {
  return `
apiVersion: v1
kind: Config
current-context: here
clusters: [{name: c, cluster: ${cluster}}]
users: [{name: u, user: ${user}}]
contexts: [{name: here, context: {cluster: c, user: u, namespace: n}}, {name: lost, context: {cluster: c, user: x}}]
`;
}

async function withFile<T>(text: string, use: (file: string, folder: string) => Promise<T>): Promise<T> {
  const folder = await Deno.makeTempDir();
  try {
    const file = `${folder}/config`;
    await Deno.writeTextFile(file, text);
    return await use(file, folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test("readKubeconfig reads values that stand in it", () =>
  withFile(
    kubeconfig(
      `{token: t, client-certificate-data: ${base64("CERT")}, client-key-data: ${base64("KEY")}}`,
      `{server: 'https://API:443/', certificate-authority-data: ${
        base64("CA")
      }, certificate-authority: not-read}`,
    ),
    async (file) => {
      assert.deepEqual(await readKubeconfig(file), {
        server: "https://api",
        ca: { value: "CA" },
        token: { value: "t" },
        clientCertificate: { cert: { value: "CERT" }, key: { value: "KEY" } },
      });
    },
  ));

Deno.test("readKubeconfig takes files from beside it, and a token's file before its value", () =>
  withFile(
    kubeconfig(
      "{token: old, tokenFile: token, client-certificate: tls/crt, client-key: /abs/key}",
      "{server: 'https://[::1]:6443', certificate-authority: ca.crt}",
    ),
    async (file, folder) => {
      assert.deepEqual(await readKubeconfig(file, "here"), {
        server: "https://[::1]:6443",
        ca: { file: `${folder}/ca.crt` },
        token: { file: `${folder}/token` },
        clientCertificate: { cert: { file: `${folder}/tls/crt` }, key: { file: "/abs/key" } },
      });
    },
  ));

const REFUSED = [
  {
    name: "TLS that is not verified",
    text: kubeconfig("{token: t}", "{server: 'https://a', insecure-skip-tls-verify: true}"),
    why: /insecure-skip-tls-verify is not supported: name the authority/,
  },
  {
    name: "another server name",
    text: kubeconfig("{token: t}", "{server: 'https://a', tls-server-name: b}"),
    why: /tls-server-name is not supported/,
  },
  {
    name: "a proxy",
    text: kubeconfig("{token: t}", "{server: 'https://a', proxy-url: 'http://b'}"),
    why: /proxy-url is not supported/,
  },
  { name: "plain HTTP", text: kubeconfig("{token: t}", "{server: 'http://a'}"), why: /must be https/ },
  {
    name: "a path behind the server",
    text: kubeconfig("{token: t}", "{server: 'https://a/k8s/clusters/b'}"),
    why: /host and port alone/,
  },
  { name: "no server", text: kubeconfig("{token: t}", "{}"), why: /clusters\.0\.cluster\.server/ },
  { name: "a plugin", text: kubeconfig("{exec: {command: aws}}"), why: /exec is not supported/ },
  { name: "a provider", text: kubeconfig("{auth-provider: {name: gcp}}"), why: /auth-provider is not/ },
  { name: "a password", text: kubeconfig("{username: a, password: s3cret}"), why: /username is not/ },
  { name: "nobody", text: kubeconfig("{}"), why: /no credential/ },
  {
    name: "a certificate without its key",
    text: kubeconfig("{token: t, client-certificate: a}"),
    why: /one is missing/,
  },
  {
    name: "data that is not base64",
    text: kubeconfig("{client-certificate-data: 's3cret!', client-key-data: 's3cret!'}"),
    why: /client-certificate-data is not base64/,
  },
  { name: "a context that is not there", text: "current-context: x", why: /no context "x"/ },
  { name: "no context", text: "{}", why: /no current-context/ },
  {
    name: "a user who is not there",
    text: kubeconfig("{token: t}").replace("here\n", "lost\n"),
    why: /a user/,
  },
  { name: "no YAML", text: "token: [s3cret", why: /is no YAML/ },
  {
    name: "aliases, which grow",
    text: "a: &a [s3cret]\nb: [*a, *a]",
    why: /is no YAML/,
  },
];
for (const { name, text, why } of REFUSED) {
  Deno.test(`readKubeconfig refuses ${name}, without telling what is secret`, () =>
    withFile(text, async (file) => {
      await assert.rejects(readKubeconfig(file), (thrown) => {
        assert.ok(thrown instanceof KubeconfigError, String(thrown));
        assert.match(thrown.message, why);
        return thrown.message.startsWith(file) && !Deno.inspect(thrown).includes("s3cret");
      });
    }));
}

Deno.test("readKubeconfig names a file that is not there", async () => {
  await assert.rejects(readKubeconfig("/nowhere/config"), /\/nowhere\/config: no such file/);
});

Deno.test("readKubeconfig tells a file that cannot be read from one that says nothing", async () => {
  const folder = await Deno.makeTempDir();
  try {
    await assert.rejects(readKubeconfig(folder), /: cannot be read$/);
  } finally {
    await Deno.remove(folder);
  }
});

const IN_CLUSTER = [
  { host: "10.96.0.1", port: "443", server: "https://10.96.0.1" },
  { host: "10.96.0.1", port: "6443", server: "https://10.96.0.1:6443" },
  { host: "fd00::1", port: "443", server: "https://[fd00::1]" },
];
for (const { host, port, server } of IN_CLUSTER) {
  Deno.test(`inClusterConnection goes to ${server} as the pod's service account`, () => {
    const values: Record<string, string> = { KUBERNETES_SERVICE_HOST: host, KUBERNETES_SERVICE_PORT: port };
    const connection = inClusterConnection({ get: (name) => values[name] });
    assert.equal(connection.server, server);
    assert.equal(new URL(connection.server).origin, server, "else no request may be passed on");
    assert.deepEqual(connection.token, { file: "/var/run/secrets/kubernetes.io/serviceaccount/token" });
    assert.deepEqual(connection.ca, { file: "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt" });
  });
}

Deno.test("inClusterConnection says what to do outside of one", () => {
  assert.throws(() => inClusterConnection({ get: () => undefined }), /name a kubeconfig/);
});

Deno.test("readKubeconfig warns of nothing on stderr, for the YAML parser quotes whole lines, tokens among them", () =>
  withFile(kubeconfig("{token: !odd s3cret}"), async (file) => {
    const { emitWarning } = process;
    const warnings: unknown[] = [];
    process.emitWarning = (warning: unknown) => void warnings.push(warning);
    try {
      await readKubeconfig(file);
    } finally {
      process.emitWarning = emitWarning;
    }
    assert.deepEqual(warnings, []);
  }));
