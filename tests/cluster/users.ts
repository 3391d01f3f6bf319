/** Who may come to the cluster: tokens and kubeconfigs. What each may do stands in manifests/users.yaml. */

import { join } from "node:path";
import { writeSecret } from "./files.ts";
import type { Layout } from "./layout.ts";

/** Users known by a token of the API server's --token-auth-file. None is in system:masters. */
export const TOKEN_USERS = ["alice", "bob", "carol", "root"] as const;

/** A user of a kubeconfig: by token, or by a client certificate of the cluster's authority. */
export type Credential = { token: string } | { certificatePath: string; keyPath: string };

/** Writes the API server's token file anew. @returns each user's token */
export async function writeTokens(at: Layout): Promise<Record<typeof TOKEN_USERS[number], string>> {
  const tokens = { alice: randomToken(), bob: randomToken(), carol: randomToken(), root: randomToken() };
  const lines = TOKEN_USERS.map((name) => `${tokens[name]},${name},uid-${name}\n`);
  await writeSecret(tokenFile(at), lines.join(""));
  return tokens;
}

/** CSV of token, user name and UID. */
export function tokenFile(at: Layout): string {
  return join(at.etc, "tokens.csv");
}

/**
 * Writes a kubeconfig that holds everything it needs, with one context for each user; the first is the current one.
 *
 * @param server URL of the API server
 */
export async function writeKubeconfig(
  path: string,
  at: Layout,
  server: string,
  users: Record<string, Credential>,
): Promise<void> {
  const names = Object.keys(users);
  const config = {
    apiVersion: "v1",
    kind: "Config",
    clusters: [{
      name: "test",
      cluster: { server, "certificate-authority-data": await base64File(join(at.pki, "ca.crt")) },
    }],
    users: await Promise.all(
      Object.entries(users).map(async ([name, credential]) => ({ name, user: await userFields(credential) })),
    ),
    contexts: names.map((name) => ({ name, context: { cluster: "test", user: name, namespace: "default" } })),
    "current-context": names[0] ?? "",
  };
  await writeSecret(path, JSON.stringify(config, undefined, 2) + "\n"); // JSON is YAML
}

async function userFields(credential: Credential): Promise<Record<string, string>> {
  if ("token" in credential) return { token: credential.token };
  return {
    "client-certificate-data": await base64File(credential.certificatePath),
    "client-key-data": await base64File(credential.keyPath),
  };
}

async function base64File(path: string): Promise<string> {
  return (await Deno.readFile(path)).toBase64();
}

function randomToken(): string {
  return crypto.getRandomValues(new Uint8Array(32)).toHex();
}
