import { dirname } from "node:path";
import type { Entry } from "./tar.ts";

/** Who the gateway is: a number, as `runAsNonRoot` wants it, that owns nothing in the image. */
export const USER_ID = 65532;

const PASSWD = `root:x:0:0:root:/:/sbin/nologin
postern:x:${USER_ID}:${USER_ID}:postern:/tmp:/sbin/nologin
`;
const GROUP = `root:x:0:
postern:x:${USER_ID}:
`;

/** How names are looked up; glibc asks before it asks DNS. */
const NSSWITCH = `passwd: files
group: files
hosts: files dns
`;

/** The lower layer: Deno and what it is linked to. Deno brings its own roots of trust and its own time zones. */
export function runtimeEntries(deno: Uint8Array, libraries: readonly Entry[]): Entry[] {
  return withFolders([
    { type: "file", path: "usr/bin/deno", mode: 0o755, bytes: deno },
    ...libraries,
    text("etc/passwd", PASSWD),
    text("etc/group", GROUP),
    text("etc/nsswitch.conf", NSSWITCH),
    { type: "directory", path: "tmp", mode: 0o1777 },
  ]);
}

/** The upper layer: the bundle, the inventory, and the licences that ask to be handed on. */
export function applicationEntries(
  files: ReadonlyMap<string, Uint8Array>,
  inventory: string,
  licenses: ReadonlyMap<string, string>,
): Entry[] {
  return withFolders([
    ...[...files].map((
      [name, bytes],
    ) => ({ type: "file", path: `app/${name}`, mode: 0o644, bytes } as const)),
    text("usr/share/sbom/postern.cdx.json", inventory),
    ...[...licenses].map(([name, license]) => text(`usr/share/licenses/${name}`, license)),
  ]);
}

function text(path: string, contents: string): Entry {
  return { type: "file", path, mode: 0o644, bytes: new TextEncoder().encode(contents) };
}

/** The entries, and every folder that they lie in. */
function withFolders(entries: readonly Entry[]): Entry[] {
  const all = new Map(entries.map((entry) => [entry.path, entry]));
  for (const { path } of entries) {
    for (let folder = dirname(path); folder !== "."; folder = dirname(folder)) {
      if (!all.has(folder)) all.set(folder, { type: "directory", path: folder, mode: 0o755 });
    }
  }
  return [...all.values()];
}
