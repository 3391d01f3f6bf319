import { deepEqual, equal } from "node:assert/strict";
import { createHash } from "node:crypto";
import { z } from "zod";
import { ociArchive } from "./image.ts";
import type { Entry } from "../../deploy/image/tar.ts";

const ROOT: Entry[] = [
  { type: "directory", path: "bin", mode: 0o755 },
  { type: "file", path: "bin/true", mode: 0o755, bytes: new TextEncoder().encode("#!/bin/sh\n") },
];
const Descriptor = z.object({
  digest: z.string(),
  size: z.number(),
  annotations: z.record(z.string(), z.string()).optional(),
});
const Index = z.object({ manifests: z.tuple([Descriptor]) });
const Manifest = z.object({ config: Descriptor, layers: z.tuple([Descriptor]) });
const Config = z.object({
  config: z.object({ Cmd: z.array(z.string()) }),
  rootfs: z.object({ diff_ids: z.tuple([z.string()]) }),
});

Deno.test("ociArchive gives the same bytes for the same files", () => {
  deepEqual(ociArchive(ROOT.toReversed(), "a:1", ["true"]), ociArchive(ROOT, "a:1", ["true"]));
});

Deno.test("ociArchive leads from the index to the layer by digests that hold", () => {
  const files = members(ociArchive(ROOT, "a:1", ["true"]));
  const blob = ({ digest, size }: z.infer<typeof Descriptor>) => {
    const bytes = files.get(`blobs/${digest.replace(":", "/")}`) ?? new Uint8Array();
    equal("sha256:" + createHash("sha256").update(bytes).digest("hex"), digest);
    equal(bytes.length, size);
    return bytes;
  };
  const parse = (bytes: Uint8Array | undefined): unknown => JSON.parse(new TextDecoder().decode(bytes));

  const [found] = Index.parse(parse(files.get("index.json"))).manifests;
  equal(found.annotations?.["io.containerd.image.name"], "a:1");
  const manifest = Manifest.parse(parse(blob(found)));
  const config = Config.parse(parse(blob(manifest.config)));
  deepEqual(config.config.Cmd, ["true"]);
  deepEqual(config.rootfs.diff_ids, [manifest.layers[0].digest]);
  deepEqual([...members(blob(manifest.layers[0])).keys()], ["bin/", "bin/true"]);
});

/** The members of a ustar archive without long names. */
function members(archive: Uint8Array): Map<string, Uint8Array> {
  const found = new Map<string, Uint8Array>();
  const field = (at: number, bytes: number) =>
    new TextDecoder().decode(archive.subarray(at, at + bytes)).replace(/\0.*$/s, "");
  for (let at = 0; archive[at] !== 0;) {
    const size = parseInt(field(at + 124, 12), 8);
    found.set(field(at, 100), archive.subarray(at + 512, at + 512 + size));
    at += 512 + Math.ceil(size / 512) * 512;
  }
  return found;
}
