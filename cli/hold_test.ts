import assert from "node:assert/strict";
import { join } from "node:path";
import { listHolds } from "../recording/retention/legal_hold.ts";
import { FolderStore } from "../recording/sinks/folder.ts";
import { postern } from "./postern.ts";

const ID = "5f0c8d4e-3a53-4d0f-9c0a-0c4f3a2f8f11";
const PATH = `2026/11/21/${ID}.rec`;

async function run(...args: string[]): Promise<{ code: number; out: string; error: string }> {
  let out = "";
  let error = "";
  const code = await postern(args, { out: (text) => out += text, error: (text) => error += text });
  return { code, out, error };
}

function withRecording(name: string, fn: (folder: string) => Promise<void>): void {
  Deno.test({
    name,
    sanitizeOps: true,
    sanitizeResources: true,
    async fn() {
      const folder = await Deno.makeTempDir({ prefix: "postern-hold-" });
      try {
        await (await new FolderStore(folder).create(PATH)).close();
        await fn(folder);
      } finally {
        await Deno.remove(folder, { recursive: true });
      }
    },
  });
}

async function heldIn(folder: string) {
  return await Array.fromAsync(listHolds(new FolderStore(folder)));
}

const names: { name: string; of: (folder: string) => string }[] = [
  { name: "its audit ID", of: () => ID },
  { name: "its path in the store", of: () => PATH },
  { name: "its path on the disk", of: (folder) => join(folder, PATH) },
];
for (const { name, of } of names) {
  withRecording(`postern hold set holds a recording by ${name}, and says so`, async (folder) => {
    const reason = ["--reason", "case 42"];
    const { code, out } = await run("hold", "set", of(folder), "-r", folder, ...reason, "--by", "alice");
    assert.deepEqual([code, out], [0, `${PATH}: held by alice: case 42\n`]);
    const [hold] = await heldIn(folder);
    assert.deepEqual([hold?.path, hold?.by, hold?.reason], [PATH, "alice", "case 42"]);
  });
}

withRecording("postern hold set names who is logged in where nobody is named", async (folder) => {
  await run("hold", "set", ID, "--recordings", folder, "--reason", "case 42");
  assert.match((await heldIn(folder))[0]?.by ?? "", /^.+$/);
});

withRecording("a hold that is there is not replaced by another", async (folder) => {
  await run("hold", "set", ID, "-r", folder, "--reason", "case 42", "--by", "alice");
  const { code, out } = await run("hold", "set", ID, "-r", folder, "--reason", "none", "--by", "mallory");
  assert.deepEqual([code, out], [0, `${PATH}: is held already; that hold stays as it is\n`]);
  assert.equal((await heldIn(folder))[0]?.by, "alice");
});

withRecording("postern hold release says whose hold it was, and keeps both notes", async (folder) => {
  await run("hold", "set", ID, "-r", folder, "--reason", "case 42", "--by", "alice");
  const { code, out } = await run("hold", "release", ID, "-r", folder, "--reason", "closed", "--by", "bob");
  assert.equal(code, 0);
  assert.match(out, /: released by bob: closed \(held by alice since .*: case 42\)\n$/);
  assert.deepEqual(await heldIn(folder), []);
  const files = await Array.fromAsync(Deno.readDir(join(folder, "2026/11/21")), ({ name }) => name);
  const released = files.find((name) => name.endsWith(".released")) ?? "";
  const note = JSON.parse(await Deno.readTextFile(join(folder, "2026/11/21", released)));
  assert.deepEqual([note.by, note.reason, note.hold.by, note.hold.reason], [
    ...["bob", "closed"],
    ...["alice", "case 42"],
  ]);
});

for (const words of ["set", "release"]) {
  for (const reason of [[], ["--reason", " "]]) {
    withRecording(
      `postern hold ${words} is refused with reason ${JSON.stringify(reason)}`,
      async (folder) => {
        await run("hold", "set", ID, "-r", folder, "--reason", "case 42");
        const before = await heldIn(folder);
        const { code, error } = await run("hold", words, ID, "-r", folder, ...reason);
        assert.equal(code, 2);
        assert.match(error, /expected --reason/);
        assert.deepEqual(await heldIn(folder), before);
      },
    );
  }
}

const missing: { args: string[]; error: RegExp }[] = [
  { args: ["hold", "set", "unknown"], error: /^postern: unknown: there is no such recording\n$/ },
  { args: ["hold", "set", "2026/11/20/a.rec"], error: /there is no recording 2026\/11\/20\/a\.rec/ },
  { args: ["hold", "set", "../outside.rec"], error: /no path of a recording/ },
  { args: ["hold", "release", ID], error: /is not held/ },
  { args: ["hold", "release", "../outside.rec"], error: /no path of a recording/ },
];
for (const { args, error: want } of missing) {
  withRecording(`postern ${args.join(" ")} exits with 1 and leaves nothing behind`, async (folder) => {
    const { code, out, error } = await run(...args, "-r", folder, "--reason", "case 42");
    assert.deepEqual([code, out], [1, ""]);
    assert.match(error, want);
    assert.deepEqual(await heldIn(folder), []);
  });
}

withRecording("of several recordings, those are held that are there", async (folder) => {
  const { code, out } = await run(
    "hold",
    "set",
    "unknown",
    ID,
    "-r",
    folder,
    "--reason",
    "x",
    "--by",
    "alice",
  );
  assert.deepEqual([code, out], [1, `${PATH}: held by alice: x\n`]);
});

withRecording(
  "postern hold list shows every hold, also one that cannot be read, and executes none",
  async (folder) => {
    await run("hold", "set", ID, "-r", folder, "--reason", "\x1b[2Jcase", "--by", "alice");
    const torn = await new FolderStore(folder).create("2026/11/21/torn.rec.hold");
    await torn.close();
    const text = await run("hold", "list", "-r", folder);
    assert.match(text.out, /held by alice since .*: \\u\{1b\}\[2Jcase\n/);
    assert.match(text.out, /torn\.rec: held by an unknown person/);
    const json = await run("hold", "list", "-r", folder, "--output", "json");
    const paths = json.out.trim().split("\n").map((line) => JSON.parse(line).path);
    assert.deepEqual(paths.sort(), [PATH, "2026/11/21/torn.rec"]);
  },
);
