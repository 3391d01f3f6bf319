import assert from "node:assert/strict";
import { join } from "node:path";
import { parse } from "yaml";
import { issue, makeCa } from "../tests/support/certificates.ts";
import { postern } from "./postern.ts";

const { cert: CA } = await makeCa();
const LEAF = await issue(await makeCa());

const SERVER = "https://postern.example.com";

const KUBECONFIG = `# mine
apiVersion: v1
kind: Config
current-context: prod
clusters:
  - name: prod # in Frankfurt
    cluster: { server: "https://10.0.0.1:6443", certificate-authority-data: QQ== }
contexts:
  - name: prod
    context: { cluster: prod, user: alice, namespace: shop }
  - name: admin
    context: { cluster: prod, user: certificate }
  - name: both
    context: { cluster: prod, user: both }
  - name: oidc
    context: { cluster: prod, user: oidc }
  - name: file
    context: { cluster: prod, user: file }
  - name: password
    context: { cluster: prod, user: password }
  - name: nobody
    context: { cluster: prod, user: nobody }
users:
  - name: alice
    user: { token: sesame-alice }
  - name: certificate
    user: { client-certificate-data: sesame-cert, client-key-data: sesame-key }
  - name: both
    user: { client-certificate-data: sesame-cert, client-key-data: sesame-key, token: sesame-both }
  - name: oidc
    user: { exec: { apiVersion: client.authentication.k8s.io/v1, command: kubelogin, env: [{ name: S, value: sesame-env }] } }
  - name: file
    user: { tokenFile: secrets/token }
  - name: password
    user: { username: u, password: sesame-password }
preferences: { colors: true }
`;

async function run(...args: string[]): Promise<{ code: number; out: string; error: string }> {
  let out = "";
  let error = "";
  const output = { out: (text: string) => out += text, error: (text: string) => error += text };
  const code = await postern(["kubeconfig", ...args], output);
  return { code, out, error };
}

