/** What a newcomer does first: from a clean clone to the first exec, as the README says it. Needs git, npm and its registry or cache. */

import assert from "node:assert/strict";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { layout } from "../cluster/layout.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));

/** What is promised of a warm npm cache and a core to spare, in milliseconds. */
const PROMISED_MS = 60_000;

/** What is waited at most, in milliseconds. */
const DEADLINE_MS = 400_000;

/** By how much everything takes longer here, where others want more cores than there are. */
function crowding(): number {
  return Math.max(1, (Deno.loadavg()[0] ?? 0) / navigator.hardwareConcurrency);
}

async function run(
  command: string,
  args: string[],
  cwd: string,
): Promise<{ code: number; out: string; errors: string }> {
  const { code, stdout, stderr } = await new Deno.Command(command, { args, cwd, stdin: "null" }).output();
  return { code, out: new TextDecoder().decode(stdout), errors: new TextDecoder().decode(stderr) };
}

/** Reads on until the text is there, or the stream is over. */
async function readUntil(reader: ReadableStreamDefaultReader<string>, wanted: string): Promise<string> {
  let seen = "";
  while (!seen.includes(wanted)) {
    const { done, value } = await reader.read();
    if (done) break;
    seen += value;
  }
  return seen;
}

/** Ctrl-C in the terminal of a process group; one that has ended needs none. */
function interrupt(group: number): void {
  try {
    Deno.kill(-group, "SIGINT");
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}

Deno.test({
  name: "a newcomer has a first session within a minute of `git clone`, with a warm npm cache",
  sanitizeOps: true,
  sanitizeResources: true,
  async fn() {
    const folder = await Deno.makeTempDir({ prefix: "postern-newcomer-" });
    const clone = join(folder, "postern");
    const startedMs = performance.now();
    try {
      const { code, errors } = await run("git", ["clone", "--quiet", ROOT, clone], folder);
      assert.equal(code, 0, errors);
      // A group of its own, as in a terminal: Ctrl-C reaches npm and all that it has started.
      const args = ["run", "demo"];
      const demo = new Deno.Command("npm", {
        args,
        cwd: clone,
        stdin: "null",
        stdout: "piped",
        stderr: "null",
        detached: true,
      }).spawn();
      const reader = demo.stdout.pipeThrough(new TextDecoderStream()).getReader();
      const late = setTimeout(() => interrupt(demo.pid), DEADLINE_MS);
      try {
        const printed = await readUntil(reader, "Ctrl-C ends everything");
        assert.match(printed, /Paste into another terminal/);
        const kubectl = join(layout().bin, "kubectl-1.34");
        const exec = "--kubeconfig .demo/kubeconfig --context alice exec shell -- echo hello".split(" ");
        assert.deepEqual(await run(kubectl, exec, clone), { code: 0, out: "hello\n", errors: "" });
        const tookMs = performance.now() - startedMs;
        const seconds = Math.round(tookMs / 1000);
        assert.ok(
          tookMs < PROMISED_MS * crowding(),
          `it took ${seconds} s, with others taking ${crowding()} times the cores`,
        );
      } finally {
        clearTimeout(late);
        interrupt(demo.pid);
        await readUntil(reader, "\0");
        await demo.status;
      }
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  },
});
