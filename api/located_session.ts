import type { SessionDetail } from "../catalog/tables.ts";
import { CatalogError } from "../catalog/catalog_error.ts";
import { Refusal } from "../kube/status.ts";
import type { ApiGate, KnownSession } from "./call.ts";

/** What is known of where a session is. */
export interface LocatedSession {
  namespace: string | undefined;
  /** Where its recording lies below the store. */
  recording: string | undefined;
  /** It has ended, or never opened. */
  isOver: boolean;
  /** Where it runs here, or has a while ago. */
  here: KnownSession | undefined;
}

/** Looks for a session: here, then in the index, where there is one. @throws {Refusal} ServiceUnavailable */
export async function locate(gate: ApiGate, auditId: string): Promise<LocatedSession | undefined> {
  const here = gate.sessions.find(auditId);
  if (here !== undefined) {
    const { namespace, recording } = here.facts;
    return { namespace, recording, isOver: !here.isLive, here };
  }
  const row = gate.catalog && await indexed(gate.catalog.session(auditId));
  if (row === undefined) return undefined;
  const { namespace, recording, endedAt } = row;
  return { namespace, recording, isOver: endedAt !== undefined, here: undefined };
}

/** One session of the index. @throws {Refusal} NotImplemented where there is no index; ServiceUnavailable */
export async function lookUp(gate: ApiGate, auditId: string): Promise<SessionDetail | undefined> {
  return await indexed(indexOf(gate).session(auditId));
}

/** @throws {Refusal} NotImplemented */
export function indexOf({ catalog }: ApiGate): NonNullable<ApiGate["catalog"]> {
  if (catalog !== undefined) return catalog;
  throw new Refusal(
    "NotImplemented",
    "this gateway has no index of sessions: set index.type to sqlite or postgresql in its configuration",
    { rule: "index" },
  );
}

/** An answer of the index, whose failures are told as refusals. @throws {Refusal} BadRequest, ServiceUnavailable */
export async function indexed<T>(answer: Promise<T>): Promise<T> {
  try {
    return await answer;
  } catch (cause) {
    if (!(cause instanceof CatalogError)) throw cause;
    if (cause.code === "invalid") throw new Refusal("BadRequest", cause.message, { cause });
    throw new Refusal("ServiceUnavailable", "the index of sessions does not answer", { cause });
  }
}
