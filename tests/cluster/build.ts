/** The programs that are built from source, all of one Go module: they share versions and the compiled packages. */

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

/**
 * What `go build` is told, by the name of the program in `.cluster/bin`; built in this order, since the first compiles most of
 * what the others are made of.
 */
const PROGRAMS = {
  /** API server, controller manager, scheduler and kubelet. */
  "kube": ".",
  "kubectl-1.34": "k8s.io/kubernetes/cmd/kubectl",
  /** A program that uses client-go. */
  "goclient": "./goclient",
  /** What ports of the test pods lead to. */
  "toolbox-echo": "./echo",
} as const;

/** Name of a program that is built here. */
export type BuiltProgram = keyof typeof PROGRAMS;

const NAMES: readonly BuiltProgram[] = ["kube", "kubectl-1.34", "goclient", "toolbox-echo"];

/** Where a program lies once it was built. */
export function builtProgram(at: Layout, name: BuiltProgram): string {
  return join(at.bin, name);
}

/** The programs that were not built yet, or from other sources than there are now. */
export async function programsToBuild(at: Layout): Promise<BuiltProgram[]> {
  const built = await Promise.all(NAMES.map((name) => isBuilt(at, name)));
  return NAMES.filter((_, index) => !built[index]);
}

/** Builds one program: seconds where its packages are compiled already; `kube` takes ten minutes the first time. */
export async function buildProgram(at: Layout, name: BuiltProgram): Promise<void> {
  const target = PROGRAMS[name];
  const path = builtProgram(at, name);
  try {
    await run(["go", ...BUILD, "-o", path, target], { cwd: MODULE, env: { CGO_ENABLED: "0" } });
  } catch (error) {
    if (error instanceof CommandFailed) throw new Error(`Go could not build ${target}`, { cause: error });
    throw error;
  }
  await Deno.writeTextFile(stamp(path), await sourceHash(name));
}

/** The machine's kubectl where it has one, else the one that is built here. @returns its absolute path */
export async function findKubectl(at: Layout): Promise<string> {
  if (await isInstalled("kubectl")) return (await run(["sh", "-c", "command -v kubectl"])).trim();
  return builtProgram(at, "kubectl-1.34");
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

async function isBuilt(at: Layout, name: BuiltProgram): Promise<boolean> {
  const path = builtProgram(at, name);
  const built = await Deno.readTextFile(stamp(path)).catch(() => "");
  return built === await sourceHash(name) && await isInstalled(path);
}

async function sourceHash(name: BuiltProgram): Promise<string> {
  const target = PROGRAMS[name];
  const hash = createHash("sha256").update([...BUILD, target].join(" "));
  const sources = target.startsWith(".") ? await sourcesIn(join(MODULE, target)) : [];
  for (const path of [join(MODULE, "go.mod"), join(MODULE, "go.sum"), ...sources]) {
    hash.update(await Deno.readFile(path));
  }
  return hash.digest("hex");
}

async function sourcesIn(folder: string): Promise<string[]> {
  const names = (await Array.fromAsync(Deno.readDir(folder))).map(({ name }) => name);
  return names.filter((name) => name.endsWith(".go")).sort().map((name) => join(folder, name));
}

function stamp(path: string): string {
  return `${path}.sha256`;
}
