import { type Access, forbidden, type ResourceAttributes } from "../authz/authorize.ts";
import { Refusal } from "../kube/status.ts";
import type { ApiCall, ApiGate } from "./call.ts";

/** The group whose resources stand for the gateway's own: only the gateway honours what is granted in it. */
const API_GROUP = "postern.dev";
const VERSION = "v1";

/** What may be granted. */
export type Grant =
  | { resource: "sessions"; verb: "get" | "list" | "watch" | "delete" }
  | { resource: "recordings"; verb: "get" };

/** A session that somebody may see, and why they may. */
export interface Reached<T> {
  found: T;
  reason: string;
  /** What they were granted. */
  granted: ResourceAttributes;
}

/**
 * May they list sessions of this namespace, or of all?
 *
 * @throws {Refusal} Forbidden
 */
export async function mayList(call: ApiCall, gate: ApiGate, namespace: string | undefined): Promise<void> {
  const grant = { resource: "sessions", verb: "list" } as const;
  const where = namespace !== undefined && { namespace };
  call.about(grant.verb, { resource: grant.resource, apiGroup: API_GROUP, apiVersion: VERSION, ...where });
  const attributes = { ...grant, group: API_GROUP, version: VERSION, ...where };
  const { allowed, reason } = await gate.access(call.user, attributes, call.signal);
  if (!allowed) throw forbidden(call.user, attributes, reason);
}

/**
 * Looks a session up, for somebody who may: in its namespace, or in all of them.
 *
 * Who may not is told the same of a session that is there as of one that is not: that they may not in the whole cluster. How
 * long that takes could tell the two apart, to somebody who has its ID of 122 random bits.
 *
 * @param find where it is looked for
 * @throws {Refusal} Forbidden; NotFound, to those who may see every session
 */
export async function reach<T extends { namespace?: string | undefined }>(
  call: ApiCall,
  gate: ApiGate,
  { resource, verb }: Grant,
  auditId: string,
  find: () => Promise<T | undefined>,
): Promise<Reached<T>> {
  const reference = { resource, apiGroup: API_GROUP, apiVersion: VERSION, name: auditId };
  call.about(verb, reference);
  const attributes: ResourceAttributes = {
    ...{ verb, group: API_GROUP, version: VERSION, resource, name: auditId },
  };
  const everywhere = await gate.access(call.user, attributes, call.signal);
  const found = await find();
  const access = everywhere.allowed
    ? { ...everywhere, granted: attributes }
    : await accessThere(call, gate, attributes, found?.namespace);
  if (!access.allowed) throw forbidden(call.user, attributes, everywhere.reason);
  if (found === undefined) throw notFound(resource, auditId);
  if (found.namespace !== undefined) call.about(verb, { ...reference, namespace: found.namespace });
  return { found, reason: access.reason, granted: access.granted };
}

async function accessThere(
  { user, signal }: ApiCall,
  gate: ApiGate,
  attributes: ResourceAttributes,
  namespace: string | undefined,
): Promise<Access & { granted: ResourceAttributes }> {
  if (namespace === undefined) return { allowed: false, reason: "", granted: attributes };
  const granted = { ...attributes, namespace };
  return { ...await gate.access(user, granted, signal), granted };
}

/** There is none, in the API server's words. */
export function notFound(resource: string, name: string): Refusal {
  const details = { name, group: API_GROUP, kind: resource };
  return new Refusal("NotFound", `${resource}.${API_GROUP} ${JSON.stringify(name)} not found`, { details });
}
