import assert from "node:assert/strict";
import { join } from "node:path";
import { parseAllDocuments } from "yaml";
import { z } from "zod";
import { KubeClient } from "../../../kube/client.ts";
import { CredentialSource } from "../../../kube/credentials.ts";
import { readKubeconfig } from "../../../kube/kubeconfig.ts";
import { type Cluster, ROOT } from "./cluster.ts";
import { kubectl } from "./kubectl.ts";
import { asAdmin } from "./service_account.ts";
import { eventually } from "./wait.ts";

/** A rule of RBAC about resources. */
export const rule = z.object({
  apiGroups: z.array(z.string()),
  resources: z.array(z.string()),
  verbs: z.array(z.string()),
});
type Rule = z.infer<typeof rule>;

/** One verb on one resource: the least that RBAC can grant. */
export interface Right {
  group: string;
  /** With its subresource. */
  resource: string;
  verb: string;
}

/** What rules come to. */
export function rightsOf(rules: readonly Rule[]): Right[] {
  return rules.flatMap(({ apiGroups, resources, verbs }) =>
    apiGroups.flatMap((group) =>
      resources.flatMap((resource) => verbs.map((verb) => ({ group, resource, verb })))
    )
  );
}

/** As `kubectl auth can-i` names it. */
export function nameOf({ group, resource, verb }: Right): string {
  return `${verb} ${resource}${group && `.${group}`}`;
}

/** What a file of deploy/manifests grants the gateway. */
export async function grantedBy(file: string): Promise<Right[]> {
  return await rightsIn(join("deploy", "manifests", file), "postern:postern-system:gateway");
}

/** What a ClusterRole grants that stands in a file. */
export async function rightsIn(path: string, role: string): Promise<Right[]> {
  const roles = parseAllDocuments(await Deno.readTextFile(join(ROOT, path)))
    .map((document) => object.parse(document.toJS()))
    .filter(({ kind, metadata }) => kind === "ClusterRole" && metadata.name === role);
  assert.equal(roles.length, 1, path);
  return rightsOf(roles[0]?.rules ?? []);
}

const object = z.object({
  kind: z.string(),
  metadata: z.object({ name: z.string() }),
  rules: z.array(rule).optional(),
});

const tokenRequest = z.object({ status: z.object({ token: z.string() }) });
const accessReview = z.object({ status: z.object({ allowed: z.boolean() }) });

/** How long the API server may take until it has heard of what was granted. */
const HEARD_MS = 60_000;

const RBAC = "rbac.authorization.k8s.io";

/**
 * Service accounts in a namespace of their own: for each file one that has what it grants, one for each right that lacks it alone,
 * and one that has none. Each has its own name, because a kubelet remembers for a while what somebody may not.
 */
export class RightsLab implements AsyncDisposable {
  readonly #run = `e2e-rbac-${crypto.randomUUID().slice(0, 8)}`;
  readonly #tokens = new Map<string, string>();

  private constructor(readonly cluster: Cluster, readonly folder: string) {}

  static async create(cluster: Cluster, files: readonly string[]): Promise<RightsLab> {
    const lab = new RightsLab(cluster, await Deno.makeTempDir({ prefix: "postern-e2e-rbac-" }));
    try {
      await lab.#make(files);
      return lab;
    } catch (error) {
      await lab[Symbol.asyncDispose]();
      throw error;
    }
  }

  /**
   * The kubeconfig of an account.
   *
   * @param file that grants what it may; left out, it may nothing
   * @param without the name of the one right that it lacks
   * @param server where the API server is reached instead of where it is
   */
  async kubeconfigOf(file?: string, without?: string, server = this.cluster.apiServerUrl): Promise<string> {
    const token = this.#tokens.get(keyOf(file, without));
    assert.ok(token !== undefined, `${file} grants no ${without}`);
    const { caCertificate } = this.cluster.paths;
    const path = join(this.folder, crypto.randomUUID());
    const config = {
      apiVersion: "v1",
      kind: "Config",
      clusters: [{ name: "c", cluster: { server, "certificate-authority": caCertificate } }],
      users: [{ name: "u", user: { token } }],
      contexts: [{ name: "x", context: { cluster: "c", user: "u" } }],
      "current-context": "x",
    };
    await Deno.writeTextFile(path, JSON.stringify(config), { mode: 0o600 });
    return path;
  }

