import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { gunzipSync } from "node:zlib";
import { z } from "zod";
import { type ImageConfig, makeImage, ociArchive } from "./oci.ts";
import { type Entry, tar } from "./tar.ts";

const CONFIG: ImageConfig = {
  User: "65532:65532",
  Entrypoint: ["/hello"],
  Cmd: [],
  Env: [],
  WorkingDir: "/",
  Labels: { a: "b" },
};
const ENTRIES: Entry[] = [{ type: "file", path: "hello", mode: 0o755, bytes: new Uint8Array([1, 2, 3]) }];

const descriptor = z.object({ mediaType: z.string(), digest: z.string(), size: z.number() });
const indexSchema = z.object({
  manifests: z.array(descriptor.extend({
    annotations: z.record(z.string(), z.string()).optional(),
    platform: z.object({ architecture: z.string(), os: z.string() }).optional(),
  })),
});
const manifestSchema = z.object({ config: descriptor, layers: z.array(descriptor) });
const configSchema = z.looseObject({
  architecture: z.string(),
  config: z.unknown(),
  rootfs: z.object({ diff_ids: z.array(z.string()) }),
});

function make() {
  const layers = [{ createdBy: "a test", entries: ENTRIES }];
  return ociArchive("example.org/hello:1", [
    makeImage("amd64", CONFIG, layers),
    makeImage("arm64", CONFIG, layers),
  ]);
}

Deno.test("ociArchive: the same parts give the same bytes", () => {
  assert.deepEqual(make(), make());
});

Deno.test("ociArchive: from the index to the layers, every part is where its digest says, and as long", () => {
  const { archive, digest } = make();
  const files = untar(archive);
  assert.deepEqual(parse(files, "oci-layout", z.unknown()), { imageLayoutVersion: "1.0.0" });
  const [named] = parse(files, "index.json", indexSchema).manifests;
  assert.equal(named?.digest, digest);
  assert.equal(named.annotations?.["io.containerd.image.name"], "example.org/hello:1");
  const { manifests } = indexSchema.parse(JSON.parse(blob(files, named)));
  assert.deepEqual(manifests.map(({ platform }) => platform?.architecture), ["amd64", "arm64"]);
  for (const each of manifests) {
    const manifest = manifestSchema.parse(JSON.parse(blob(files, each)));
    const config = configSchema.parse(JSON.parse(blob(files, manifest.config)));
    assert.equal(config.architecture, each.platform?.architecture);
    assert.deepEqual(config.config, CONFIG);
    const layers = manifest.layers.map((layer) => gunzipSync(bytesOf(files, layer)));
    assert.deepEqual(config.rootfs.diff_ids, layers.map(digestOf));
    assert.deepEqual(layers.map((layer) => new Uint8Array(layer)), [tar(ENTRIES)]);
  }
});

/** Reads ustar, as far as it is written here: names, sizes and bytes. */
function untar(archive: Uint8Array): Map<string, Uint8Array> {
  const files = new Map<string, Uint8Array>();
  const text = (at: number, bytes: number) =>
    new TextDecoder().decode(archive.subarray(at, at + bytes)).replace(/\0.*$/s, "");
  for (let at = 0; text(at, 100) !== "";) {
    const bytes = parseInt(text(at + 124, 12), 8);
    files.set(text(at, 100), archive.subarray(at + 512, at + 512 + bytes));
    at += 512 + Math.ceil(bytes / 512) * 512;
  }
  return files;
}

function parse<T>(files: ReadonlyMap<string, Uint8Array>, path: string, schema: z.ZodType<T>): T {
  return schema.parse(JSON.parse(new TextDecoder().decode(files.get(path))));
}

function bytesOf(
  files: ReadonlyMap<string, Uint8Array>,
  { digest, size }: z.infer<typeof descriptor>,
): Uint8Array {
  const bytes = files.get(`blobs/${digest.replace(":", "/")}`);
  assert.ok(bytes !== undefined, digest);
  assert.deepEqual([digestOf(bytes), bytes.length], [digest, size]);
  return bytes;
}

function blob(files: ReadonlyMap<string, Uint8Array>, part: z.infer<typeof descriptor>): string {
  return new TextDecoder().decode(bytesOf(files, part));
}

function digestOf(bytes: Uint8Array): string {
  return "sha256:" + createHash("sha256").update(bytes).digest("hex");
}
