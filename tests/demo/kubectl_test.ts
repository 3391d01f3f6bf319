/** The real kubectl, through the gateway as it ships, in front of the embedded cluster: what the demo's introduction shows. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { startProcess } from "../../demo/kubelet/process.ts";
import { within } from "../../demo/kubelet/within.ts";
import { Demo } from "../support/demo.ts";

const PATH = Deno.env.get("PATH") ?? "";
const HAS_KUBECTL = await hasKubectl();

/** How long any one command may take, in milliseconds. */
const DEADLINE_MS = 20_000;

async function hasKubectl(): Promise<boolean> {
  try {
    return (await new Deno.Command("kubectl", { args: ["version", "--client"] }).output()).success;
  } catch {
    return false;
  }
}

/** kubectl, run in a folder of its own beside the demo's. */
class Kubectl {
  readonly #demo: Demo;

  constructor(demo: Demo) {
    this.#demo = demo;
  }

  at(name: string): string {
    return join(this.#demo.folder, name);
  }

  argv(context: string, args: readonly string[]): string[] {
    return ["kubectl", "--kubeconfig", this.#demo.kubeconfig, "--context", context, ...args];
  }

  get env(): Record<string, string> {
    return { PATH, HOME: this.#demo.folder, KUBECACHEDIR: this.at("cache") };
  }

  async run(context: string, args: readonly string[], input?: string) {
    const [command = "", ...words] = this.argv(context, args);
    const child = new Deno.Command(command, {
      args: words,
      env: this.env,
      clearEnv: true,
      stdin: "piped",
      stdout: "piped",
      stderr: "piped",
      signal: AbortSignal.timeout(DEADLINE_MS),
    }).spawn();
    const writer = child.stdin.getWriter();
    if (input !== undefined) await writer.write(new TextEncoder().encode(input));
    await writer.close();
    const { code, stdout, stderr } = await child.output();
    const utf8 = new TextDecoder();
    return { code, stdout: utf8.decode(stdout), stderr: utf8.decode(stderr) };
  }

  /** A person at a terminal: types each line once what comes before it was seen. @returns all that was seen */
  async type(
    context: string,
    args: readonly string[],
    dialogue: readonly (readonly [seen: RegExp, typed: string])[],
  ) {
    const folder = this.#demo.folder;
    const argv = this.argv(context, args);
    const process = startProcess({ argv, folder, env: this.env, stdin: true, tty: true });
    const timer = setTimeout(() => Deno.kill(process.pid, "SIGKILL"), DEADLINE_MS);
    const lines = [...dialogue];
    let [all, unseen] = ["", ""];
    for await (const bytes of process.stdout) {
      const text = new TextDecoder().decode(bytes);
      [all, unseen] = [all + text, unseen + text];
      while (lines[0]?.[0].test(unseen)) {
        unseen = "";
        await process.write(new TextEncoder().encode(lines.shift()![1]));
      }
    }
    clearTimeout(timer);
    return { code: await process.exitCode, all };
  }

  /** Forwards ports while `fn` runs, which is told the local ones. @returns what kubectl said, and its exit code */
  async forward(context: string, args: readonly string[], fn: (ports: number[]) => Promise<void>) {
    const [command = "", ...words] = this.argv(context, ["port-forward", "--address=127.0.0.1", ...args]);
    const child = new Deno.Command(command, {
      args: words,
      env: this.env,
      clearEnv: true,
      stdout: "piped",
      stderr: "piped",
      signal: AbortSignal.timeout(DEADLINE_MS),
    }).spawn();
    const stderr = new Response(child.stderr).text();
    const forwarding = Promise.withResolvers<number[]>();
    const saying = readLines(child.stdout, (said) => {
      const ports = [...said.matchAll(/^Forwarding from 127\.0\.0\.1:(\d+) -> /gm)].map(([, port]) =>
        Number(port)
      );
      if (ports.length === args.length - 1) forwarding.resolve(ports);
    });
    const ended = child.status.then(async ({ code }) => {
      forwarding.reject(new Error(`kubectl ended: ${await stderr}`));
      return code;
    });
    await fn(await forwarding.promise);
    await within(300, ended);
    try {
      child.kill("SIGINT");
    } catch {
      // It has ended by itself.
    }
    await saying;
    return { code: await ended, stderr: await stderr };
  }
}

/** Tells all that an output has said, whenever it has said more. */
async function readLines(output: ReadableStream<Uint8Array>, onMore: (said: string) => void): Promise<void> {
  let said = "";
  for await (const text of output.pipeThrough(new TextDecoderStream())) onMore(said += text);
}

async function page(port: number, path = "/"): Promise<string> {
  return await (await fetch(`http://127.0.0.1:${port}${path}`, { headers: { Connection: "close" } })).text();
}

const HELLO = "hello from the pod web\n";

Deno.test({
  name: HAS_KUBECTL
    ? "kubectl through the demo's gateway"
    : "kubectl is not on PATH: what the introduction shows is not tried",
  ignore: !HAS_KUBECTL,
  sanitizeOps: true,
  sanitizeResources: true,
  fn: async (t) => {
    await using demo = await Demo.start();
    const kubectl = new Kubectl(demo);

    await t.step("exec -it: a terminal, and the exit code of what ran in it", async () => {
      const { code, all } = await kubectl.type("alice", ["exec", "-it", "shell", "--", "sh"], [
        [/\$|#/, "echo it is $((40 + 2)); exit 7\r"],
      ]);
      assert.match(all, /it is 42\r\n/);
      assert.equal(code, 7);
    });

    await t.step("cp there and back", async () => {
      const bytes = crypto.getRandomValues(new Uint8Array(50_000));
      await Deno.writeFile(kubectl.at("there"), bytes);
      const there = await kubectl.run("alice", ["cp", kubectl.at("there"), "shell:copy"]);
      assert.equal(there.code, 0, there.stderr);
      const back = await kubectl.run("alice", ["cp", "shell:copy", kubectl.at("back")]);
      assert.equal(back.code, 0, back.stderr);
      assert.deepEqual(await Deno.readFile(kubectl.at("back")), bytes);
    });

    await t.step("attach -it: a shell that runs already", async () => {
      const { all } = await kubectl.type("alice", ["attach", "-it", "tty"], [
        [/press/, "echo it is $((40 + 2))\r"],
        [/it is 42/, "exit\r"],
      ]);
      assert.match(all, /it is 42\r\n/);
    });

    for (const args of [["pod/web", ":8080"], ["svc/web", ":80"], ["deploy/web", ":http"]]) {
      await t.step(`port-forward ${args.join(" ")}`, async () => {
        const { stderr } = await kubectl.forward("alice", args, async ([port]) => {
          assert.deepEqual(await Promise.all([page(port!), page(port!)]), [HELLO, HELLO]);
        });
        assert.equal(stderr, "");
      });
    }

    await t.step(
      "port-forward to two ports, of which one is not listened on: kubectl says why, and ends",
      async () => {
        const { code, stderr } = await kubectl.forward("alice", ["web", ":8080", ":9999"], async (ports) => {
          assert.equal(await page(ports[0]!), HELLO);
          await assert.rejects(page(ports[1]!));
        });
        assert.match(stderr, /forwarding \d+ -> 9999: .*connection refused.*lost connection to pod/s);
        assert.equal(code, 1);
      },
    );

    await t.step("port-forward is refused to bob, who may only read", async () => {
      const { code, stderr } = await kubectl.run("bob", ["port-forward", "web", ":8080"]);
      assert.match(stderr, /User "bob" cannot create resource "pods\/portforward"/);
      assert.equal(code, 1);
    });

    await t.step("debug -it: an ephemeral container beside another", async () => {
      const args = ["debug", "-it", "shell", "--image=busybox", "--target=shell", "--profile=general"];
      const { code, all } = await kubectl.type("alice", args, [[
        /\$ |# |press/,
        "echo it is $((40 + 2)); exit\r",
      ]]);
      assert.match(all, /it is 42\r\n/);
      assert.equal(code, 0);
    });

    await t.step("debug is refused where its target is for cluster-admins", async () => {
      const args = ["debug", "privileged", "--image=busybox", "--target=privileged", "--profile=general"];
      const { code, stderr } = await kubectl.run("alice", args);
      assert.match(stderr, /\(Forbidden\).*targets container "privileged".*only cluster-admins may add it/);
      assert.equal(code, 1);
    });

    await t.step("run -i --rm: a pod that is made, attached to and deleted", async () => {
      const args = ["run", "-i", "--rm", "tmp", "--image=busybox", "--restart=Never", "--", "sh"];
      const { code, stdout, stderr } = await kubectl.run(
        "alice",
        args,
        "sleep 0.5; echo it is $((40 + 2))\n",
      );
      assert.match(stdout, /^it is 42\npod "tmp" deleted/, stderr);
      assert.equal(code, 0);
      assert.equal((await kubectl.run("alice", ["get", "pod", "tmp"])).code, 1);
    });

    await t.step("a pod that ends is what it ended as, and its log is kept", async () => {
      const args = [
        "run",
        "once",
        "--image=busybox",
        "--restart=Never",
        "--",
        "sh",
        "-c",
        "echo said; exit 3",
      ];
      assert.equal((await kubectl.run("alice", args)).code, 0);
      const phase = "--for=jsonpath={.status.phase}=Failed";
      assert.equal((await kubectl.run("alice", ["wait", phase, "pod/once", "--timeout=10s"])).code, 0);
      assert.equal((await kubectl.run("alice", ["logs", "once"])).stdout, "said\n");
      const template = "jsonpath={.status.containerStatuses[0].state.terminated.exitCode}";
      assert.equal((await kubectl.run("alice", ["get", "pod", "once", "-o", template])).stdout, "3");
    });
  },
});
