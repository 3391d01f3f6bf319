/**
 * The one container image of the cluster, made of programs of this machine: busybox with its applets, bash, GNU tar
 * and rsync with the libraries they are linked to, and `toolbox-echo` for ports. It serves as pause image too.
 */

import { createHash } from "node:crypto";
import { dirname, join } from "node:path";
import type { Layout } from "./layout.ts";
import { run } from "./processes.ts";
import { type Entry, tar } from "../../deploy/image/tar.ts";

/** Its name in pod manifests; nothing is ever pulled. */
export const IMAGE = "postern.test/toolbox:1";

const ARCHITECTURES: Record<string, string> = { x86_64: "amd64", aarch64: "arm64" };
const LINKED_PROGRAMS = ["bash", "tar", "rsync"];
const FILES: Record<string, string> = {
  "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n",
  "etc/group": "root:x:0:\nnogroup:x:65534:\n",
  "www/index.html": "postern test cluster\n",
};

/** Absolute paths of the programs that are linked statically. */
export interface StaticPrograms {
  busybox: string;
  "toolbox-echo": string;
}

/** Builds the image and writes it as an archive for `ctr images import`. @returns the archive's path */
export async function writeImage(at: Layout, programs: StaticPrograms): Promise<string> {
  const path = join(at.image, "toolbox.tar");
  await Deno.writeFile(path, ociArchive(await rootFileSystem(programs), IMAGE, ["/bin/sleep", "2147483647"]));
  return path;
}

/**
 * An OCI image layout of one layer, in a tar archive. The same entries give the same bytes.
 *
 * @param name the reference that containerd gives to the image
 * @param command the image's default command
 * @see OCI Image Format Specification 1.0: image-layout.md, manifest.md, config.md
 */
export function ociArchive(root: readonly Entry[], name: string, command: readonly string[]): Uint8Array {
  const layer = tar(root);
  const config = json({
    architecture: ARCHITECTURES[Deno.build.arch] ?? Deno.build.arch,
    os: "linux",
    config: { Cmd: command, Env: ["PATH=/bin:/usr/bin:/sbin"], WorkingDir: "/" },
    rootfs: { type: "layers", diff_ids: [digest(layer)] },
  });
  const manifest = json({
    schemaVersion: 2,
    mediaType: "application/vnd.oci.image.manifest.v1+json",
    config: descriptor("application/vnd.oci.image.config.v1+json", config),
    layers: [descriptor("application/vnd.oci.image.layer.v1.tar", layer)],
  });
  const annotations = { "io.containerd.image.name": name, "org.opencontainers.image.ref.name": name };
  const index = json({
    schemaVersion: 2,
    manifests: [{ ...descriptor("application/vnd.oci.image.manifest.v1+json", manifest), annotations }],
  });
  const blob = (bytes: Uint8Array) => file(`blobs/${digest(bytes).replace(":", "/")}`, bytes, 0o644);
  return tar([
    file("oci-layout", json({ imageLayoutVersion: "1.0.0" }), 0o644),
    file("index.json", index, 0o644),
    ...[config, manifest, layer].map(blob),
  ]);
}

async function rootFileSystem(programs: StaticPrograms): Promise<Entry[]> {
  const entries = new Map<string, Entry>();
  const add = (entry: Entry) => entries.set(entry.path, entry);

  for (const [name, path] of Object.entries(programs)) {
    add(file(`bin/${name}`, await Deno.readFile(path), 0o755));
  }
  for (const applet of (await run([programs.busybox, "--list"])).trim().split("\n")) {
    if (applet !== "busybox") add({ type: "symlink", path: `bin/${applet}`, target: "busybox" });
  }
  for (const program of LINKED_PROGRAMS) { // in place of busybox' own tar
    const path = (await run(["sh", "-c", `command -v ${program}`])).trim();
    add(file(`bin/${program}`, await Deno.readFile(path), 0o755));
    for (const library of await libraries(path)) {
      add(file(library.slice(1), await Deno.readFile(library), 0o755));
    }
  }
  for (const [path, text] of Object.entries(FILES)) add(file(path, new TextEncoder().encode(text), 0o644));

  for (const path of [...entries.keys(), "proc/x", "sys/x", "dev/x", "root/x", "run/x"]) {
    for (let folder = dirname(path); folder !== "."; folder = dirname(folder)) {
      add({ type: "directory", path: folder, mode: 0o755 });
    }
  }
  add({ type: "directory", path: "tmp", mode: 0o1777 });
  return [...entries.values()];
}

/** Absolute paths of the shared libraries of a program, the loader among them. */
async function libraries(program: string): Promise<string[]> {
  const listed = await run(["ldd", program]);
  return [...listed.matchAll(/(?:^|\s)(\/\S+) \(0x/gm)].map(([, path = ""]) => path);
}

function file(path: string, bytes: Uint8Array, mode: number): Entry {
  return { type: "file", path, mode, bytes };
}

function json(value: unknown): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(value));
}

function digest(bytes: Uint8Array): string {
  return "sha256:" + createHash("sha256").update(bytes).digest("hex");
}

function descriptor(mediaType: string, bytes: Uint8Array) {
  return { mediaType, digest: digest(bytes), size: bytes.length };
}
