import assert from "node:assert/strict";
import { z } from "zod";
import { Lock } from "./lock.ts";
import { PLATFORMS } from "./platform.ts";
import { type Parts, sbom } from "./sbom.ts";

const lock = Lock.parse(await Deno.readTextFile(new URL("../../package-lock.json", import.meta.url)));
const PARTS: Parts = {
  version: "1.2.3",
  revision: "abc",
  platform: PLATFORMS.arm64,
  deno: lock.get("node_modules/@deno/linux-arm64-glibc"),
  packages: ["@hono/zod-openapi", "zod"].map((name) => lock.get(`node_modules/${name}`)),
  dependencies: ["zod", "left-out"],
};

const documentSchema = z.object({
  serialNumber: z.string(),
  components: z.array(z.object({
    "bom-ref": z.string(),
    purl: z.string(),
    hashes: z.array(z.object({ alg: z.string(), content: z.string() })).length(1),
    licenses: z.array(z.unknown()).length(1),
  })),
  dependencies: z.array(z.object({ ref: z.string(), dependsOn: z.array(z.string()) })),
});
const read = (parts: Parts) => documentSchema.parse(JSON.parse(sbom(parts)));

Deno.test("sbom: the same parts give the same text, and others another number", () => {
  assert.equal(sbom(PARTS), sbom(PARTS));
  assert.match(
    read(PARTS).serialNumber,
    /^urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/,
  );
  assert.notEqual(read(PARTS).serialNumber, read({ ...PARTS, version: "1.2.4" }).serialNumber);
});

Deno.test("sbom: everything that is in the image is named as others name it, with a hash and a licence", () => {
  const purls = read(PARTS).components.map(({ purl }) => purl.replace(/@[^@?]*(\?.*)?$/, "$1"));
  assert.deepEqual(purls, [
    "pkg:npm/%40deno/linux-arm64-glibc",
    "pkg:npm/%40hono/zod-openapi",
    "pkg:npm/zod",
    ...["libc6", "libgcc-s1", "gcc-12-base"].map((name) =>
      `pkg:deb/debian/${name}?arch=arm64&distro=bookworm`
    ),
  ]);
});

Deno.test("sbom: Postern needs Deno and what it asks for, as far as that is in the bundle", () => {
  const [first] = read(PARTS).dependencies;
  assert.equal(first?.ref, "postern");
  assert.deepEqual(first.dependsOn.map((ref) => ref.replace(/@[^@]*$/, "")), [
    "pkg:npm/%40deno/linux-arm64-glibc",
    "pkg:npm/zod",
  ]);
});

Deno.test("sbom: what needs what is told with names that are there", () => {
  const { components, dependencies } = read(PARTS);
  const names = new Set(["postern", ...components.map((component) => component["bom-ref"])]);
  for (const { ref, dependsOn } of dependencies) {
    for (const name of [ref, ...dependsOn]) assert.ok(names.has(name), name);
  }
});
