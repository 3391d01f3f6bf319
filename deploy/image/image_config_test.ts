import assert from "node:assert/strict";
import { LIBC_PATHS } from "../../server/libc.ts";
import { describeImage } from "./image_config.ts";
import { DEBIAN_PACKAGES } from "./libraries.ts";
import { PLATFORMS } from "./platform.ts";

const TASKS = {
  start: { command: "deno run --allow-net --allow-env=A --allow-ffi=/libc main.ts" },
  postern: { command: "deno run --allow-net --allow-sys=uid cli/postern.ts" },
};
const MANIFEST = { version: "1.2.3", description: "A door.", license: "Apache-2.0" };
const describe = (deno: unknown, revision?: string) =>
  describeImage(JSON.stringify(MANIFEST), JSON.stringify(deno), revision);

Deno.test("describeImage grants what both programs need together, and has each give away the other's", () => {
  const { config: { Entrypoint }, surrenders } = describe({ tasks: TASKS });
  assert.deepEqual(Entrypoint.filter((word) => word.startsWith("--allow-")), [
    "--allow-net",
    "--allow-env=A",
    "--allow-sys=uid",
    "--allow-ffi=/libc",
  ]);
  assert.deepEqual(surrenders, {
    gateway: [{ name: "sys", kind: "uid" }],
    command: [{ name: "env", variable: "A" }, { name: "ffi", path: "/libc" }],
  });
});

Deno.test("describeImage takes the unstable features from deno.json, which the image does not have", () => {
  const { config: { Entrypoint } } = describe({ unstable: ["net"], tasks: TASKS });
  assert.ok(Entrypoint.includes("--unstable-net") && Entrypoint.includes("--no-config"));
});

Deno.test("describeImage: a user by number, who is not root", () => {
  assert.match(describe({ tasks: TASKS }).config.User, /^[1-9]\d*:[1-9]\d*$/);
});

Deno.test("describeImage: a commit that is not known is not named", () => {
  const revision = "org.opencontainers.image.revision";
  assert.equal(describe({ tasks: TASKS }, "abc").config.Labels[revision], "abc");
  assert.equal(revision in describe({ tasks: TASKS }).config.Labels, false);
});

Deno.test("the image has libc where the gateway looks for it, on every platform", () => {
  const known: readonly string[] = LIBC_PATHS;
  for (const { libraryFolder } of Object.values(PLATFORMS)) {
    assert.ok(known.includes(`/lib/${libraryFolder}/libc.so.6`), libraryFolder);
  }
  assert.ok(DEBIAN_PACKAGES.some(({ libraries }) => libraries.includes("libc.so.6")));
});