  async #make(files: readonly string[]): Promise<void> {
    const accounts = [{ name: `${this.#run}-none`, key: keyOf(), rights: [] as Right[] }];
    for (const file of files) {
      const granted = await grantedBy(file);
      for (const missing of [undefined, ...granted]) {
        const name = `${this.#run}-${accounts.length}`;
        const rights = granted.filter((right) => right !== missing);
        accounts.push({ name, key: keyOf(file, missing && nameOf(missing)), rights });
      }
    }
    await this.#apply([
      { apiVersion: "v1", kind: "Namespace", metadata: { name: this.#run } },
      ...accounts.flatMap(({ name, rights }) => this.#objectsOf(name, rights)),
    ]);
    const { server, ...connection } = await readKubeconfig(this.cluster.paths.kubeconfig);
    const credentials = new CredentialSource(connection);
    using admin = new KubeClient({ server, credentials, timeoutMs: 30_000 });
    for (const { name, key, rights } of accounts) {
      const path = `/api/v1/namespaces/${this.#run}/serviceaccounts/${name}/token`;
      const asked = { apiVersion: "authentication.k8s.io/v1", kind: "TokenRequest", spec: {} };
      this.#tokens.set(key, tokenRequest.parse(await admin.create(path, asked)).status.token);
      // Its role and its binding are heard of at once, but each by itself.
      const [right] = rights;
      if (right === undefined) continue;
      await eventually(`${name} may ${nameOf(right)}`, async () => {
        return await this.#may(admin, name, right) || undefined;
      }, { deadlineMs: HEARD_MS });
    }
  }

  #objectsOf(name: string, rights: readonly Right[]): unknown[] {
    const metadata = { name, labels: { "postern.dev/e2e": this.#run } };
    const rules = rights.map(({ group, resource, verb }) => ({
      apiGroups: [group],
      resources: [resource],
      verbs: [verb],
    }));
    return [
      { apiVersion: "v1", kind: "ServiceAccount", metadata: { name, namespace: this.#run } },
      { apiVersion: `${RBAC}/v1`, kind: "ClusterRole", metadata, rules },
      {
        apiVersion: `${RBAC}/v1`,
        kind: "ClusterRoleBinding",
        metadata,
        roleRef: { apiGroup: RBAC, kind: "ClusterRole", name },
        subjects: [{ kind: "ServiceAccount", name, namespace: this.#run }],
      },
    ];
  }

  async #apply(items: readonly unknown[]): Promise<void> {
    const { code, stderr } = await kubectl({
      cluster: this.cluster,
      endpoint: this.cluster.paths,
      user: "admin",
      args: ["create", "-f", "-"],
      stdin: new TextEncoder().encode(JSON.stringify({ apiVersion: "v1", kind: "List", items })),
      deadlineMs: 60_000,
    });
    assert.equal(code, 0, new TextDecoder().decode(stderr));
  }

  async #may(admin: KubeClient, account: string, { group, resource: name, verb }: Right): Promise<boolean> {
    const [resource, subresource] = name.split("/");
    const attributes = { group, resource, verb, ...(subresource && { subresource }) };
    const review = {
      apiVersion: "authorization.k8s.io/v1",
      kind: "SubjectAccessReview",
      spec: { user: `system:serviceaccount:${this.#run}:${account}`, resourceAttributes: attributes },
    };
    const path = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
    return accessReview.parse(await admin.create(path, review)).status.allowed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Deno.remove(this.folder, { recursive: true });
    const everywhere = ["clusterrolebinding,clusterrole", "-l", `postern.dev/e2e=${this.#run}`];
    await asAdmin(this.cluster, "delete", ...everywhere);
    await asAdmin(this.cluster, "delete", "namespace", this.#run, "--ignore-not-found", "--wait=false");
  }
}

function keyOf(file?: string, without?: string): string {
  return JSON.stringify([file, without]);
}
