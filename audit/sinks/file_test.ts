import assert from "node:assert/strict";
import { decisionEvent } from "../event.ts";
import { SinkJournal } from "../journal.ts";
import { FileSink, type FileSinkOptions } from "./file.ts";

/** A test with a folder of its own, removed afterwards. */
function fileTest(name: string, body: (folder: string) => Promise<void>, ignore = false): void {
  Deno.test({
    name,
    ignore,
    sanitizeOps: true,
    sanitizeResources: true,
    fn: async () => {
      const folder = await Deno.makeTempDir();
      try {
        await body(folder);
      } finally {
        await Deno.remove(folder, { recursive: true });
      }
    },
  });
}

function options(path: string, more: Partial<FileSinkOptions> = {}): FileSinkOptions {
  return { path, maxBytes: 1 << 30, maxFiles: 3, fsync: false, ...more };
}

function lines(...texts: string[]): Uint8Array {
  return new TextEncoder().encode(texts.map((text) => `${text}\n`).join(""));
}

/** The folder's files, the one being written last, and their contents. */
async function contents(folder: string): Promise<Record<string, string>> {
  const names = (await Array.fromAsync(Deno.readDir(folder))).map(({ name }) => name).sort();
  return Object.fromEntries(
    await Promise.all(names.map(async (name) => [name, await Deno.readTextFile(`${folder}/${name}`)])),
  );
}

fileTest("FileSink appends to what is there, in a file for its owner alone", async (folder) => {
  const path = `${folder}/audit.log`;
  for (const text of ["one", "two"]) {
    const sink = new FileSink(options(path, { fsync: true }));
    await sink.write(lines(text));
    sink.close();
  }
  assert.deepEqual(await contents(folder), { "audit.log": "one\ntwo\n" });
  assert.equal(((await Deno.stat(path)).mode ?? 0) & 0o777, 0o600);
});

fileTest("FileSink ends the line that a crash cut, so that the next can be read", async (folder) => {
  const path = `${folder}/audit.log`;
  await Deno.writeTextFile(path, '{"a":1}\n{"b":');
  const sink = new FileSink(options(path));
  await sink.write(lines('{"c":3}'));
  sink.close();
  assert.deepEqual(await contents(folder), { "audit.log": '{"a":1}\n{"b":\n{"c":3}\n' });
});

fileTest("FileSink rotates before a write that does not fit, and keeps maxFiles", async (folder) => {
  const sink = new FileSink(options(`${folder}/audit.log`, { maxBytes: 8 }));
  for (const text of ["one", "two", "three", "four", "five"]) await sink.write(lines(text));
  sink.close();
  assert.deepEqual(await contents(folder), {
    "audit.log": "five\n",
    "audit.log.1": "four\n",
    "audit.log.2": "three\n",
  });
});

fileTest("FileSink: a rotation that a crash cut leaves a gap, which the next one fills", async (folder) => {
  const path = `${folder}/audit.log`;
  // .1 was already renamed to .2; the file itself not yet to .1.
  await Deno.writeTextFile(`${path}.2`, "old\n");
  await Deno.writeTextFile(path, "new\n");
  const sink = new FileSink(options(path, { maxBytes: 4 }));
  await sink.write(lines("now"));
  sink.close();
  assert.deepEqual(await contents(folder), {
    "audit.log": "now\n",
    "audit.log.1": "new\n",
    "audit.log.2": "old\n",
  });
});

for (const how of ["moved", "deleted"]) {
  fileTest(`FileSink notices that its file was ${how}, and writes no line into nowhere`, async (folder) => {
    const path = `${folder}/audit.log`;
    const sink = new FileSink(options(path));
    await sink.write(lines("one"));
    if (how === "moved") await Deno.rename(path, `${folder}/away`);
    else await Deno.remove(path);
    await sink.write(lines("two"));
    sink.close();
    assert.equal(await Deno.readTextFile(path), "two\n");
  });
}

