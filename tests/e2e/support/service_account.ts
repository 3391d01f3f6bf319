import { Buffer } from "node:buffer";
import { createPrivateKey, sign } from "node:crypto";
import { join } from "node:path";
import type { Cluster } from "./cluster.ts";
import { kubectl } from "./kubectl.ts";

/** A token of the service account `default/default`, as the API server issues it. */
export async function issueToken(cluster: Cluster, ...args: string[]): Promise<string> {
  return await asAdmin(cluster, "create", "token", "default", ...args);
}

/** The same token with other claims, signed with the cluster's own key: what the API server would have issued. */
export async function reissue(
  cluster: Cluster,
  token: string,
  claims: Record<string, unknown>,
): Promise<string> {
  const [header = "", payload = ""] = token.split(".");
  const changed = { ...JSON.parse(Buffer.from(payload, "base64url").toString()), ...claims };
  const signed = `${header}.${Buffer.from(JSON.stringify(changed)).toString("base64url")}`;
  const pem = await Deno.readTextFile(join(cluster.directory, "pki", "service-account.key"));
  const { alg } = JSON.parse(Buffer.from(header, "base64url").toString());
  if (alg !== "ES256" && alg !== "RS256") throw new Error(`the cluster signs with ${alg}`);
  const signature = sign("sha256", new TextEncoder().encode(signed), {
    key: createPrivateKey(pem),
    dsaEncoding: "ieee-p1363",
  });
  return `${signed}.${signature.toString("base64url")}`;
}

/** Runs kubectl straight at the API server, as its administrator; it must succeed. */
export async function asAdmin(cluster: Cluster, ...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await kubectl({ cluster, endpoint: cluster.paths, user: "admin", args });
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes).trim();
  if (code !== 0) throw new Error(`kubectl ${args.join(" ")}: ${text(stderr)}`);
  return text(stdout);
}
