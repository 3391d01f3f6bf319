import { stringify } from "yaml";

/** A kubeconfig with one cluster and a context for each user. */
export interface KubeconfigOptions {
  server: string;
  /** PEM. */
  ca: string;
  /** Name and token; the first is the current context. */
  users: readonly { name: string; token: string }[];
}

/** The kubeconfig as YAML. */
export function kubeconfig({ server, ca, users }: KubeconfigOptions): string {
  const authority = new TextEncoder().encode(ca).toBase64();
  return stringify({
    apiVersion: "v1",
    kind: "Config",
    "current-context": users[0]?.name,
    clusters: [{ name: "postern", cluster: { server, "certificate-authority-data": authority } }],
    users: users.map(({ name, token }) => ({ name, user: { token } })),
    contexts: users.map(({ name }) => ({
      name,
      context: { cluster: "postern", user: name, namespace: "default" },
    })),
  });
}
