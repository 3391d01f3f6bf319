/** `kubectl postern …`, by the real kubectl, in front of the embedded cluster. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parse } from "yaml";
import { readDocument, SHELL } from "../docs/markdown.ts";
import { makeCa } from "../support/certificates.ts";
import { Demo } from "../support/demo.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const SCRIPT = join(ROOT, "cli", "kubectl-postern");

/** How long any one command may take, in milliseconds. */
const DEADLINE_MS = 30_000;

/** Somebody's folder, with the plugin in its `bin` as a link. */
class Home implements AsyncDisposable {
  private constructor(readonly folder: string) {}

  static async make(): Promise<Home> {
    const folder = await Deno.makeTempDir();
    await Deno.mkdir(join(folder, "bin"));
    await Deno.symlink(SCRIPT, join(folder, "bin", "kubectl-postern"));
    return new Home(folder);
  }

  async run(command: string, args: readonly string[], env: Record<string, string> = {}) {
    const { code, stdout, stderr } = await new Deno.Command(command, {
      args: [...args],
      cwd: this.folder,
      env: { PATH: `${this.folder}/bin:${Deno.env.get("PATH") ?? ""}`, HOME: this.folder, ...env },
      clearEnv: true,
      stdin: "null",
      signal: AbortSignal.timeout(DEADLINE_MS),
    }).output();
    const utf8 = new TextDecoder();
    return { code, stdout: utf8.decode(stdout), stderr: utf8.decode(stderr) };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Deno.remove(this.folder, { recursive: true });
  }
}

Deno.test({
  name: "kubectl postern kubeconfig makes a context through which kubectl comes into a container",
  sanitizeOps: true,
  sanitizeResources: true,
  fn: async () => {
    await using demo = await Demo.start();
    await using home = await Home.make();
    // What somebody has before there is a gateway: a cluster elsewhere, and a token.
    const config = join(home.folder, "config");
    const { contexts, users } = parse(await Deno.readTextFile(demo.kubeconfig));
    const elsewhere = { server: "https://192.0.2.1:6443" };
    const alice = contexts.find(({ name }: { name: string }) => name === "alice");
    await Deno.writeTextFile(
      config,
      JSON.stringify({
        apiVersion: "v1",
        kind: "Config",
        clusters: [{ name: alice.context.cluster, cluster: elsewhere }],
        contexts: [
          alice,
          ...["plugin", "file"].map((user) => ({ name: user, context: { ...alice.context, user } })),
        ],
        users: [
          ...users,
          {
            name: "plugin",
            user: {
              exec: {
                apiVersion: "client.authentication.k8s.io/v1",
                command: "cat",
                args: [join(home.folder, "credential.json")],
                interactiveMode: "Never",
              },
            },
          },
          { name: "file", user: { tokenFile: "token" } },
        ],
        "current-context": "alice",
      }),
    );
    await Deno.writeTextFile(join(home.folder, "ca.crt"), demo.ca);
    const credential = {
      apiVersion: "client.authentication.k8s.io/v1",
      kind: "ExecCredential",
      status: { token: demo.token("alice") },
    };
    await Deno.writeTextFile(join(home.folder, "credential.json"), JSON.stringify(credential));
    await Deno.writeTextFile(join(home.folder, "token"), demo.token("alice"));
    const gateway = ["--server", `https://127.0.0.1:${demo.port}`, "--ca-file", "ca.crt"];
    const exec = ["exec", "shell", "--", "echo", "inside"];

    // Beside the file that has the credentials.
    const printed = await home.run("kubectl", ["postern", "kubeconfig", ...gateway], { KUBECONFIG: config });
    assert.deepEqual([printed.code, printed.stderr], [0, ""]);
    assert.ok(!printed.stdout.includes(demo.token("alice")));
    await Deno.writeTextFile(join(home.folder, "postern.yaml"), printed.stdout);
    const both = { KUBECONFIG: `${config}:postern.yaml` };
    const beside = await home.run("kubectl", ["--context", "alice-postern", ...exec], both);
    assert.deepEqual([beside.code, beside.stdout], [0, "inside\n"], beside.stderr);

    // Merged into it.
    const write = ["postern", "kubeconfig", ...gateway, "--write", "--use"];
    const written = await home.run("kubectl", write, { KUBECONFIG: config });
    assert.equal(written.code, 0, written.stderr);
    const merged = await home.run("kubectl", exec, { KUBECONFIG: config });
    assert.deepEqual([merged.code, merged.stdout], [0, "inside\n"], merged.stderr);
    // Tokens from an exec plugin, as OIDC has them, and from a file.
    for (const context of ["plugin", "file"]) {
      const more = ["postern", "kubeconfig", ...gateway, "--context", context, "--write"];
      const { code, stderr } = await home.run("kubectl", more, { KUBECONFIG: config });
      assert.equal(code, 0, stderr);
      const through = await home.run("kubectl", ["--context", `${context}-postern`, ...exec], {
        KUBECONFIG: config,
      });
      assert.deepEqual([through.code, through.stdout], [0, "inside\n"], through.stderr);
    }
    // kubectl writes to the same file afterwards.
    assert.equal(
      (await home.run("kubectl", ["config", "use-context", "alice"], { KUBECONFIG: config })).code,
      0,
    );
  },
});

Deno.test({
  name: "the commands of docs/users.md that make kubeconfigs do so, one after the other",
  sanitizeOps: true,
  sanitizeResources: true,
  fn: async () => {
    await using home = await Home.make();
    const at = (name: string) => join(home.folder, name);
    const user = { name: "USER", user: { token: "sesame" } };
    const context = { name: "CONTEXT", context: { cluster: "CLUSTER", user: "USER" } };
    const cluster = { name: "CLUSTER", cluster: { server: "https://192.0.2.1:6443" } };
    await Deno.mkdir(at(".kube"));
    await Deno.writeTextFile(
      at(".kube/config"),
      JSON.stringify({
        ...{ apiVersion: "v1", kind: "Config", "current-context": "CONTEXT" },
        ...{ clusters: [cluster], contexts: [context], users: [user] },
      }),
    );
    await Deno.writeTextFile(at("ca.crt"), (await makeCa()).cert);
    await Deno.writeTextFile(at("token"), "sesame");
    await Deno.symlink(SCRIPT, at("bin/postern"));
    const document = readDocument("docs/users.md", await Deno.readTextFile(join(ROOT, "docs", "users.md")));
    const lines = document.blocks.filter(({ language }) => SHELL.has(language))
      .flatMap(({ text }) => text.split("\n"))
      .filter((line) => /^(kubectl config|(kubectl )?postern kubeconfig) /.test(line));
    assert.ok(lines.length >= 10, `${lines.length}`);
    for (const line of lines) {
      const { code, stderr } = await home.run("sh", ["-c", line]);
      assert.equal(code, 0, `${line}: ${stderr}`);
    }
    const { contexts } = parse(await Deno.readTextFile(at(".kube/config")));
    const made = contexts.map(({ name }: { name: string }) => name).sort();
    assert.deepEqual(made, [
      ...["CONTEXT", "CONTEXT-postern", "oidc", "oidc-postern", "postern", "runner", "runner-postern"],
    ]);
  },
});
