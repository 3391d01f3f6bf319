import type { Request as AccessRequest } from "../rbac/evaluate.ts";

/** Verbs by method, as they are for one object. */
const VERBS: Readonly<Record<string, string>> = {
  GET: "get",
  HEAD: "get",
  POST: "create",
  PUT: "update",
  PATCH: "patch",
  DELETE: "delete",
};

/**
 * What a request asks to do, in the terms of RBAC.
 *
 * @param url of any form that routers accept; segments are percent-decoded
 * @throws {URIError} where a percent-encoding is broken
 * @see k8s.io/apiserver pkg/endpoints/request/requestinfo.go
 */
export function requestInfo(method: string, url: URL): AccessRequest {
  const segments = url.pathname.split("/").filter((segment) => segment !== "").map(decodeURIComponent);
  const [root, ...rest] = segments;
  const prefix = root === "api" ? 1 : 2; // version, or group and version
  if ((root !== "api" && root !== "apis") || rest.length <= prefix) {
    return { verb: method.toLowerCase(), path: url.pathname };
  }
  const group = root === "api" ? "" : rest[0]!;
  const { namespace, path } = splitNamespace(rest.slice(prefix));
  const [resource = "", inPath, ...subresource] = path;
  const name = inPath ?? selectedName(url.searchParams);
  return {
    verb: verbOf(method, inPath === undefined, url.searchParams),
    group,
    resource,
    ...(subresource.length > 0 && { subresource: subresource[0] }),
    ...(namespace !== undefined && { namespace }),
    ...(name !== undefined && { name }),
  };
}

/** `namespaces/default/pods/web` is the pod `web` in `default`; `namespaces/default` is itself, in itself. */
function splitNamespace(path: readonly string[]): { namespace: string | undefined; path: readonly string[] } {
  const [first, namespace, third] = path;
  if (first !== "namespaces" || namespace === undefined) return { namespace: undefined, path };
  const isOwn = third === undefined || third === "status" || third === "finalize";
  return { namespace, path: isOwn ? path : path.slice(2) };
}

function verbOf(method: string, isCollection: boolean, query: URLSearchParams): string {
  const verb = VERBS[method] ?? "";
  if (!isCollection) return verb;
  if (verb === "get") return isWatch(query) ? "watch" : "list";
  return verb === "delete" ? "deletecollection" : verb;
}

/** Whether a list is to be followed. The API server takes everything but these for yes. */
export function isWatch(query: URLSearchParams): boolean {
  const watch = query.get("watch");
  return watch !== null && watch !== "0" && watch.toLowerCase() !== "false";
}

/** A list that can only hold one object is asked for by that object's name. */
function selectedName(query: URLSearchParams): string | undefined {
  return /^metadata\.name==?([^,=!]+)$/.exec(query.get("fieldSelector") ?? "")?.[1];
}
