/**
 * An image as bytes: layers, what is said of them, and all of it in one archive. The same parts give the same bytes.
 *
 * @see OCI Image Format Specification 1.1: image-layout.md, image-index.md, manifest.md, config.md, layer.md
 */

import { createHash } from "node:crypto";
import { gzipSync } from "node:zlib";
import type { Architecture } from "./platform.ts";
import { type Entry, tar } from "./tar.ts";

const MEDIA = {
  index: "application/vnd.oci.image.index.v1+json",
  manifest: "application/vnd.oci.image.manifest.v1+json",
  config: "application/vnd.oci.image.config.v1+json",
  layer: "application/vnd.oci.image.layer.v1.tar+gzip",
};

/** What a container is started with. Names are the specification's. */
export interface ImageConfig {
  User: string;
  Entrypoint: readonly string[];
  Cmd: readonly string[];
  Env: readonly string[];
  WorkingDir: string;
  Labels: Readonly<Record<string, string>>;
}

/** A part of an image, as others point at it. */
interface Descriptor {
  mediaType: string;
  digest: string;
  size: number;
}

/** An image of one platform. */
export interface Image {
  /** `sha256:` and digits, of the manifest. */
  digest: string;
  /** What a registry keeps and a node fetches, in bytes. */
  compressedBytes: number;
  manifest: Descriptor & { platform: { architecture: Architecture; os: "linux" } };
  blobs: ReadonlyMap<string, Uint8Array>;
}

/** @param layers the lowest first */
export function makeImage(
  architecture: Architecture,
  config: ImageConfig,
  layers: readonly { createdBy: string; entries: readonly Entry[] }[],
): Image {
  const blobs = new Map<string, Uint8Array>();
  const add = (mediaType: string, bytes: Uint8Array): Descriptor => {
    blobs.set(digestOf(bytes), bytes);
    return { mediaType, digest: digestOf(bytes), size: bytes.length };
  };
  const tars = layers.map(({ entries }) => tar(entries));
  const compressed = tars.map((bytes) => add(MEDIA.layer, gzipSync(bytes, { level: 9 })));
  const platform = { architecture, os: "linux" } as const;
  const described = add(
    MEDIA.config,
    json({
      ...platform,
      config,
      rootfs: { type: "layers", diff_ids: tars.map(digestOf) },
      history: layers.map(({ createdBy }) => ({ created_by: createdBy })),
    }),
  );
  const manifest = add(
    MEDIA.manifest,
    json({ schemaVersion: 2, mediaType: MEDIA.manifest, config: described, layers: compressed }),
  );
  const compressedBytes = compressed.reduce((total, { size }) => total + size, 0);
  return { digest: manifest.digest, compressedBytes, manifest: { ...manifest, platform }, blobs };
}

/**
 * The images of one name in an archive that `ctr images import`, `docker load`, `podman load` and `skopeo` read.
 *
 * @param name with its tag
 */
export function ociArchive(
  name: string,
  images: readonly Image[],
): { archive: Uint8Array; digest: string } {
  const manifests = images.map(({ manifest }) => manifest);
  const platforms = json({ schemaVersion: 2, mediaType: MEDIA.index, manifests });
  const blobs = new Map(images.flatMap(({ blobs }) => [...blobs]));
  blobs.set(digestOf(platforms), platforms);
  const annotations = { "io.containerd.image.name": name, "org.opencontainers.image.ref.name": name };
  const top = { mediaType: MEDIA.index, digest: digestOf(platforms), size: platforms.length, annotations };
  const index = json({ schemaVersion: 2, mediaType: MEDIA.index, manifests: [top] });
  const file = (path: string, bytes: Uint8Array): Entry => ({ type: "file", path, mode: 0o644, bytes });
  const archive = tar([
    file("oci-layout", json({ imageLayoutVersion: "1.0.0" })),
    file("index.json", index),
    ...[...blobs].map(([digest, bytes]) => file(`blobs/${digest.replace(":", "/")}`, bytes)),
  ]);
  return { archive, digest: top.digest };
}

function json(value: unknown): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(value));
}

function digestOf(bytes: Uint8Array): string {
  return "sha256:" + createHash("sha256").update(bytes).digest("hex");
}