fileTest(
  "FileSink: whoever moves the file while it is written to takes no acknowledged line away",
  async (folder) => {
    const path = `${folder}/audit.log`;
    const sink = new FileSink(options(path, { fsync: true }));
    const wanted = Array.from({ length: 60 }, (_, number) => String(number));
    for (const text of wanted) {
      const moving = Number(text) % 3 === 0 ? Deno.rename(path, `${folder}/moved.${text}`) : undefined;
      await Promise.all([sink.write(lines(text)), moving?.catch(() => {})]); // the first is not there yet
    }
    sink.close();
    const got = Object.values(await contents(folder)).flatMap((text) => text.trimEnd().split("\n"));
    assert.deepEqual(wanted.filter((text) => !got.includes(text)), []);
  },
);

fileTest("FileSink rejects on a full disk, and writes again when there is room", async (folder) => {
  const path = `${folder}/audit.log`;
  await Deno.symlink("/dev/full", path);
  const sink = new FileSink(options(path, { fsync: true }));
  await assert.rejects(sink.write(lines("one")), { code: "ENOSPC" });
  await assert.rejects(sink.write(lines("two")), { code: "ENOSPC" });
  await Deno.remove(path);
  await sink.write(lines("three"));
  sink.close();
  assert.equal(await Deno.readTextFile(path), "three\n");
});

/** A real file system of 64 KiB, where this machine lets us have one. */
async function tryMount(folder: string): Promise<boolean> {
  const mount = new Deno.Command("mount", {
    args: ["-t", "tmpfs", "-o", "size=64k", "tmpfs", folder],
    stderr: "null",
  });
  return (await mount.output()).success;
}

fileTest(
  "FileSink: a disk that fills within a line loses none that was acknowledged, and recovers",
  async (folder) => {
    const disk = `${folder}/disk`;
    await Deno.mkdir(disk);
    if (!await tryMount(disk)) return; // root in a container that may not mount: /dev/full above is the test
    try {
      await Deno.writeTextFile(`${disk}/ballast`, "x".repeat(30000));
      const sink = new FileSink(options(`${disk}/audit.log`, { fsync: true }));
      const acknowledged: number[] = [];
      const write = (number: number) => sink.write(lines(JSON.stringify({ number, pad: "x".repeat(3000) })));
      let failed = 0;
      for (let number = 0; number < 30; number++) {
        await write(number).then(() => acknowledged.push(number), () => failed++);
      }
      assert.ok(failed > 0 && acknowledged.length > 0);
      await Deno.remove(`${disk}/ballast`);
      await write(100);
      sink.close();
      const text = await Deno.readTextFile(`${disk}/audit.log`);
      const numbers = text.trimEnd().split("\n").flatMap((line) => {
        try {
          return [JSON.parse(line).number];
        } catch {
          return []; // the part of a line that the full disk left
        }
      });
      assert.deepEqual(numbers.filter((number) => acknowledged.includes(number)), acknowledged);
      assert.equal(numbers.at(-1), 100);
    } finally {
      await new Deno.Command("umount", { args: [disk] }).output();
    }
  },
  Deno.uid() !== 0,
);

fileTest(
  "FileSink behind a journal: rotation under concurrent load loses and doubles nothing",
  async (folder) => {
    const sink = new FileSink(options(`${folder}/audit.log`, { maxBytes: 16384, maxFiles: 1000 }));
    const journal = new SinkJournal([sink], { maxBatchBytes: 4096 });
    const want = new Set<string>();
    await Promise.all(Array.from({ length: 50 }, async (_, caller) => {
      for (let turn = 0; turn < 20; turn++) {
        const auditId = `${caller}-${turn}`;
        const facts = { auditId, receivedAt: new Date(), sourceIps: [], requestUri: "/", verb: "create" };
        await journal.append([decisionEvent(facts, undefined, { allowed: true, rule: "r", reason: "" })]);
        want.add(auditId);
      }
    }));
    await journal.close();
    const files = await contents(folder);
    const got = Object.values(files).flatMap((text) =>
      text.trimEnd().split("\n").map((line) => JSON.parse(line).auditID)
    );
    assert.equal(got.length, want.size);
    assert.deepEqual(new Set(got), want);
    assert.ok(Object.keys(files).length > 10, "it rotated");
    assert.ok(Object.values(files).every((text) => text.length <= 16384), "no file is too large");
  },
);
