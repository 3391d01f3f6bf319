import { dirname, isAbsolute, resolve } from "node:path";
import { parse } from "yaml";
import { z } from "zod";

/** How to reach an API server and as whom: what a kubeconfig's context, or a pod's service account, says. */
export interface Connection {
  /** `https://host:port`, without a path behind it. */
  server: string;
  /** PEM; `undefined`: the platform's own authorities. */
  ca: Secret | undefined;
  token: Secret | undefined;
  clientCertificate: { cert: Secret; key: Secret } | undefined;
}

/** A value, or a file that is read again when it changes. */
export type Secret = { value: string } | { file: string };

const text = z.string().min(1);

/** How a kubeconfig's `user` says who somebody is. */
export const KUBECONFIG_USER = {
  token: text.optional(),
  tokenFile: text.optional(),
  "client-certificate": text.optional(),
  "client-certificate-data": text.optional(),
  "client-key": text.optional(),
  "client-key-data": text.optional(),
  username: text.optional(),
  password: text.optional(),
  exec: z.unknown().optional(),
  "auth-provider": z.unknown().optional(),
};

const kubeconfig = z.object({
  "current-context": z.string().optional(),
  clusters: z.array(z.object({
    name: text,
    cluster: z.object({
      server: text,
      "certificate-authority": text.optional(),
      "certificate-authority-data": text.optional(),
      "insecure-skip-tls-verify": z.boolean().optional(),
      "tls-server-name": text.optional(),
      "proxy-url": text.optional(),
    }),
  })).default([]),
  users: z.array(z.object({
    name: text,
    user: z.object(KUBECONFIG_USER),
  })).default([]),
  contexts: z.array(z.object({ name: text, context: z.object({ cluster: text, user: text }) })).default([]),
});

/** Ways to get a credential that would run programs, or show a password. */
const UNSUPPORTED = ["exec", "auth-provider", "username", "password"] as const;

/** A kubeconfig that cannot be used, and what is wrong with it. Never holds a credential. */
export class KubeconfigError extends Error {
  override readonly name = "KubeconfigError";
}

/**
 * Reads the context `context` of a kubeconfig, by default its current one.
 *
 * @throws {KubeconfigError} also for what is not supported: exec plugins, auth providers, passwords, proxies, other
 * server names and skipping TLS verification
 */
export async function readKubeconfig(file: string, context?: string): Promise<Connection> {
  const fail = (message: string): never => {
    throw new KubeconfigError(`${file}: ${message}`);
  };
  const parsed = kubeconfig.safeParse(await readYaml(file));
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    return fail(`${issue?.path.join(".") || "document"}: ${issue?.message ?? "not a kubeconfig"}`);
  }
  const { clusters, users, contexts, "current-context": current } = parsed.data;
  const name = context ?? current ?? fail("no current-context");
  const chosen = contexts.find((entry) => entry.name === name) ?? fail(`no context ${JSON.stringify(name)}`);
  const cluster = clusters.find((entry) => entry.name === chosen.context.cluster)?.cluster ??
    fail(`context ${name} names a cluster that is not there`);
  const user = users.find((entry) => entry.name === chosen.context.user)?.user ??
    fail(`context ${name} names a user who is not there`);
  if (cluster["insecure-skip-tls-verify"]) {
    fail("insecure-skip-tls-verify is not supported: name the authority");
  }
  if (cluster["tls-server-name"]) fail("tls-server-name is not supported");
  if (cluster["proxy-url"]) fail("proxy-url is not supported");
  for (const key of UNSUPPORTED) {
    if (user[key] !== undefined) fail(`${key} is not supported: use a token or a client certificate`);
  }
  const secret = (key: string, data: string | undefined, path: string | undefined): Secret | undefined => {
    if (data !== undefined) return { value: decode(data) ?? fail(`${key}-data is not base64`) };
    return path === undefined ? undefined : { file: isAbsolute(path) ? path : resolve(dirname(file), path) };
  };
  const cert = secret("client-certificate", user["client-certificate-data"], user["client-certificate"]);
  const key = secret("client-key", user["client-key-data"], user["client-key"]);
  if ((cert === undefined) !== (key === undefined)) {
    fail("client-certificate and client-key go together: one is missing");
  }
  // A file wins over a value, as kubectl has it: it is what may be renewed.
  const token = secret("token", undefined, user.tokenFile) ??
    (user.token === undefined ? undefined : { value: user.token });
  if (cert === undefined && token === undefined) fail(`the user of context ${name} has no credential`);
  return {
    server: readServer(cluster.server, fail),
    ca: secret(
      "certificate-authority",
      cluster["certificate-authority-data"],
      cluster["certificate-authority"],
    ),
    token,
    clientCertificate: cert && key && { cert, key },
  };
}

const SERVICE_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount";

/** The API server of the cluster that this process runs in, as the service account of its pod. */
export function inClusterConnection(env: { get(name: string): string | undefined } = Deno.env): Connection {
  const host = env.get("KUBERNETES_SERVICE_HOST");
  const port = env.get("KUBERNETES_SERVICE_PORT");
  if (!host || !port) {
    throw new KubeconfigError("not in a cluster (KUBERNETES_SERVICE_HOST is not set): name a kubeconfig");
  }
  // As an origin is written, which requests are held to: nearly everywhere the port is 443, and is not said then.
  const url = URL.parse(`https://${host.includes(":") ? `[${host}]` : host}:${port}`);
  if (url === null) {
    throw new KubeconfigError("KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are no address");
  }
  return {
    server: url.origin,
    ca: { file: `${SERVICE_ACCOUNT}/ca.crt` },
    token: { file: `${SERVICE_ACCOUNT}/token` },
    clientCertificate: undefined,
  };
}

function decode(base64: string): string | undefined {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(Uint8Array.fromBase64(base64));
  } catch {
    return undefined; // told by the caller, without what is in it
  }
}

async function readYaml(file: string): Promise<unknown> {
  let text: string;
  try {
    text = await Deno.readTextFile(file);
  } catch (cause) {
    const why = cause instanceof Deno.errors.NotFound ? "no such file" : "cannot be read";
    throw new KubeconfigError(`${file}: ${why}`, { cause });
  }
  try {
    // The parser quotes the line that it stumbles over, which may be a token's: in its warnings too, which go to stderr.
    return parse(text, { maxAliasCount: 0, logLevel: "error" });
  } catch {
    throw new KubeconfigError(`${file}: is no YAML`);
  }
}

function readServer(server: string, fail: (message: string) => never): string {
  const url = URL.parse(server) ?? fail("server is no URL");
  if (url.protocol !== "https:") fail("server must be https");
  if (url.pathname !== "/" || url.search || url.hash || url.username) {
    fail("server must be host and port alone");
  }
  return url.origin;
}
