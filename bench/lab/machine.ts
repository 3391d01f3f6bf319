import { cpus, loadavg, release, totalmem } from "node:os";

/** What the figures were taken on, in the order in which it is told. */
export type Machine = Record<string, string>;

/** Describes this machine and what runs on it. @param revision of the tree that is measured */
export function describeMachine(revision: string): Machine {
  const [first] = cpus();
  const [load = 0] = loadavg();
  return {
    date: new Date().toISOString().slice(0, 16).replace("T", " ") + " UTC",
    revision,
    processor: `${cpus().length} × ${first?.model.trim() ?? "unknown"}`,
    memory: `${(totalmem() / 2 ** 30).toFixed(1)} GiB`,
    kernel: `Linux ${release()}`,
    versions: `Deno ${Deno.version.deno}, V8 ${Deno.version.v8}, Kubernetes 1.34.4`,
    "load before": load.toFixed(2),
  };
}

/** The commit that is checked out, and whether the tree differs from it; "unknown" outside of a repository. */
export async function readRevision(folder: URL): Promise<string> {
  const git = async (...args: string[]) => {
    const { success, stdout } = await new Deno.Command("git", { args, cwd: folder, stderr: "null" }).output();
    if (!success) throw new Error("git failed");
    return new TextDecoder().decode(stdout).trim();
  };
  const served = ["*.ts", ":!*_test.ts", ":!bench", ":!cli", ":!demo", ":!tests"];
  try {
    const commit = await git("rev-parse", "--short=12", "HEAD");
    const changes = await git("status", "--porcelain", "--untracked-files=no", "--", ...served);
    return changes === "" ? commit : `${commit}, with changes`;
  } catch {
    return "unknown";
  }
}
