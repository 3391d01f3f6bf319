import { dirname, isAbsolute, resolve } from "node:path";
import { type Document, isMap, parseDocument } from "yaml";
import { z } from "zod";
import { KUBECONFIG_USER } from "../../kube/kubeconfig.ts";

const text = z.string().min(1);
const clusterEntry = z.looseObject({ name: text, cluster: z.looseObject({}) });
const contextEntry = z.looseObject({
  name: text,
  context: z.looseObject({ cluster: text, user: text, namespace: text.optional() }),
});
const userEntry = z.looseObject({
  name: text,
  user: z.looseObject(KUBECONFIG_USER),
});
const schema = z.looseObject({
  "current-context": z.string().nullish(),
  clusters: z.array(clusterEntry).nullish(),
  users: z.array(userEntry).nullish(),
  contexts: z.array(contextEntry).nullish(),
});

type User = z.infer<typeof userEntry>["user"];

/** One file of a kubeconfig, as it is written, and what of it is read. */
export interface KubeconfigFile {
  path: string;
  document: Document;
  clusters: z.infer<typeof clusterEntry>[];
  users: z.infer<typeof userEntry>[];
  contexts: z.infer<typeof contextEntry>[];
  currentContext: string | undefined;
}

/** A kubeconfig that cannot be used so. Says nothing of what is secret in it. */
export class KubeconfigFault extends Error {
  override readonly name = "KubeconfigFault";
}

/** Reads one file. @throws {KubeconfigFault} */
export function readKubeconfigFile(path: string, content: string): KubeconfigFile {
  // Neither errors nor warnings are shown: they quote the line, which may be a token's.
  const document = parseDocument(content, { logLevel: "error" });
  if (document.errors.length > 0) throw new KubeconfigFault(`${path}: is no YAML`);
  if (document.contents !== null && !isMap(document.contents)) {
    throw new KubeconfigFault(`${path}: is no kubeconfig`);
  }
  const parsed = schema.safeParse(document.toJS({ maxAliasCount: 0 }) ?? {});
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw new KubeconfigFault(`${path}: ${issue?.path.join(".") ?? "document"}: is not as in a kubeconfig`);
  }
  const { clusters, users, contexts, "current-context": current } = parsed.data;
  return {
    path,
    document,
    clusters: clusters ?? [],
    users: users ?? [],
    contexts: contexts ?? [],
    currentContext: current || undefined,
  };
}

/** What is made: a cluster and a context of one name, and whose credentials it has. */
export interface PosternEntry {
  name: string;
  cluster: { server: string; "tls-server-name"?: string; "certificate-authority-data"?: string };
  context: { cluster: string; user: string; namespace?: string };
  /** The user's entry, its paths absolute. Secret. */
  user: User;
  /** What the user should know about their credentials. */
  advice: string[];
}

/** What is wanted. */
export interface EntryRequest {
  /** `https://host:port` */
  server: string;
  /** PEM; absent: the authorities that the machine trusts. */
  ca?: string;
  /** In the certificate. @default the server's */
  tlsServerName?: string;
  /** Whose user and namespace are taken. @default the current one */
  context?: string;
  /** @default the context's, and `-postern` behind it */
  name?: string;
}

/**
 * The entry for a gateway, for a user who is in `files` already. Of what is there more than once, the first counts.
 *
 * @throws {KubeconfigFault} also where the user's credentials cannot pass a gateway
 */
export function makeEntry(files: readonly KubeconfigFile[], request: EntryRequest): PosternEntry {
  const current = files.find(({ currentContext }) => currentContext !== undefined)?.currentContext;
  const from = request.context ?? current;
  if (from === undefined) throw new KubeconfigFault("there is no current context: name one with --context");
  const found = findContext(files, from);
  const name = request.name ?? `${from}-postern`;
  requireFree(files, name, from);
  const owner = files.find(({ users }) => users.some((entry) => entry.name === found.user));
  const user = owner?.users.find((entry) => entry.name === found.user)?.user;
  if (owner === undefined || user === undefined) {
    throw new KubeconfigFault(`context ${JSON.stringify(from)} names a user who is not there`);
  }
  const { ca, server, tlsServerName } = request;
  return {
    name,
    cluster: {
      server,
      ...(tlsServerName !== undefined && { "tls-server-name": tlsServerName }),
      ...(ca !== undefined && { "certificate-authority-data": new TextEncoder().encode(ca).toBase64() }),
    },
    context: {
      cluster: name,
      user: found.user,
      ...(found.namespace !== undefined && { namespace: found.namespace }),
    },
    user: withAbsolutePaths(user, dirname(resolve(owner.path))),
    advice: judgeUser(user, found.user),
  };
}

