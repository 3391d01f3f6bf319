/** Query keys whose values are credentials, in lower case. */
const SECRET_KEYS = new Set([
  "access_token",
  "api_key",
  "apikey",
  "assertion",
  "auth",
  "authorization",
  "client_assertion",
  "client_secret",
  "code_verifier",
  "id_token",
  "passwd",
  "password",
  "refresh_token",
  "secret",
  "token",
]);

/** What stands where a credential stood. */
export const MASK = "REDACTED";

/**
 * A request URI without credentials: the userinfo of an absolute or network-path form, and the values of query
 * keys such as `access_token`, however the key is percent-encoded. The rest stays as it was sent, byte for byte.
 *
 * Arguments of a command (`command=…`) are the argv mask's: what is secret in them depends on one another.
 */
export function maskUri(uri: string): string {
  const queryAt = uri.indexOf("?");
  const path = queryAt === -1 ? uri : uri.slice(0, queryAt);
  // Greedy up to the last "@" before the path: "user:p@ss@host" has its userinfo there.
  const masked = path.replace(/^([a-z][a-z0-9+.-]*:)?\/\/[^/]*@/i, `$1//${MASK}@`);
  if (queryAt === -1) return masked;
  return `${masked}?${uri.slice(queryAt + 1).split(/([&;#])/).map(maskPair).join("")}`;
}

function maskPair(pair: string): string {
  const equalsAt = pair.indexOf("=");
  if (equalsAt === -1) return pair;
  const key = pair.slice(0, equalsAt);
  return SECRET_KEYS.has(decoded(key)) ? `${key}=${MASK}` : pair;
}

function decoded(key: string): string {
  try {
    return decodeURIComponent(key.replaceAll("+", " ")).trim().toLowerCase();
  } catch {
    return key.toLowerCase();
  }
}
