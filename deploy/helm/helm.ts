import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/** The version that the chart is rendered and tested with. */
const VERSION = "v3.22.0";

/** What `helm template` takes the cluster to be, as there is none that it could ask. */
const KUBERNETES = "1.34.0";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));

/** The folder of the chart. */
export const CHART = fileURLToPath(new URL("postern", import.meta.url));

/** What Helm said, whatever it came to. */
export interface Said {
  success: boolean;
  out: string;
  error: string;
}

/**
 * Where Helm is: what HELM names, what was built before, or else built now, from the Go module proxy, once for all work trees
 * that share the folder. That takes two to five minutes.
 *
 * @throws {Error} there is neither Helm nor Go, or it cannot be built
 */
export async function findHelm(): Promise<string> {
  const given = Deno.env.get("HELM");
  if (given !== undefined) return given;
  const built = join(ROOT, ".cluster", "bin", `helm-${VERSION}`);
  if (await Deno.stat(built).then(({ isFile }) => isFile, () => false)) return built;
  await Deno.mkdir(dirname(built), { recursive: true });
  const folder = await Deno.makeTempDir({ dir: dirname(built) });
  try {
    const build = new Deno.Command("go", {
      args: ["install", "-trimpath", "-ldflags=-s -w", `helm.sh/helm/v3/cmd/helm@${VERSION}`],
      env: { GOBIN: folder, GOFLAGS: "-mod=mod" },
    });
    const { success, stderr } = await build.output();
    if (!success) throw new Error(`Helm cannot be built: ${new TextDecoder().decode(stderr)}`);
    await Deno.rename(join(folder, "helm"), built);
    return built;
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** Runs Helm. Without settings, plugins or repositories of the person who runs this. */
export async function helm(binary: string, ...args: string[]): Promise<Said> {
  const home = await Deno.makeTempDir({ prefix: "postern-helm-" });
  try {
    const { success, stdout, stderr } = await new Deno.Command(binary, {
      args,
      env: { HELM_CONFIG_HOME: home, HELM_CACHE_HOME: home, HELM_DATA_HOME: home, HELM_PLUGINS: home },
    }).output();
    const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
    return { success, out: text(stdout), error: text(stderr) };
  } finally {
    await Deno.remove(home, { recursive: true });
  }
}

/**
 * The objects that the chart makes, as YAML.
 *
 * @param args `--values FILE`, `--set KEY=VALUE`
 * @throws {Error} what Helm says is wrong with the values
 */
export async function render(binary: string, args: readonly string[], chart = CHART): Promise<string> {
  const said = await helm(
    binary,
    ...["template", "postern", chart, "--namespace=postern-system", `--kube-version=${KUBERNETES}`, ...args],
  );
  if (!said.success) throw new Error(said.error);
  return said.out;
}
