import assert from "node:assert/strict";
import { join, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { Worker } from "node:worker_threads";
import { bundle } from "./bundle.ts";

const ROOT = resolve(fileURLToPath(new URL("../..", import.meta.url)));
const SURRENDERS = { gateway: [], command: [{ name: "ffi" }] } as const;

let folder: string;
let made: Awaited<ReturnType<typeof bundle>>;

Deno.test.beforeAll(async () => {
  folder = await Deno.makeTempDir();
  made = await bundle(ROOT, SURRENDERS);
  for (const [name, bytes] of made.files) await Deno.writeFile(join(folder, name), bytes);
});
Deno.test.afterAll(() => Deno.remove(folder, { recursive: true }));

Deno.test("bundle: the same sources give the same bytes", async () => {
  assert.deepEqual(await bundle(ROOT, SURRENDERS), made);
});

Deno.test("bundle: no path of this machine is in it", () => {
  for (const [name, bytes] of made.files) {
    assert.equal(new TextDecoder().decode(bytes).includes(ROOT), false, name);
  }
});

Deno.test("bundle: what it imports is in it, or of the platform", () => {
  for (const [name, bytes] of made.files) {
    const text = new TextDecoder().decode(bytes);
    for (const [, specifier = ""] of text.matchAll(/^(?:import|export)\b[^"';]*?\bfrom "([^"]+)";$/gm)) {
      const isThere = specifier.startsWith("node:") || made.files.has(specifier.replace(/^\.\//, ""));
      assert.ok(isThere, `${name} imports ${specifier}`);
    }
  }
});

Deno.test("bundle: it names the packages that are in it, and none that is only for development", () => {
  assert.ok(made.packageFolders.includes("node_modules/zod"));
  assert.equal(made.packageFolders.includes("node_modules/fast-check"), false);
});

Deno.test("bundle: every source of a thread is a file beside it that starts", async () => {
  const workers = [...made.files.keys()].filter((name) => name.endsWith("_worker.js")).sort();
  assert.deepEqual(workers, ["packing_worker.js", "sqlite_worker.js"]);
  for (const name of workers) {
    const worker = new Worker(pathToFileURL(join(folder, name)), { workerData: { path: ":memory:" } });
    try {
      await new Promise((resolve, reject) => worker.once("online", resolve).once("error", reject));
    } finally {
      await worker.terminate();
    }
  }
});

const runs = [
  { args: ["version"], code: 0, says: /^postern \d/ },
  { args: ["serve"], code: 2, says: /^usage: / },
  { args: [], code: 2, says: /^usage: / },
  { args: ["--config", "none.yaml"], code: 1, says: /^none\.yaml: expected a file that can be read/ },
  { args: ["serve", "--config", "none.yaml"], code: 1, says: /^none\.yaml: / },
];

for (const { args, code, says } of runs) {
  Deno.test(`bundle: \`postern ${args.join(" ")}\` starts the right program`, async () => {
    const launched = await launch([], args);
    assert.match(launched.text, says);
    assert.equal(launched.code, code);
  });
}

async function launch(flags: readonly string[], args: readonly string[]) {
  const grants = ["--allow-read", "--allow-env", ...flags];
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "--no-prompt", "--no-config", ...grants, join(folder, "postern.js"), ...args],
    cwd: folder,
  }).output();
  return { code, text: new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr) };
}
