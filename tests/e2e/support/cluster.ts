import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { z } from "zod";

/** The checkout, absolute. */
export const ROOT = fileURLToPath(new URL("../../..", import.meta.url));

/** A user of the cluster, by the name of its kubeconfig context; `admin` has a certificate, the others a token. */
export type User = "admin" | "alice" | "bob" | "carol" | "root";

/** What the suite needs to know of the running cluster. */
const Cluster = z.object({
  directory: z.string(),
  complete: z.literal(true),
  apiServerUrl: z.string(),
  ports: z.object({ kubelet: z.number() }),
  paths: z.object({
    kubeconfig: z.string(),
    kubectl: z.string(),
    kubectl120: z.string(),
    kubectl134: z.string(),
    oc: z.string().optional(),
    python: z.string(),
    goClient: z.string(),
    apiServerAuditLog: z.string(),
    caCertificate: z.string(),
    gatewayKubeconfig: z.string(),
    gatewayToken: z.string(),
    gatewayCertificate: z.string(),
    gatewayKey: z.string(),
  }),
});

/** The running cluster. */
export type Cluster = z.infer<typeof Cluster>;

/** A kubeconfig, as far as the cluster's own is one. */
const Kubeconfig = z.object({
  clusters: z.array(z.looseObject({ cluster: z.looseObject({ server: z.string() }) })).length(1),
  users: z.array(z.object({ name: z.string(), user: z.looseObject({ token: z.string().optional() }) })),
}).loose();

/**
 * The cluster that `deno task cluster up` left running.
 *
 * @throws {Error} in one sentence, where there is none
 */
export async function runningCluster(): Promise<Cluster> {
  const path = join(ROOT, ".cluster", "state.json");
  let text: string;
  try {
    text = await Deno.readTextFile(path);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    throw new Error("these tests need the test cluster: start it with `deno task cluster up`");
  }
  const parsed = Cluster.safeParse(JSON.parse(text));
  if (!parsed.success) {
    throw new Error("the test cluster is not up yet, or only half: see `deno task cluster status`");
  }
  return parsed.data;
}

/** The bearer token of each user that has one. */
export async function tokensOf(cluster: Cluster): Promise<Map<string, string>> {
  const { users } = await readKubeconfig(cluster);
  return new Map(users.flatMap(({ name, user }) => user.token === undefined ? [] : [[name, user.token]]));
}

/** The token of one user. */
export async function tokenOf(cluster: Cluster, user: Exclude<User, "admin">): Promise<string> {
  const token = (await tokensOf(cluster)).get(user);
  if (token === undefined) throw new Error(`the kubeconfig has no token for ${user}`);
  return token;
}

/** Writes the cluster's kubeconfig with the same users, who talk to `url` instead of the API server. */
export async function writeKubeconfig(cluster: Cluster, url: string, path: string): Promise<void> {
  const config = await readKubeconfig(cluster);
  for (const each of config.clusters) each.cluster.server = url;
  await Deno.writeTextFile(path, JSON.stringify(config), { mode: 0o600 });
}

async function readKubeconfig({ paths }: Cluster): Promise<z.infer<typeof Kubeconfig>> {
  return Kubeconfig.parse(JSON.parse(await Deno.readTextFile(paths.kubeconfig)));
}