/** A folder for one test, with a kubeconfig in it. */
async function inFolder(
  test: (folder: string, file: string) => Promise<void>,
  text = KUBECONFIG,
): Promise<void> {
  const folder = await Deno.realPath(await Deno.makeTempDir());
  const file = join(folder, "config");
  try {
    await Deno.writeTextFile(file, text, { mode: 0o644 });
    await Deno.writeTextFile(join(folder, "ca.crt"), CA);
    await test(folder, file);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

async function namesIn(folder: string): Promise<string[]> {
  return (await Array.fromAsync(Deno.readDir(folder))).map(({ name }) => name).sort();
}

Deno.test("postern kubeconfig prints a cluster and a context, and no credentials", () =>
  inFolder(async (folder, file) => {
    const { code, out, error } = await run(
      ...["--server", SERVER, "--kubeconfig", file, "--ca-file", join(folder, "ca.crt")],
    );
    assert.equal(code, 0, error);
    assert.doesNotMatch(out, /sesame/);
    const made = parse(out);
    assert.deepEqual(made.contexts, [
      { name: "prod-postern", context: { cluster: "prod-postern", user: "alice", namespace: "shop" } },
    ]);
    const { server, "certificate-authority-data": ca } = made.clusters[0].cluster;
    assert.deepEqual([server, atob(ca).trim()], [SERVER, CA.trim()]);
    assert.deepEqual([made.users, made["current-context"]], [undefined, "prod-postern"]);
    assert.equal(await Deno.readTextFile(file), KUBECONFIG);
  }));

Deno.test("postern kubeconfig --include-credentials prints the user's, with paths that hold elsewhere", () =>
  inFolder(async (folder, file) => {
    const { out } = await run(
      ...["--server", SERVER, "--kubeconfig", file, "--context", "file", "--include-credentials"],
    );
    assert.deepEqual(parse(out).users, [{
      name: "file",
      user: { tokenFile: join(folder, "secrets/token") },
    }]);
  }));

Deno.test("postern kubeconfig --tls-server-name names who the certificate must be for", () =>
  inFolder(async (_, file) => {
    const { out } = await run(
      ...["--server", "https://127.0.0.1:8443", "--kubeconfig", file, "--tls-server-name", "postern.svc"],
    );
    const cluster = { server: "https://127.0.0.1:8443", "tls-server-name": "postern.svc" };
    assert.deepEqual(parse(out).clusters, [{ name: "prod-postern", cluster }]);
  }));

Deno.test("postern kubeconfig --write adds the entry, and keeps everything else with its comments", () =>
  inFolder(async (folder, file) => {
    const { code, out, error } = await run("--server", SERVER, "--kubeconfig", file, "--write");
    assert.deepEqual([code, error], [0, ""]);
    assert.match(out, /context prod-postern leads through https:\/\/postern\.example\.com/);
    const text = await Deno.readTextFile(file);
    assert.match(text, /^# mine\n[\s\S]*- name: prod # in Frankfurt/);
    const before = parse(KUBECONFIG);
    const after = parse(text);
    assert.deepEqual(after.users, before.users);
    assert.deepEqual([after.clusters.length, after.contexts.length], [2, before.contexts.length + 1]);
    assert.deepEqual([after["current-context"], after.preferences], ["prod", { colors: true }]);
    assert.equal((await Deno.stat(file)).mode! & 0o777, 0o600);
    assert.deepEqual(await namesIn(folder), ["ca.crt", "config"]);
  }));

Deno.test("postern kubeconfig --write twice leaves one entry, the later one", () =>
  inFolder(async (_, file) => {
    await run("--server", SERVER, "--kubeconfig", file, "--write");
    await run(
      "--server",
      "https://other.example.com:8443",
      "--kubeconfig",
      file,
      "--write",
      "--use",
      "--context",
      "prod",
    );
    const { clusters, contexts, "current-context": current } = parse(await Deno.readTextFile(file));
    const made = [...clusters, ...contexts].filter(({ name }) => name === "prod-postern");
    assert.deepEqual([made.length, current], [2, "prod-postern"]);
    assert.equal(made[0].cluster.server, "https://other.example.com:8443");
  }));

Deno.test("postern kubeconfig --write follows a link, and leaves it one", () =>
  inFolder(async (folder, file) => {
    const link = join(folder, "link");
    await Deno.symlink(file, link);
    assert.equal((await run("--server", SERVER, "--kubeconfig", link, "--write")).code, 0);
    assert.ok((await Deno.lstat(link)).isSymlink);
    assert.match(await Deno.readTextFile(file), /prod-postern/);
  }));

Deno.test("postern kubeconfig --write waits for nobody and writes over nobody: a lock is told of", () =>
  inFolder(async (_, file) => {
    await Deno.writeTextFile(`${file}.lock`, "");
    const { code, error } = await run("--server", SERVER, "--kubeconfig", file, "--write");
    assert.deepEqual([code, await Deno.readTextFile(file)], [1, KUBECONFIG]);
    assert.match(error, /config\.lock is there/);
  }));

const refused: { name: string; args: string[]; code: number; says: RegExp }[] = [
  {
    name: "a client certificate, which the API server would never see",
    args: ["--context", "admin"],
    code: 1,
    says:
      /user "certificate" has a client certificate and no token, which cannot be used through the gateway: .*TLS handshake/,
  },
  { name: "a password", args: ["--context", "password"], code: 1, says: /has a password/ },
  {
    name: "a user who is not there",
    args: ["--context", "nobody"],
    code: 1,
    says: /names a user who is not there/,
  },
  { name: "a context that is not there", args: ["--context", "x"], code: 1, says: /there is no context "x"/ },
  {
    name: "the name of the context it copies",
    args: ["--name", "prod"],
    code: 1,
    says: /choose another --name/,
  },
  { name: "the name of another context", args: ["--name", "oidc"], code: 1, says: /choose another --name/ },
  { name: "a server without TLS", args: ["--server", "http://x"], code: 2, says: /expected --server https:/ },
  {
    name: "a server with a path",
    args: ["--server", "https://x/y"],
    code: 2,
    says: /expected --server https:/,
  },
  { name: "--use without --write", args: ["--use"], code: 2, says: /expected --write with --use/ },
];
for (const { name, args, code, says } of refused) {
  Deno.test(`postern kubeconfig refuses ${name}, and shows no secret`, () =>
    inFolder(async (_, file) => {
      const got = await run("--server", SERVER, "--kubeconfig", file, ...args);
      assert.equal(got.code, code, got.out + got.error);
      assert.match(got.error, says);
      assert.doesNotMatch(got.out + got.error, /sesame/);
    }));
}

const advised = [
  { context: "both", says: /only the token counts/ },
  { context: "oidc", says: /exec plugin: it works through the gateway where it gives a token/ },
];
for (const { context, says } of advised) {
  Deno.test(`postern kubeconfig tells of what the credentials of ${context} are worth`, () =>
    inFolder(async (_, file) => {
      const { code, out, error } = await run("--server", SERVER, "--kubeconfig", file, "--context", context);
      assert.equal(code, 0);
      assert.match(error, says);
      assert.doesNotMatch(out + error, /sesame/);
    }));
}

Deno.test("a kubeconfig that is no YAML is not quoted: the line may hold a token", () =>
  inFolder(async (_, file) => {
    const { code, error } = await run("--server", SERVER, "--kubeconfig", file);
    assert.deepEqual([code, error], [1, `postern: ${file}: is no YAML\n`]);
  }, "users: [{ token: sesame"));

const HOSTILE = [
  {
    name: "aliases of aliases, which a billion items are made of",
    text: [
      "a: &a [x, x, x, x, x, x, x, x, x]",
      ..."bcdefghij".split("").map((to, at) => {
        const from = "abcdefghi"[at];
        return `${to}: &${to} [${Array(9).fill(`*${from}`).join(", ")}]`;
      }),
      "contexts: *j",
    ].join("\n"),
  },
  { name: "lists in lists without end", text: "[".repeat(100_000) },
];
for (const { name, text } of HOSTILE) {
  Deno.test(`attack: a kubeconfig of ${name} is refused with a sentence`, () =>
    inFolder(async (_folder, file) => {
      await Deno.writeTextFile(file, text);
      const { code, out, error } = await run("--server", SERVER, "--kubeconfig", file);
      assert.deepEqual([code, out], [1, ""]);
      assert.match(error, /^postern: [^\n]{1,300}\n$/);
    }));
}

Deno.test("a key in the authority's file is copied nowhere", () =>
  inFolder(async (folder, file) => {
    const both = join(folder, "both.pem");
    await Deno.writeTextFile(both, LEAF.key + LEAF.cert);
    const { out } = await run("--server", SERVER, "--kubeconfig", file, "--ca-file", both);
    const authority = atob(parse(out).clusters[0].cluster["certificate-authority-data"]);
    assert.match(authority, /^-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----\n$/);
  }));

Deno.test("a kubeconfig of JSON stays one that kubectl reads", () =>
  inFolder(async (_, file) => {
    assert.equal((await run("--server", SERVER, "--kubeconfig", file, "--write")).code, 0);
    const { contexts, users } = parse(await Deno.readTextFile(file));
    assert.deepEqual(contexts.map(({ name }: { name: string }) => name), ["prod", "prod-postern"]);
    assert.equal(users[0].user.token, "sesame-alice");
  }, JSON.stringify({ ...parse(KUBECONFIG), contexts: [parse(KUBECONFIG).contexts[0]] })));
