import { Refusal } from "../kube/status.ts";
import type { Authorizer, ResourceAttributes } from "./authorize.ts";
import type { Identity, User } from "./user.ts";

type HeaderLines = readonly (readonly [name: string, value: string])[];

const USER = "impersonate-user";
const GROUP = "impersonate-group";
const UID = "impersonate-uid";
const EXTRA = "impersonate-extra-";
const AUTHENTICATED = "system:authenticated";
const UNAUTHENTICATED = "system:unauthenticated";
const ANONYMOUS = "system:anonymous";

/** What the `Impersonate-*` headers of one request ask for. */
export interface ImpersonationRequest {
  user: User;
  /** What the one who asks must be allowed to impersonate, each by itself. */
  attributes: readonly ResourceAttributes[];
}

/**
 * Resolves impersonation as the API server does: each of user, groups, uid and extras is authorized by itself.
 *
 * @param user who the credential belongs to
 * @throws {Refusal} Forbidden in the API server's words; BadRequest where there is no user to go with the rest
 * @see k8s.io/apiserver pkg/endpoints/filters/impersonation.go
 */
export async function impersonate(
  authorizer: Pick<Authorizer, "require">,
  user: User,
  headers: HeaderLines,
  signal?: AbortSignal,
): Promise<Identity> {
  const request = readImpersonation(headers);
  if (request === undefined) return { user };
  for (const attributes of request.attributes) await authorizer.require(user, attributes, signal);
  return { user: request.user, impersonator: user };
}

/**
 * Reads the headers. Pure.
 *
 * @returns `undefined` where none is there
 * @throws {Refusal} BadRequest. (The API server answers 500 here; who is at fault is the client.)
 */
export function readImpersonation(headers: HeaderLines): ImpersonationRequest | undefined {
  const lines = headers.map(([name, value]) => [name.toLowerCase(), value] as const)
    .filter(([name]) => name.startsWith("impersonate-"));
  const values = (key: string) => lines.filter(([name]) => name === key).map(([, value]) => value);
  const [username = "", ...moreUsers] = values(USER);
  const [uid = "", ...moreUids] = values(UID);
  const extras = lines.filter(([name]) => name.startsWith(EXTRA));
  const groups = values(GROUP); // an empty one counts: it is asked for like any other
  if (moreUsers.length + moreUids.length > 0) {
    throw badRequest("Impersonate-User and Impersonate-Uid may stand once");
  }
  if (username === "") {
    if (groups.length + extras.length > 0 || uid !== "") {
      throw badRequest("requested impersonation without a user");
    }
    return undefined;
  }
  const account = readAccount(username);
  const attributes: ResourceAttributes[] = [
    account
      ? { ...impersonation("serviceaccounts"), ...account }
      : { ...impersonation("users"), name: username },
    ...groups.map((name) => ({ ...impersonation("groups"), name })),
  ];
  const extra: Record<string, string[]> = Object.create(null);
  for (const [name, value] of extras) {
    const key = unescapeKey(name.slice(EXTRA.length));
    (extra[key] ??= []).push(value);
    attributes.push({
      ...newerImpersonation("userextras"),
      subresource: key,
      name: value,
    });
  }
  if (uid !== "") attributes.push({ ...newerImpersonation("uids"), name: uid });
  const given = groups.length > 0 || !account ? groups : accountGroups(account.namespace);
  return {
    user: { username, uid, groups: withAuthentication(username, given), extra: { ...extra } },
    attributes,
  };
}

function impersonation(resource: string): ResourceAttributes {
  return { verb: "impersonate", group: "", resource };
}

/** What came later stands in a group of its own. */
function newerImpersonation(resource: string): ResourceAttributes {
  return { verb: "impersonate", group: "authentication.k8s.io", version: "v1", resource };
}

/** The service account of that user name, if there can be one: any other name is a plain user's. */
function readAccount(username: string): { namespace: string; name: string } | undefined {
  const [, namespace = "", name = ""] = /^system:serviceaccount:([^:]*):([^:]*)$/.exec(username) ?? [];
  const isAccount = namespace.length <= 63 && /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/.test(namespace) &&
    name.length <= 253 && name.split(".").every((label) => /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/.test(label));
  return isAccount ? { namespace, name } : undefined;
}

function accountGroups(namespace: string): string[] {
  return ["system:serviceaccounts", `system:serviceaccounts:${namespace}`];
}

/** Everyone is in one of two groups; naming one is the only way to choose. */
function withAuthentication(username: string, groups: readonly string[]): string[] {
  if (username === ANONYMOUS) {
    return groups.includes(UNAUTHENTICATED) ? [...groups] : [...groups, UNAUTHENTICATED];
  }
  const isGiven = groups.includes(AUTHENTICATED) || groups.includes(UNAUTHENTICATED);
  return isGiven ? [...groups] : [...groups, AUTHENTICATED];
}

/** Percent-decoded; a key that cannot be decoded stands for itself. */
function unescapeKey(key: string): string {
  try {
    return decodeURIComponent(key);
  } catch {
    return key;
  }
}

function badRequest(message: string): Refusal {
  return new Refusal("BadRequest", message, { rule: "impersonation" });
}
