/**
 * What an image is made of, as CycloneDX 1.6: Postern, the packages that are in its bundle, Deno, and Debian's libraries.
 * Nothing in it depends on when or where it was written.
 *
 * @see https://cyclonedx.org/docs/1.6/json/
 */

import { createHash } from "node:crypto";
import { DEBIAN_PACKAGES } from "./libraries.ts";
import { type LockedPackage, resolvePackage } from "./lock.ts";
import type { Platform } from "./platform.ts";

/** What the inventory is written from. */
export interface Parts {
  version: string;
  revision: string | undefined;
  platform: Platform;
  deno: LockedPackage;
  /** Those that are in the bundle. */
  packages: readonly LockedPackage[];
  /** Names of those that Postern asks for itself. */
  dependencies: readonly string[];
}

interface Component {
  type: "application" | "library" | "platform";
  "bom-ref": string;
  name: string;
  version: string;
  purl?: string;
  licenses?: readonly ({ expression: string } | { license: { id: string } })[];
  hashes?: readonly { alg: "SHA-256" | "SHA-512"; content: string }[];
  properties?: readonly { name: string; value: string }[];
}

/** @returns the document's text */
export function sbom(parts: Parts): string {
  const { version, revision, platform, deno, packages, dependencies } = parts;
  const postern: Component = {
    type: "application",
    "bom-ref": "postern",
    name: "postern",
    version,
    licenses: licensed("Apache-2.0"),
    ...(revision !== undefined && { properties: [{ name: "postern:revision", value: revision }] }),
  };
  const runtime: Component = { ...npmComponent(deno), type: "platform" };
  const bundled = packages.map(npmComponent);
  const debian = DEBIAN_PACKAGES.map((part) => debianComponent(part, platform));
  const refs = (components: readonly Component[]) => components.map((component) => component["bom-ref"]);
  const meantBy = (folder: string, names: readonly string[]) =>
    names.flatMap((name) => resolvePackage(packages, folder, name) ?? []).map(npmComponent);
  const document = {
    bomFormat: "CycloneDX",
    specVersion: "1.6",
    version: 1,
    metadata: {
      component: postern,
      tools: { components: [{ type: "application", name: "deno task image" }] },
    },
    components: [runtime, ...bundled, ...debian],
    dependencies: [
      { ref: "postern", dependsOn: refs([runtime, ...meantBy("", dependencies)]) },
      { ref: runtime["bom-ref"], dependsOn: refs(debian) },
      ...packages.map((locked) => ({
        ref: npmComponent(locked)["bom-ref"],
        dependsOn: refs(meantBy(locked.folder, locked.dependencies)),
      })),
    ],
  };
  const serialNumber = `urn:uuid:${uuidOf(JSON.stringify(document))}`;
  return JSON.stringify({ ...document, serialNumber }, undefined, 2) + "\n";
}

function npmComponent({ name, version, license, fingerprint }: LockedPackage): Component {
  const purl = `pkg:npm/${name.replace("@", "%40")}@${version}`;
  return {
    type: "library",
    "bom-ref": purl,
    name,
    version,
    purl,
    ...(license !== undefined && { licenses: licensed(license) }),
    hashes: [{ alg: "SHA-512", content: fingerprint.hex }],
  };
}

function debianComponent(
  { name, version, license, source, sha256 }: typeof DEBIAN_PACKAGES[number],
  { architecture }: Platform,
): Component {
  const purl = `pkg:deb/debian/${name}@${encodeURIComponent(version)}?arch=${architecture}&distro=bookworm`;
  return {
    type: "library",
    "bom-ref": purl,
    name,
    version,
    purl,
    licenses: licensed(license),
    hashes: [{ alg: "SHA-256", content: sha256[architecture] }],
    properties: [{ name: "postern:debian:source", value: source }],
  };
}

function licensed(license: string): Component["licenses"] {
  return license.includes(" ") ? [{ expression: license }] : [{ license: { id: license } }];
}

/** A UUID of version 8: the digest of a text, with the bits that say so. */
function uuidOf(text: string): string {
  const bytes = createHash("sha256").update(text).digest().subarray(0, 16);
  bytes[6] = (bytes[6] ?? 0) & 0x0f | 0x80;
  bytes[8] = (bytes[8] ?? 0) & 0x3f | 0x80;
  return bytes.toString("hex").replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}
