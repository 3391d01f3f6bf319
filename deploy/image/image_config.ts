import { z } from "zod";
import type { ImageConfig } from "./oci.ts";
import { flagsOf, readGrant, type Surrender, surrenders, union } from "./permissions.ts";
import { USER_ID } from "./root.ts";

/** Where the image's default command looks for the configuration; a ConfigMap is mounted there. */
export const CONFIGURATION_PATH = "/etc/postern/gateway.yaml";

const manifestSchema = z.object({ version: z.string(), description: z.string(), license: z.string() });
const settingsSchema = z.object({
  unstable: z.array(z.string()).default([]),
  tasks: z.object({ start: z.object({ command: z.string() }), postern: z.object({ command: z.string() }) }),
});

/** What an image says of itself and how it starts. */
export interface Described {
  version: string;
  config: ImageConfig;
  /** What the launcher gives away, for bundle.ts. */
  surrenders: Readonly<Record<"gateway" | "command", readonly Surrender[]>>;
}

/**
 * Reads package.json and deno.json: the version, and what the tasks `start` and `postern` grant.
 *
 * @param revision the commit, where it is known
 * @throws {RangeError} what they grant cannot be granted in an image
 */
export function describeImage(
  packageJson: string,
  denoJson: string,
  revision: string | undefined,
): Described {
  const { version, description, license } = manifestSchema.parse(JSON.parse(packageJson));
  const { unstable, tasks } = settingsSchema.parse(JSON.parse(denoJson));
  const [gateway, command] = [readGrant(tasks.start.command), readGrant(tasks.postern.command)];
  const granted = union(gateway.permissions, command.permissions);
  const flags = [
    "--no-prompt",
    "--no-config", // nothing but the bundle is ever loaded
    "--no-lock",
    "--no-npm",
    "--no-remote",
    ...unstable.map((name) => `--unstable-${name}`),
    ...new Set([...gateway.otherFlags, ...command.otherFlags]),
    ...flagsOf(granted),
  ];
  const title = "org.opencontainers.image";
  return {
    version,
    config: {
      User: `${USER_ID}:${USER_ID}`,
      Entrypoint: ["/usr/bin/deno", "run", ...flags, "/app/postern.js"],
      Cmd: ["serve", "--config", CONFIGURATION_PATH],
      Env: ["PATH=/usr/bin", "HOME=/tmp", "DENO_DIR=/tmp/deno", "DENO_NO_UPDATE_CHECK=1"],
      WorkingDir: "/",
      Labels: {
        [`${title}.title`]: "Postern",
        [`${title}.description`]: description,
        [`${title}.version`]: version,
        [`${title}.licenses`]: license,
        ...(revision !== undefined && { [`${title}.revision`]: revision }),
      },
    },
    surrenders: {
      gateway: surrenders(granted, gateway.permissions),
      command: surrenders(granted, command.permissions),
    },
  };
}
