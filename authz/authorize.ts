import type { V1SubjectAccessReview } from "@kubernetes/client-node";
import type { KubeClient } from "../kube/client.ts";
import { quoted } from "../kube/printable.ts";
import { Refusal } from "../kube/status.ts";
import { type CacheCounts, ReviewCache } from "./review_cache.ts";
import type { User } from "./user.ts";

/** What is asked for, in the fields of a SubjectAccessReview. */
export interface ResourceAttributes {
  verb: string;
  /** `""` is the core group. */
  group: string;
  /** Of the API, e.g. `v1`. RBAC does not look at it; a webhook that decides may. */
  version?: string;
  resource: string;
  subresource?: string;
  namespace?: string;
  name?: string;
}

/** The API server's answer. */
export interface Access {
  allowed: boolean;
  /** Why, where the authorizer says so. */
  reason: string;
}

/** May they? Asks the API server by SubjectAccessReview. */
export class Authorizer {
  readonly #client: Pick<KubeClient, "create">;
  readonly #cache: ReviewCache<Access>;

  /** @param options `cacheTtlSeconds` 0: every request is asked */
  constructor(
    client: Pick<KubeClient, "create">,
    options: { cacheTtlSeconds: number; cacheEntries?: number },
  ) {
    this.#client = client;
    this.#cache = new ReviewCache({
      maxEntries: options.cacheEntries ?? 4096,
      ttlMs: () => options.cacheTtlSeconds * 1000,
    });
  }

  get cacheCounts(): CacheCounts {
    return this.#cache.counts;
  }

  /** @throws {Refusal} ServiceUnavailable where nobody can say */
  async access(user: User, attributes: ResourceAttributes, signal?: AbortSignal): Promise<Access> {
    const { username, uid, groups, extra } = user;
    const key = JSON.stringify([username, uid, groups, Object.entries(extra), Object.entries(attributes)]);
    return await this.#cache.get(key, () => this.#review(user, attributes), signal);
  }

  /** @throws {Refusal} Forbidden, in the API server's words; as {@linkcode access} */
  async require(user: User, attributes: ResourceAttributes, signal?: AbortSignal): Promise<void> {
    const { allowed, reason } = await this.access(user, attributes, signal);
    if (!allowed) throw forbidden(user, attributes, reason);
  }

  /** Whether the user may do everything. A group's name says nothing: what counts is what the API server grants. */
  async isClusterAdmin(user: User, signal?: AbortSignal): Promise<boolean> {
    const { allowed } = await this.access(user, { verb: "*", group: "*", resource: "*" }, signal);
    return allowed;
  }

  async #review({ username, uid, groups, extra }: User, attributes: ResourceAttributes): Promise<Access> {
    const review = {
      apiVersion: "authorization.k8s.io/v1",
      kind: "SubjectAccessReview",
      spec: { user: username, ...(uid && { uid }), groups, extra, resourceAttributes: attributes },
    };
    let answer: V1SubjectAccessReview;
    try {
      answer = await this.#client.create("/apis/authorization.k8s.io/v1/subjectaccessreviews", review);
    } catch (cause) {
      throw new Refusal("ServiceUnavailable", "the API server cannot be asked whether you may do this", {
        cause,
      });
    }
    const { allowed, denied, reason = "" } = answer.status ?? {};
    return { allowed: allowed === true && denied !== true, reason };
  }
}

/** The refusal that the API server would have given. @see k8s.io/apiserver .../responsewriters/errors.go */
export function forbidden(user: User, attributes: ResourceAttributes, reason: string): Refusal {
  const { verb, group, resource, subresource, namespace, name } = attributes;
  const what = quoted(subresource ? `${resource}/${subresource}` : resource);
  const where = namespace ? `in the namespace ${quoted(namespace)}` : "at the cluster scope";
  const said = `User ${quoted(user.username)} cannot ${verb} resource ${what} in API group ${
    quoted(group)
  } ${where}`;
  const kind = group ? `${resource}.${group}` : resource;
  const subject = name ? `${kind} ${quoted(name)}` : kind;
  const message = `${subject} is forbidden: ${escapeHtml(said)}${reason ? `: ${reason}` : ""}`;
  const details = { ...(name && { name }), ...(group && { group }), kind: resource };
  return new Refusal("Forbidden", message, { details, rule: "authorization" });
}

function escapeHtml(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}
