import type { V1TokenReview } from "@kubernetes/client-node";
import type { KubeClient } from "../../kube/client.ts";
import { causeOf } from "./cause.ts";
import { type Judgement, note, ok, wrong } from "./finding.ts";

/** What the API server says of a token. */
export interface TokenReviewFacts {
  /** Whose token: a file's that was named, the gateway's own, or none that anybody has. */
  whose: "named" | "own" | "nobody";
  /** Those that the gateway asks for; empty: the API server's own. */
  audiences: readonly string[];
  /** Absent where the question failed. */
  status?: { authenticated: boolean; username?: string; audiences?: readonly string[]; error?: string };
  /** Where the question failed: why. */
  failure?: string;
  /** What the token says of itself, unverified. */
  claims?: { audiences: readonly string[]; expiresAt?: Date };
}

/** Whether tokens become users, for the audiences that are configured. */
export function judgeTokenReview(facts: TokenReviewFacts, now: Date): Judgement {
  const { whose, audiences, status, failure, claims } = facts;
  const wanted = audiences.length === 0
    ? "the API server's own audiences"
    : `audience ${audiences.join(" or ")}`;
  if (status === undefined) {
    return wrong(
      `tokens cannot be reviewed: ${failure ?? "no answer"}`,
      "the gateway's ClusterRole must grant create on tokenreviews in authentication.k8s.io",
    );
  }
  if (whose === "nobody") {
    return status.authenticated
      ? wrong(
        "the API server takes a made-up token for a user's",
        "look at its authenticators (--authentication-token-webhook-config-file): one says yes to everything",
      )
      : ok("the API server reviews tokens, and refuses a made-up one");
  }
  const token = whose === "named" ? "the token" : "the gateway's own token";
  if (status.authenticated) {
    const isFor = audiences.length === 0 || status.audiences?.some((one) => audiences.includes(one));
    if (isFor) return ok(`${token} is that of ${status.username ?? "somebody"}, for ${wanted}`);
    return wrong(
      `${token} is accepted, but not for ${wanted}: who accepted it knows no audiences, and the gateway refuses it`,
      "leave `authentication.audiences` empty, or use an authenticator that knows audiences",
    );
  }
  const { expiresAt } = claims ?? {};
  if (expiresAt !== undefined && expiresAt <= now) {
    return wrong(`${token} expired at ${expiresAt.toISOString()}`, "get a new one");
  }
  const isForOthers = claims !== undefined && claims.audiences.length > 0 &&
    !claims.audiences.some((one) => audiences.includes(one));
  if (isForOthers && audiences.length > 0) {
    const message = `${token} is for audience ${
      claims.audiences.join(", ")
    }, and the gateway asks for ${wanted}`;
    const remedy =
      "get a token for that audience (`kubectl create token … --audience`), or add the token's audience to " +
      "`authentication.audiences`";
    // The gateway's own is meant for the API server: users' tokens are what matters.
    return whose === "own" ? note(message, "try a user's token with --token-file") : wrong(message, remedy);
  }
  return wrong(
    `${token} is nobody's for ${wanted}: ${status.error ?? "it is unknown or revoked"}`,
    whose === "own"
      ? "renew the gateway's token"
      : "the API server itself must accept the token: check its issuer (--oidc-issuer-url, --service-account-issuer) and its audience",
  );
}

/** A token that nobody has. */
const MADE_UP = "postern-doctor-made-up";

/** Asks as the gateway does. */
export async function gatherTokenReview(
  client: Pick<KubeClient, "create">,
  token: { named?: string; own?: string },
  audiences: readonly string[],
): Promise<TokenReviewFacts> {
  const whose = token.named !== undefined ? "named" : token.own !== undefined ? "own" : "nobody";
  const shown = token.named ?? token.own ?? MADE_UP;
  const review = {
    apiVersion: "authentication.k8s.io/v1",
    kind: "TokenReview",
    spec: { token: shown, ...(audiences.length > 0 && { audiences }) },
  };
  const claims = readClaims(shown);
  const known = { whose, audiences, ...(claims !== undefined && { claims }) } as const;
  try {
    const { status } = await client.create<V1TokenReview>(
      "/apis/authentication.k8s.io/v1/tokenreviews",
      review,
    );
    const { user, audiences: answered, error } = status ?? {};
    return {
      ...known,
      status: {
        authenticated: status?.authenticated === true,
        ...(user?.username !== undefined && { username: user.username }),
        ...(answered !== undefined && { audiences: answered }),
        ...(error !== undefined && { error }),
      },
    };
  } catch (thrown) {
    return { ...known, failure: causeOf(thrown) };
  }
}

/** What a JWT says of itself, unverified; `undefined` where it is none. */
export function readClaims(token: string): TokenReviewFacts["claims"] {
  try {
    const bytes = Uint8Array.fromBase64(token.split(".")[1] ?? "", { alphabet: "base64url" });
    const payload: unknown = JSON.parse(new TextDecoder().decode(bytes));
    if (typeof payload !== "object" || payload === null) return undefined;
    const aud = "aud" in payload ? payload.aud : undefined;
    const audiences = (Array.isArray(aud) ? aud : [aud]).filter((one) => typeof one === "string");
    const exp = "exp" in payload && typeof payload.exp === "number" ? payload.exp * 1000 : NaN;
    return { audiences, ...(Math.abs(exp) <= 8.64e15 && { expiresAt: new Date(exp) }) };
  } catch {
    return undefined;
  }
}
