import { forbidden } from "../../authz/authorize.ts";
import { Refusal } from "../../kube/status.ts";
import type { Requester } from "../manifest.ts";
import { evaluate, type Policy, type Request as AccessRequest } from "../rbac/evaluate.ts";

/**
 * Who sent a request: the owner of its token or, where that one may say so, the user it names in `Impersonate-*` headers.
 *
 * @throws {Refusal} Unauthorized; Forbidden where an identity may not be taken
 */
export function authenticate(
  headers: Headers,
  users: ReadonlyMap<string, Requester>,
  policy: Policy,
): Requester {
  const token = /^Bearer (.+)$/i.exec(headers.get("Authorization") ?? "")?.[1] ?? "";
  const user = users.get(token);
  if (user === undefined) throw new Refusal("Unauthorized", "Unauthorized");
  return impersonated(headers, user, policy);
}

/** @throws {Refusal} Forbidden, in the words of the API server */
export function authorize(policy: Policy, user: Requester, request: AccessRequest): void {
  if (evaluate(policy, user, request) !== undefined) return;
  if ("path" in request) {
    const { verb, path } = request;
    throw new Refusal("Forbidden", `forbidden: User "${user.username}" cannot ${verb} path "${path}"`);
  }
  const { verb, group, resource, subresource, namespace, name } = request;
  throw forbidden({ ...user, extra: {} }, {
    verb,
    group,
    resource,
    ...(subresource !== undefined && { subresource }),
    ...(namespace !== undefined && { namespace }),
    ...(name !== undefined && { name }),
  }, "");
}

/** @see k8s.io/apiserver pkg/endpoints/filters/impersonation.go */
function impersonated(headers: Headers, user: Requester, policy: Policy): Requester {
  const named = [...headers.keys()].filter((name) => name.startsWith("impersonate-"));
  if (named.length === 0) return user;
  const username = headers.get("Impersonate-User") ?? "";
  if (username === "") {
    throw new Refusal("BadRequest", `requested ${named.join(", ")} without impersonating a user`);
  }
  const may = (group: string, resource: string, more: object) => {
    authorize(policy, user, { verb: "impersonate", group, resource, ...more });
  };
  const account = /^system:serviceaccount:([^:]+):([^:]+)$/.exec(username);
  if (account === null) may("", "users", { name: username });
  else may("", "serviceaccounts", { namespace: account[1], name: account[2] });
  const asked = (headers.get("Impersonate-Group") ?? "").split(",").map((group) => group.trim())
    .filter((group) => group !== "");
  for (const name of asked) may("", "groups", { name });
  const uid = headers.get("Impersonate-Uid") ?? "";
  if (uid !== "") may("authentication.k8s.io", "uids", { name: uid });
  for (const header of named.filter((name) => name.startsWith("impersonate-extra-"))) {
    const subresource = decodeURIComponent(header.slice("impersonate-extra-".length));
    may("authentication.k8s.io", "userextras", { subresource, name: headers.get(header) ?? "" });
  }
  const own = account === null ? [] : ["system:serviceaccounts", `system:serviceaccounts:${account[1]}`];
  const groups = new Set([...asked.length > 0 ? asked : own, "system:authenticated"]);
  return { username, uid, groups: [...groups] };
}
