// Installs what package-lock.json names, if that is not there yet, and unpacks the Deno that came with it.
// `npm run demo` and `npm test` begin with it; it needs nothing but Node and npm.
import { execFileSync } from "node:child_process";
import { existsSync, statSync } from "node:fs";

const lock = "package-lock.json";
const installed = "node_modules/.package-lock.json";

if (!existsSync(installed) || statSync(installed).mtimeMs < statSync(lock).mtimeMs) {
  execFileSync("npm", ["ci"], { stdio: "inherit", shell: process.platform === "win32" });
}
execFileSync(process.execPath, ["node_modules/deno/bin.cjs", "--version"], { stdio: "ignore" });
