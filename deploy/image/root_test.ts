import assert from "node:assert/strict";
import { applicationEntries, runtimeEntries, USER_ID } from "./root.ts";
import { tar } from "./tar.ts";

const BYTES = new Uint8Array([1]);
const ENTRIES = [
  ...runtimeEntries(BYTES, [{ type: "file", path: "lib/x/libc.so.6", mode: 0o755, bytes: BYTES }]),
  ...applicationEntries(new Map([["postern.js", BYTES]]), "{}", new Map([["zod", "MIT"]])),
];

Deno.test("root: nothing is set-user-ID, and only /tmp can be written by others than root", () => {
  for (const entry of ENTRIES) {
    if (entry.type === "symlink" || entry.path === "tmp") continue;
    assert.equal(entry.mode & 0o7022, 0, entry.path);
  }
});

Deno.test("root: Deno is the one program; there is no shell", () => {
  const programs = ENTRIES.filter((entry) => entry.type === "file" && (entry.mode & 0o111) !== 0);
  assert.deepEqual(programs.map(({ path }) => path), ["usr/bin/deno", "lib/x/libc.so.6"]);
});

Deno.test("root: the user has a name", () => {
  const passwd = ENTRIES.find(({ path }) => path === "etc/passwd");
  assert.ok(passwd?.type === "file");
  assert.match(new TextDecoder().decode(passwd.bytes), new RegExp(`^postern:x:${USER_ID}:${USER_ID}:`, "m"));
});

Deno.test("root: every file lies in a folder that is there, in each layer", () => {
  const layers = [runtimeEntries(BYTES, []), applicationEntries(new Map([["a.js", BYTES]]), "", new Map())];
  for (const entries of layers) {
    const folders = new Set(entries.filter(({ type }) => type === "directory").map(({ path }) => path));
    for (const { path } of entries) {
      const folder = path.split("/").slice(0, -1).join("/");
      assert.ok(folder === "" || folders.has(folder), path);
    }
    assert.ok(tar(entries).length > 0);
  }
});
