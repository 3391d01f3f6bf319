import assert from "node:assert/strict";
import { Lock, resolvePackage } from "./lock.ts";

const locked = (packages: unknown) => JSON.stringify({ lockfileVersion: 3, packages });
const SHA512 = "sha512-" + btoa("x".repeat(64));

Deno.test("Lock gives a package by its folder, with the hash as digits", () => {
  const lock = Lock.parse(locked({
    "": { version: "1.0.0" },
    "node_modules/@a/b/node_modules/@c/d": { version: "2.0.0", integrity: SHA512, license: "MIT" },
  }));
  assert.deepEqual(lock.get("node_modules/@a/b/node_modules/@c/d"), {
    folder: "node_modules/@a/b/node_modules/@c/d",
    name: "@c/d",
    version: "2.0.0",
    license: "MIT",
    fingerprint: { algorithm: "sha512", hex: "78".repeat(64) },
    dependencies: [],
  });
});

Deno.test("resolvePackage finds the nearest, as modules are found", () => {
  const folders = ["node_modules/b", "node_modules/a", "node_modules/a/node_modules/b", "node_modules/@c/d"];
  const lock = Lock.parse(
    locked(Object.fromEntries(folders.map((folder) => [folder, { version: "1.0.0", integrity: SHA512 }]))),
  );
  const packages = folders.map((folder) => lock.get(folder));
  const from = (folder: string, name: string) => resolvePackage(packages, folder, name)?.folder;
  assert.equal(from("node_modules/a", "b"), "node_modules/a/node_modules/b");
  assert.equal(from("node_modules/a/node_modules/b", "@c/d"), "node_modules/@c/d");
  assert.equal(from("node_modules/@c/d", "b"), "node_modules/b");
  assert.equal(from("", "b"), "node_modules/b");
  assert.equal(from("node_modules/a", "e"), undefined);
});

const refused = [
  ["a package without a hash", { version: "1.0.0" }],
  ["a package with a weak hash alone", { version: "1.0.0", integrity: "sha1-2jmj7l5rSw0yVb/vlWAYkK/YBwk=" }],
  ["a package without a version", { integrity: SHA512 }],
] as const;

for (const [what, entry] of refused) {
  Deno.test(`Lock refuses ${what}`, () => {
    assert.throws(() => Lock.parse(locked({ "node_modules/a": entry })), TypeError);
  });
}

Deno.test("the project's lock has Deno for every platform of the image", async () => {
  const lock = Lock.parse(await Deno.readTextFile(new URL("../../package-lock.json", import.meta.url)));
  for (const name of ["linux-x64-glibc", "linux-arm64-glibc"]) {
    assert.equal(lock.get(`node_modules/@deno/${name}`).version, lock.get("node_modules/deno").version);
  }
});
