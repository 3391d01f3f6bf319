/** The postern command as a plugin of kubectl: a script that finds the checkout from wherever it is linked. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { z } from "zod";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const SCRIPT = join(ROOT, "cli", "kubectl-postern");

Deno.test({
  name: "kubectl-postern runs the postern command from any folder, through a link, with its exit code",
  sanitizeOps: true,
  sanitizeResources: true,
  fn: async () => {
    const folder = await Deno.makeTempDir();
    const run = async (...args: string[]) => {
      const { code, stdout, stderr } = await new Deno.Command(join(folder, "kubectl-postern"), {
        args,
        cwd: folder,
        env: { PATH: Deno.env.get("PATH") ?? "", HOME: folder },
        clearEnv: true,
      }).output();
      return { code, stdout: new TextDecoder().decode(stdout), stderr: new TextDecoder().decode(stderr) };
    };
    try {
      await Deno.symlink(SCRIPT, join(folder, "kubectl-postern"));
      const version = await run("version");
      assert.deepEqual([version.code, version.stderr], [0, ""]);
      assert.match(version.stdout, /^postern \d+\.\d+\.\d+\n/);
      await Deno.writeTextFile(join(folder, "gateway.yaml"), "log: { level: loud }\n");
      const check = await run("config", "check", "gateway.yaml");
      assert.equal(check.code, 1);
      assert.match(check.stderr, /^gateway\.yaml:/);
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  },
});

Deno.test("kubectl-postern has the permissions of the task, and no others", async () => {
  const Tasks = z.object({ tasks: z.object({ postern: z.object({ command: z.string() }) }) });
  const { tasks: { postern } } = Tasks.parse(JSON.parse(await Deno.readTextFile(join(ROOT, "deno.json"))));
  const permissions = (text: string) => (text.match(/--allow-\S+/g) ?? []).sort();
  const script = await Deno.readTextFile(SCRIPT);
  assert.deepEqual(permissions(script), permissions(postern.command));
  assert.doesNotMatch(script, /--allow-all|-A\b/);
});
