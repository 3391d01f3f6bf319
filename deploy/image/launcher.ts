/**
 * What the image starts: the gateway, for `serve`, for its own arguments or for none, and else the `postern` command.
 *
 * The process begins with what any of the two needs (an image has one entry point, and no shell that could choose). The
 * first thing that happens is that it gives away what the other one would have needed: FFI, before a command reads what
 * somebody else wrote. Only then the program itself is loaded. What is given away cannot be had back: `--no-prompt`.
 */

import type { Surrender } from "./permissions.ts";

/** What each of the two gives away; put here by bundle.ts, from the tasks in deno.json. */
declare const SURRENDERS: Readonly<Record<"gateway" | "command", readonly Surrender[]>>;

const [first] = Deno.args;
const isGateway = first === undefined || first === "serve" || first === "--config";

for (const surrender of SURRENDERS[isGateway ? "gateway" : "command"]) {
  const { state } = Deno.permissions.revokeSync(surrender as Deno.PermissionDescriptor);
  if (state === "granted") throw new Error(`a permission cannot be given away: ${JSON.stringify(surrender)}`);
}

if (isGateway) {
  const { main } = await import("../../main.ts");
  Deno.exit(await main(first === "serve" ? Deno.args.slice(1) : Deno.args));
} else {
  const { postern, PROCESS_OUTPUT } = await import("../../cli/postern.ts");
  Deno.exitCode = await postern(Deno.args, PROCESS_OUTPUT);
}
