import { Refusal } from "../kube/status.ts";
import { answered, type Forward, forwardedHeaders } from "./forwarding.ts";
import type { Journey } from "./journey.ts";

/** Subresources through which a container can be reached. None is ever passed through plainly. */
const GUARDED_SUBRESOURCES: ReadonlySet<string> = new Set(["exec", "attach", "portforward", "proxy"]);

/** A subresource that may be read plainly; writing it puts a process into a pod. */
const GUARDED_WHEN_WRITTEN = "ephemeralcontainers";

/**
 * Any other API request, sent on with the user's own credential: it can do nothing that the user could not.
 *
 * Answers stream, so that watches and followed logs work.
 */
export async function passThrough(journey: Journey, request: Request, forward: Forward): Promise<Response> {
  const { context, method, target } = journey;
  // The router has sent these elsewhere. That is checked again here, where a mistake would open a door.
  if (reachesContainer(target.segments, method)) {
    throw new Refusal("Forbidden", "this path is not passed through");
  }
  const headers = forwardedHeaders(context);
  const { signal, rawTarget } = context;
  return answered(await forward({ method, target: rawTarget, headers, body: request.body, signal }));
}

/**
 * Whether a path of the API leads into a container or to a node's or pod's own ports.
 *
 * @param segments of a canonical path
 */
export function reachesContainer(segments: readonly string[], method: string): boolean {
  const [root] = segments;
  if (root === "proxy") return true;
  if (root !== "api" && root !== "apis") return false;
  const [resource, , subresource, , namespaced] = segments.slice(root === "api" ? 2 : 3);
  if (resource === "proxy" || isGuarded(subresource, method)) return true;
  return resource === "namespaces" && isGuarded(namespaced, method);
}

function isGuarded(subresource: string | undefined, method: string): boolean {
  if (subresource === GUARDED_WHEN_WRITTEN) return method !== "GET" && method !== "HEAD";
  return subresource !== undefined && GUARDED_SUBRESOURCES.has(subresource);
}
