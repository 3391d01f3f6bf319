import assert from "node:assert/strict";
import { join } from "node:path";
import { StoreError } from "../store.ts";
import { FolderStore } from "./folder.ts";

const io = { sanitizeOps: true, sanitizeResources: true };
const PATH = "2026/11/21/a.rec";

function bytes(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

async function withStore(run: (store: FolderStore, folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    await run(new FolderStore(join(folder, "recordings")), join(folder, "recordings"));
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

async function write(store: FolderStore, path: string, ...parts: string[]): Promise<void> {
  const file = await store.create(path);
  for (const part of parts) await file.append(bytes(part));
  await file.close();
}

async function text(stream: ReadableStream<Uint8Array>): Promise<string> {
  return await new Response(stream).text();
}

Deno.test({
  name: "FolderStore gives back what was appended, also while it is being written",
  ...io,
  fn: () =>
    withStore(async (store) => {
      const file = await store.create(PATH);
      await file.append(bytes("one "));
      assert.equal(await text(await store.open(PATH)), "one ");
      await file.append(bytes("two"));
      await file.close();
      assert.equal(await text(await store.open(PATH)), "one two");
    }),
});

Deno.test({
  name: "FolderStore makes a day's folder again that somebody removed between two recordings",
  ...io,
  fn: () =>
    withStore(async (store, folder) => {
      await write(store, PATH, "one");
      await Deno.remove(folder, { recursive: true });
      await write(store, "2026/11/21/b.rec", "two");
      assert.equal(await text(await store.open("2026/11/21/b.rec")), "two");
      assert.equal((await Deno.stat(join(folder, "2026/11/21"))).mode! & 0o777, 0o700);
    }),
});

Deno.test({
  name: "FolderStore keeps others out: files 0600, folders 0700",
  ...io,
  fn: () =>
    withStore(async (store, folder) => {
      await write(store, PATH, "x");
      assert.equal((await Deno.stat(join(folder, PATH))).mode! & 0o777, 0o600);
      assert.equal((await Deno.stat(join(folder, "2026/11"))).mode! & 0o777, 0o700);
    }),
});

const ranges = [
  { range: {}, want: "0123456789" },
  { range: { offset: 4 }, want: "456789" },
  { range: { offset: 4, end: 6 }, want: "45" },
  { range: { end: 3 }, want: "012" },
  { range: { offset: 8, end: 99 }, want: "89" },
  { range: { offset: 10 }, want: "" },
  { range: { offset: 99, end: 100 }, want: "" },
  { range: { offset: 6, end: 4 }, want: "" },
];
for (const { range, want } of ranges) {
  Deno.test({
    name: `FolderStore.open reads ${JSON.stringify(range)} of ten bytes as "${want}"`,
    ...io,
    fn: () =>
      withStore(async (store) => {
        await write(store, PATH, "0123456789");
        assert.equal(await text(await store.open(PATH, range)), want);
      }),
  });
}

Deno.test({
  name: "FolderStore.open lets go of its file when its reader does",
  ...io,
  fn: () =>
    withStore(async (store) => {
      await write(store, PATH, "0123456789");
      await (await store.open(PATH)).cancel();
    }),
});

const escapes = [
  "../outside.rec",
  "2026/../../outside.rec",
  "/etc/outside.rec",
  "2026//a.rec",
  "./a.rec",
  ".hidden.rec",
  "2026/a.txt",
  "a\\..\\b.rec",
  "a\0.rec",
  "a%2e%2e.rec",
  "",
  `${"a".repeat(600)}.rec`,
];
for (const path of escapes) {
  Deno.test({
    name: `FolderStore refuses the path ${JSON.stringify(path.slice(0, 30))} to write, read and remove`,
    ...io,
    fn: () =>
      withStore(async (store) => {
        const isRefused = { name: "StoreError", code: "path_refused" };
        await assert.rejects(store.create(path), isRefused);
        await assert.rejects(store.open(path), isRefused);
        await assert.rejects(store.remove(path), isRefused);
      }),
  });
}

Deno.test({
  name: "FolderStore follows no link: neither a folder's out of it, nor a recording's",
  ...io,
  fn: () =>
    withStore(async (store, folder) => {
      const outside = await Deno.makeTempDir();
      try {
        await Deno.writeTextFile(join(outside, "secret.rec"), "secret");
        await Deno.mkdir(folder);
        await Deno.symlink(outside, join(folder, "day"));
        await Deno.symlink(join(outside, "secret.rec"), join(folder, "link.rec"));
        for (const path of ["day/secret.rec", "link.rec"]) {
          await assert.rejects(store.open(path), { code: "path_refused" }, path);
          await assert.rejects(store.remove(path), { code: "path_refused" }, path);
        }
        await assert.rejects(store.create("day/new.rec"), { code: "path_refused" });
        assert.deepEqual(await Array.fromAsync(store.list("")), []);
        assert.equal(await Deno.readTextFile(join(outside, "secret.rec")), "secret");
      } finally {
        await Deno.remove(outside, { recursive: true });
      }
    }),
});

Deno.test({
  name: "FolderStore never writes over a recording",
  ...io,
  fn: () =>
    withStore(async (store) => {
      await write(store, PATH, "first");
      await assert.rejects(store.create(PATH), { code: "exists" });
      assert.equal(await text(await store.open(PATH)), "first");
    }),
});

Deno.test({
  name: "FolderStore.list tells recordings alone, in the order of their days, by prefix",
  ...io,
  fn: () =>
    withStore(async (store, folder) => {
      for (const path of ["2026/11/21/b.rec", "2026/11/21/a.rec", "2026/11/20/c.rec", "2025/01/01/d.rec"]) {
        await write(store, path, "four");
      }
      await Deno.writeTextFile(join(folder, "2026/11/21/a.rec.tmp"), "");
      const paths = async (prefix: string) =>
        (await Array.fromAsync(store.list(prefix))).map(({ path }) => path);
      assert.deepEqual(await paths("2026/11/2"), [
        "2026/11/20/c.rec",
        "2026/11/21/a.rec",
        "2026/11/21/b.rec",
      ]);
      assert.deepEqual(await paths("2026/11/21/"), ["2026/11/21/a.rec", "2026/11/21/b.rec"]);
      assert.equal((await paths("")).length, 4);
      assert.deepEqual(await paths("2024"), []);
      const [first] = await Array.fromAsync(store.list("2025"));
      assert.equal(first?.bytes, 4);
      assert.ok(Math.abs(Date.now() - (first?.modifiedAt.getTime() ?? 0)) < 60_000);
    }),
});

Deno.test({
  name: "FolderStore without a folder has no recordings",
  ...io,
  fn: () =>
    withStore(async (store) => {
      assert.deepEqual(await Array.fromAsync(store.list("")), []);
      await assert.rejects(store.open(PATH), (thrown) =>
        thrown instanceof StoreError && thrown.code === "not_found");
      await store.remove(PATH);
    }),
});

Deno.test({
  name: "FolderStore.remove removes once, and does not mind a second time",
  ...io,
  fn: () =>
    withStore(async (store) => {
      await write(store, PATH, "x");
      await store.remove(PATH);
      await store.remove(PATH);
      await assert.rejects(store.open(PATH), { code: "not_found" });
    }),
});