function findContext(files: readonly KubeconfigFile[], name: string) {
  const entry = files.flatMap(({ contexts }) => contexts).find((context) => context.name === name);
  if (entry === undefined) throw new KubeconfigFault(`there is no context ${JSON.stringify(name)}`);
  return entry.context;
}

/** What was made under this name before may be made anew; what somebody else needs may not be lost. */
function requireFree(files: readonly KubeconfigFile[], name: string, from: string): void {
  if (name === from) {
    throw new KubeconfigFault(`${JSON.stringify(name)} is the context that is copied: choose another --name`);
  }
  const contexts = files.flatMap((file) => file.contexts);
  const taken = contexts.find((entry) => entry.name === name && entry.context.cluster !== name) ??
    contexts.find((entry) => entry.name !== name && entry.context.cluster === name);
  if (taken !== undefined) {
    const message = `context ${JSON.stringify(taken.name)} uses the name ${JSON.stringify(name)}`;
    throw new KubeconfigFault(`${message}: choose another --name`);
  }
}

/**
 * Whether a user's credentials can pass a gateway, which must see them: a bearer token passes, and a proof that was made for one
 * TLS connection does not.
 *
 * @returns what the user should know
 */
function judgeUser(user: User, name: string): string[] {
  const who = `user ${JSON.stringify(name)}`;
  const hasToken = user.token !== undefined || user.tokenFile !== undefined || user.exec !== undefined ||
    user["auth-provider"] !== undefined;
  const hasCertificate = user["client-certificate"] !== undefined ||
    user["client-certificate-data"] !== undefined;
  if (!hasToken && hasCertificate) {
    throw new KubeconfigFault(
      `${who} has a client certificate and no token, which cannot be used through the gateway: a certificate proves who one is ` +
        "in the TLS handshake, that ends at the gateway, and the API server never sees it. Use a token: that of a service account " +
        "(kubectl create token), of OIDC (an exec plugin) or of OpenShift (oc login)",
    );
  }
  if (!hasToken && user.username !== undefined) {
    throw new KubeconfigFault(`${who} has a password, which the gateway does not take: use a token`);
  }
  if (!hasToken) throw new KubeconfigFault(`${who} has no credentials`);
  const advice: string[] = [];
  if (hasCertificate) {
    advice.push(`${who} has a client certificate, too: through the gateway, only the token counts`);
  }
  if (user.exec !== undefined) {
    advice.push(
      `${who} has an exec plugin: it works through the gateway where it gives a token, and not where it gives a certificate`,
    );
  }
  return advice;
}

const PATHS = ["tokenFile", "client-certificate", "client-key"] as const;

/** Relative paths start in their file's folder, which is not where they are printed to. */
function withAbsolutePaths(user: User, folder: string): User {
  const copy = { ...user };
  for (const key of PATHS) {
    const path = user[key];
    if (path !== undefined) copy[key] = isAbsolute(path) ? path : resolve(folder, path);
  }
  return copy;
}

/**
 * A kubeconfig of its own. Without the credentials it has only their name, and is used beside the file that has them:
 * `KUBECONFIG=~/.kube/config:this`.
 */
export function standalone(entry: PosternEntry, options: { withCredentials: boolean }) {
  const { name, cluster, context, user } = entry;
  return {
    apiVersion: "v1",
    kind: "Config",
    clusters: [{ name, cluster }],
    contexts: [{ name, context }],
    ...(options.withCredentials && { users: [{ name: context.user, user }] }),
    "current-context": name,
  };
}

/** Puts the entry into a file's document: all else, with comments and order, stays. The user's entry is not touched. */
export function mergeInto(
  { document }: KubeconfigFile,
  { name, cluster, context }: PosternEntry,
  { isCurrent }: { isCurrent: boolean },
): string {
  if (document.contents === null) {
    document.contents = document.createNode({ apiVersion: "v1", kind: "Config" });
  }
  put(document, "clusters", { name, cluster });
  put(document, "contexts", { name, context });
  if (isCurrent) document.set("current-context", name);
  return document.toString({ lineWidth: 0 });
}

function put(
  document: Document,
  key: "clusters" | "contexts",
  entry: Pick<PosternEntry, "name"> & Partial<PosternEntry>,
): void {
  const list: unknown = document.toJS({ maxAliasCount: 0 })?.[key];
  const entries: unknown[] = Array.isArray(list) ? list : [];
  if (entries.length === 0) document.set(key, document.createNode([entry]));
  else {
    const index = entries.findIndex((one) =>
      typeof one === "object" && one !== null && "name" in one && one.name === entry.name
    );
    document.setIn([key, index < 0 ? entries.length : index], document.createNode(entry));
  }
}
