/** The programs that are built from source: `kube`, and kubectl on a machine that has none. */

import { createHash } from "node:crypto";
import { join } from "node:path";
import { type Layout, SOURCES } from "./layout.ts";
import { CommandFailed, isInstalled, run } from "./processes.ts";
import { Unfit } from "./unfit.ts";

/** Go module of the programs; go.mod pins the version of Kubernetes. */
const MODULE = join(SOURCES, "kube");
const KUBERNETES = { major: 1, minor: 34, patch: 4 };
const GO_AT_LEAST = { major: 1, minor: 24 };

const VERSION_PACKAGE = "k8s.io/component-base/version";
const { major, minor, patch } = KUBERNETES;
const LINKER_FLAGS = [
  "-s -w",
  `-X ${VERSION_PACKAGE}.gitVersion=v${major}.${minor}.${patch}`,
  `-X ${VERSION_PACKAGE}.gitMajor=${major}`,
  `-X ${VERSION_PACKAGE}.gitMinor=${minor}`,
].join(" ");
/** `providerless` leaves the clouds out; `selinux` is what a distribution would build with. */
const BUILD = [
  "build",
  "-trimpath",
  "-buildvcs=false",
  "-tags",
  "providerless,selinux",
  "-ldflags",
  LINKER_FLAGS,
];

/** Whether `kube` was built from the sources as they are now. */
export async function isKubeBuilt(at: Layout): Promise<boolean> {
  const built = await Deno.readTextFile(stamp(at)).catch(() => "");
  return built === await sourceHash() && await isInstalled(at.kube);
}

/** Builds API server, controller manager, scheduler and kubelet as one program: some 15 s, ten minutes the first time. */
export async function buildKube(at: Layout): Promise<void> {
  await build(at.kube, ".");
  await Deno.writeTextFile(stamp(at), await sourceHash());
}

/** The machine's kubectl where it has one, else one that is built here. @returns its absolute path */
export async function findKubectl(at: Layout): Promise<string> {
  if (await isInstalled("kubectl")) return (await run(["sh", "-c", "command -v kubectl"])).trim();
  const path = join(at.bin, "kubectl");
  if (!await isInstalled(path)) await build(path, "k8s.io/kubernetes/cmd/kubectl");
  return path;
}

/** @throws {Unfit} where Go is missing or too old */
export async function checkGo(): Promise<void> {
  const least = `${GO_AT_LEAST.major}.${GO_AT_LEAST.minor}`;
  if (!await isInstalled("go")) {
    throw new Unfit(`The test cluster needs Go ${least} or later on PATH: it builds Kubernetes from source.`);
  }
  const version = (await run(["go", "env", "GOVERSION"], { env: { GOTOOLCHAIN: "local" } })).trim();
  if (!isRecentGo(version)) {
    throw new Unfit(`The test cluster needs Go ${least} or later to build Kubernetes; this is ${version}.`);
  }
}

/** @param version as `go env GOVERSION` says it: `go1.24.3`, `go1.25rc1` */
export function isRecentGo(version: string): boolean {
  const [, foundMajor = "0", foundMinor = "0"] = /^go(\d+)\.(\d+)/.exec(version) ?? [];
  const found = Number(foundMajor) * 1000 + Number(foundMinor);
  return found >= GO_AT_LEAST.major * 1000 + GO_AT_LEAST.minor;
}

async function build(output: string, target: string): Promise<void> {
  await checkGo();
  try {
    await run(["go", ...BUILD, "-o", output, target], { cwd: MODULE, env: { CGO_ENABLED: "0" } });
  } catch (error) {
    if (error instanceof CommandFailed) throw new Error(`Go could not build ${target}`, { cause: error });
    throw error;
  }
}

async function sourceHash(): Promise<string> {
  const hash = createHash("sha256").update(BUILD.join(" "));
  for (const name of ["main.go", "go.mod", "go.sum"]) hash.update(await Deno.readFile(join(MODULE, name)));
  return hash.digest("hex");
}

function stamp(at: Layout): string {
  return `${at.kube}.sha256`;
}
