import { basename, dirname, relative, resolve } from "node:path";
import { builtinModules } from "node:module";
import { build, type Plugin } from "esbuild";
import type { Surrender } from "./permissions.ts";

/** The application without its sources: a few modules in one folder, npm's packages among them. */
export interface Bundle {
  /** By name: `postern.js`, which starts it, what that loads, and an own file for each worker. */
  files: ReadonlyMap<string, Uint8Array>;
  /** The folders of the packages that are in it, `node_modules/zod` say, sorted. */
  packageFolders: readonly string[];
}

/** `new URL("./sqlite_worker.ts", import.meta.url)`: the source of a thread. */
const WORKER = /new URL\("(\.[^"]+)\.ts", import\.meta\.url\)/g;

/**
 * Bundles the application for {@linkcode Bundle}. The same sources give the same bytes, wherever they lie: no path of this
 * machine is in them.
 *
 * @param root folder of the checkout, whose packages are installed
 * @param surrenders what the launcher gives away
 * @param revision the commit; empty where that is not known
 * @throws what esbuild finds wrong
 */
export async function bundle(
  root: string,
  surrenders: Readonly<Record<"gateway" | "command", readonly Surrender[]>>,
  revision = "",
): Promise<Bundle> {
  const workers = new Set<string>();
  const define = {
    SURRENDERS: JSON.stringify(surrenders),
    // For postern_build_info.
    POSTERN_REVISION: JSON.stringify(revision),
  };
  for (;;) {
    const known = workers.size;
    const { outputFiles, metafile } = await build({
      absWorkingDir: root,
      entryPoints: [
        { in: "deploy/image/launcher.ts", out: "postern" },
        ...[...workers].sort().map((path) => ({ in: path, out: basename(path, ".ts") })),
      ],
      outdir: "app",
      chunkNames: "[name]-[hash]",
      bundle: true,
      splitting: true,
      format: "esm",
      platform: "node",
      target: "esnext",
      conditions: ["deno", "node"],
      legalComments: "inline",
      metafile: true,
      preserveSymlinks: true, // node_modules may be one; its place is not part of the bundle
      write: false,
      define,
      // For packages that are CommonJS modules, which load the platform's by require().
      banner: {
        js: `import { createRequire as createRequireHere } from "node:module";\n` +
          `const require = createRequireHere(import.meta.url);`,
      },
      plugins: [platformModules, workerFiles(root, workers)],
      logLevel: "silent",
    });
    if (workers.size > known) continue; // a worker's file is an entry point, too
    const packages = Object.keys(metafile.inputs).flatMap((path) => packageFolder(path) ?? []);
    return {
      files: new Map(outputFiles.map(({ path, contents }) => [basename(path), contents])),
      packageFolders: [...new Set(packages)].sort(),
    };
  }
}

/** `net` is `node:net`: Deno knows the platform's modules by that name alone. */
const platformModules: Plugin = {
  name: "platform modules",
  setup({ onResolve }) {
    const names = new Set(builtinModules);
    onResolve({ filter: /^[a-z][a-z_/]*$/ }, ({ path }) => {
      return names.has(path) ? { path: `node:${path}`, external: true } : undefined;
    });
  },
};

/** Notes which sources start threads, and has them look for these beside the bundle. */
function workerFiles(root: string, workers: Set<string>): Plugin {
  return {
    name: "worker files",
    setup({ onLoad }) {
      onLoad({ filter: /\.ts$/ }, async ({ path }) => {
        if (path.includes("/node_modules/")) return undefined;
        const text = await Deno.readTextFile(path);
        const contents = text.replace(WORKER, (_, file: string) => {
          workers.add(relative(root, resolve(dirname(path), `${file}.ts`)));
          return `new URL("./${basename(file)}.js", import.meta.url)`;
        });
        return { contents, loader: "ts" };
      });
    },
  };
}

/** The innermost package that a source belongs to. */
function packageFolder(path: string): string | undefined {
  return /^.*node_modules\/(?:@[^/]+\/)?[^/]+(?=\/)/.exec(path)?.[0].replace(/^.*?(?=node_modules\/)/, "");
}
