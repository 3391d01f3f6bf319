import assert from "node:assert/strict";
import { join } from "node:path";
import { DemoFolder } from "./demo_folder.ts";

async function inFolder(fn: (path: string) => Promise<void>): Promise<void> {
  const path = await Deno.makeTempDir({ prefix: "postern-folder-" });
  try {
    await fn(path);
  } finally {
    await Deno.remove(path, { recursive: true });
  }
}

function test(name: string, fn: (path: string) => Promise<void>): void {
  Deno.test({ name, fn: () => inFolder(fn), sanitizeOps: true, sanitizeResources: true });
}

test("DemoFolder is one demo's, until it ends", async (path) => {
  {
    using first = await DemoFolder.open(path);
    assert.ok(first);
    assert.equal(await DemoFolder.open(path), undefined);
  }
  using next = await DemoFolder.open(path);
  assert.ok(next);
});

test("DemoFolder clears what an earlier demo left, follows no link, and touches nothing else", async (path) => {
  await Deno.mkdir(join(path, "pods", "shell"), { recursive: true });
  await Deno.mkdir(join(path, "mine"));
  await Deno.writeTextFile(join(path, "mine", "kept"), "kept");
  await Deno.symlink(join(path, "mine"), join(path, "pods", "shell", "link"));
  await Deno.writeTextFile(join(path, "audit.log"), "old\n");
  using folder = await DemoFolder.open(path);
  assert.ok(folder);
  const names = (await Array.fromAsync(Deno.readDir(path))).map(({ name }) => name);
  assert.deepEqual(names.sort(), ["lock", "mine"]);
  assert.equal(await Deno.readTextFile(join(path, "mine", "kept")), "kept");
});

test("DemoFolder writes for its owner alone, over a file that others could read too", async (path) => {
  await Deno.writeTextFile(join(path, "gateway.key"), "old", { mode: 0o644 });
  using folder = await DemoFolder.open(path);
  await folder!.write("gateway.key", "new");
  assert.equal(((await Deno.stat(join(path, "gateway.key"))).mode ?? 0) & 0o777, 0o600);
});
