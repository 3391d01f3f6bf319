/** The Python client of Kubernetes, and asciinema, in an environment of their own; python/requirements.txt pins all of it by hash. */

import { createHash } from "node:crypto";
import { join } from "node:path";
import { removeIfThere } from "./files.ts";
import { type Layout, SOURCES } from "./layout.ts";
import { isInstalled, run } from "./processes.ts";

/** Written with `pip-compile --generate-hashes` of pip-tools from `kubernetes`, `google-auth` and `asciinema`, whose newer versions need compiled ones. */
const REQUIREMENTS = join(SOURCES, "python", "requirements.txt");

/** Wheels alone: nothing of a package runs while it is installed. */
const PIP_INSTALL = ["-m", "pip", "install", "--require-hashes", "--only-binary=:all:", "--no-deps"];

/** Makes the environment, once for each state of the requirements: some 15 s. @returns the path of its python */
export async function installPythonClient(at: Layout): Promise<string> {
  const python = join(at.python, "bin", "python");
  const stamp = join(at.python, "requirements.sha256");
  const wanted = createHash("sha256").update(await Deno.readFile(REQUIREMENTS)).digest("hex");
  const installed = await Deno.readTextFile(stamp).catch(() => "");
  if (installed === wanted && await isInstalled(python)) return python;

  await removeIfThere(at.python);
  await run(["python3", "-m", "venv", at.python]);
  await run([python, ...PIP_INSTALL, "--quiet", "--requirement", REQUIREMENTS]);
  await Deno.writeTextFile(stamp, wanted);
  return python;
}
