import type { V1TokenReview } from "@kubernetes/client-node";
import type { KubeClient } from "../kube/client.ts";
import { Refusal } from "../kube/status.ts";
import { unauthorized } from "./credential.ts";
import { type CacheCounts, ReviewCache } from "./review_cache.ts";
import type { User } from "./user.ts";

/** Options of an {@linkcode Authenticator}. */
export interface AuthenticatorOptions {
  /** Audiences that a token must be for, one of them; empty: the API server's own. */
  audiences: readonly string[];
  cacheTtlSeconds: number;
  /** How long a refused token stays refused without being asked about again. */
  negativeCacheTtlSeconds: number;
  cacheEntries: number;
}

/** Longest user, in characters of JSON; 2,000 groups of 60 characters have their place. */
const MAX_USER_LENGTH = 131_072;

/** A review's outcome; what is kept of it. */
interface Reviewed {
  /** `undefined`: the token is nobody's. */
  user: User | undefined;
  /** When the token ends, in milliseconds since 1970, if it says. */
  expiresAtMs: number;
}

/** Who is it? Asks the API server by TokenReview. */
export class Authenticator {
  readonly #client: Pick<KubeClient, "create">;
  readonly #options: AuthenticatorOptions;
  readonly #cache: ReviewCache<Reviewed>;

  constructor(client: Pick<KubeClient, "create">, options: AuthenticatorOptions) {
    this.#client = client;
    this.#options = options;
    this.#cache = new ReviewCache({
      maxEntries: options.cacheEntries,
      ttlMs: ({ user, expiresAtMs }) => {
        if (user === undefined) return options.negativeCacheTtlSeconds * 1000;
        return Math.min(options.cacheTtlSeconds * 1000, expiresAtMs - Date.now());
      },
    });
  }

  /**
   * The user whom `token` belongs to.
   *
   * @throws {Refusal} Unauthorized; ServiceUnavailable where nobody can say; Forbidden where there is too much of them
   */
  async authenticate(token: string, signal?: AbortSignal): Promise<User> {
    const { user } = await this.#cache.get(token, () => this.#review(token), signal);
    if (user === undefined) throw unauthorized();
    return user;
  }

  get cacheCounts(): CacheCounts {
    return this.#cache.counts;
  }

  /** Believes no more what was remembered of `token`: somebody has been told otherwise. */
  forget(token: string): void {
    this.#cache.forget(token);
  }

  async #review(token: string): Promise<Reviewed> {
    const { audiences } = this.#options;
    const review = {
      apiVersion: "authentication.k8s.io/v1",
      kind: "TokenReview",
      spec: { token, ...(audiences.length > 0 && { audiences }) },
    };
    let answer: V1TokenReview;
    try {
      answer = await this.#client.create("/apis/authentication.k8s.io/v1/tokenreviews", review);
    } catch (cause) {
      throw new Refusal("ServiceUnavailable", "the API server cannot be asked who you are", { cause });
    }
    return { user: readUser(answer, audiences), expiresAtMs: readExpiry(token) };
  }
}

/** The user of a review that says yes to one of our audiences. */
function readUser({ status }: V1TokenReview, audiences: readonly string[]): User | undefined {
  const { authenticated, user, error } = status ?? {};
  if (authenticated !== true || error || !user?.username) return undefined;
  // An authenticator that knows no audiences leaves them out: its yes was not for ours.
  if (audiences.length > 0 && !status?.audiences?.some((audience) => audiences.includes(audience))) {
    return undefined;
  }
  return bounded({
    username: user.username,
    uid: user.uid ?? "",
    groups: user.groups ?? [],
    extra: user.extra ?? {},
  });
}

/** A user is kept with every session, asked about in every review and written into every event. @throws {Refusal} Forbidden */
function bounded(user: User): User {
  if (JSON.stringify(user).length <= MAX_USER_LENGTH) return user;
  const message = `the user's name, groups and extras come to more than ${MAX_USER_LENGTH} characters`;
  throw new Refusal("Forbidden", message, { rule: "user-size" });
}

/** When a JWT says it ends, unverified: only ever used to forget it sooner. */
function readExpiry(token: string): number {
  try {
    const payload: unknown = JSON.parse(
      new TextDecoder().decode(Uint8Array.fromBase64(token.split(".")[1] ?? "", { alphabet: "base64url" })),
    );
    if (
      typeof payload === "object" && payload !== null && "exp" in payload && typeof payload.exp === "number"
    ) {
      return payload.exp * 1000;
    }
  } catch {
    // Not a JWT.
  }
  return Infinity;
}
