import type { z } from "@hono/zod-openapi";
import { cursorOf } from "../catalog/filter.ts";
import type { SessionDetail } from "../catalog/tables.ts";
import { Refusal, type Status } from "../kube/status.ts";
import type { ApiCall, ApiGate } from "./call.ts";
import { mayList, reach } from "./guard.ts";
import { indexed, indexOf, locate, lookUp } from "./located_session.ts";
import {
  API_VERSION,
  type ListQuery,
  type SessionDocument,
  type SessionEventList,
  type SessionList,
} from "./schemas.ts";
import { runningHere } from "./tail.ts";

const DEFAULT_LIMIT = 100;

/** How long it is waited for that a session ends, in milliseconds. */
const END_MS = 10_000;

/** A page of the sessions that a filter lets pass. */
export async function listSessions(
  call: ApiCall,
  gate: ApiGate,
  { limit = DEFAULT_LIMIT, continue: after, text, ...filter }: z.infer<typeof ListQuery>,
): Promise<z.infer<typeof SessionList>> {
  const catalog = indexOf(gate);
  await mayList(call, gate, filter.namespace);
  const items = await indexed(
    catalog.sessions({ ...filter, ...(text !== undefined && { argv: text }) }, {
      limit,
      ...(after !== undefined && { after }),
    }),
  );
  const last = items.at(-1);
  const more = last !== undefined && items.length === limit ? { continue: cursorOf(last) } : {};
  return { apiVersion: API_VERSION, kind: "SessionList", metadata: more, items };
}

/** One session with all that the index keeps of it. */
export async function getSession(
  call: ApiCall,
  gate: ApiGate,
  auditId: string,
): Promise<z.infer<typeof SessionDocument>> {
  const session = await detail(call, gate, auditId);
  const here = gate.sessions.find(auditId)?.isLive === true;
  return { apiVersion: API_VERSION, kind: "Session", here, session };
}

/** What happened in a session, out of the index's rows: the audit log has each event whole. */
export async function getEvents(
  call: ApiCall,
  gate: ApiGate,
  auditId: string,
): Promise<z.infer<typeof SessionEventList>> {
  const session = await detail(call, gate, auditId);
  const items = eventsOf(session).sort((one, other) => one.at < other.at ? -1 : one.at > other.at ? 1 : 0);
  return { apiVersion: API_VERSION, kind: "SessionEventList", items, more: session.more };
}

/**
 * Ends a session that runs here. Its user is told by whom, and so is its last event.
 *
 * @returns how far that has come: it has ended and that is written down, or it will
 * @throws {Refusal} Gone, Conflict, NotFound, Forbidden
 */
export async function endSession(
  call: ApiCall,
  gate: ApiGate,
  auditId: string,
  waitMs = END_MS,
): Promise<Status & { code: 200 | 202 }> {
  const grant = { resource: "sessions", verb: "delete" } as const;
  const { found, reason } = await reach(call, gate, grant, auditId, () => locate(gate, auditId));
  const session = runningHere(auditId, found);
  await call.allow(reason);
  const hasEnded = await within(waitMs, session.end(call.user.username));
  return {
    kind: "Status",
    apiVersion: "v1",
    metadata: {},
    status: "Success",
    message: hasEnded ? "the session has ended" : "the session is being ended",
    details: { name: auditId, group: "postern.dev", kind: "sessions" },
    code: hasEnded ? 200 : 202,
  };
}

async function detail(call: ApiCall, gate: ApiGate, auditId: string): Promise<SessionDetail> {
  indexOf(gate);
  const grant = { resource: "sessions", verb: "get" } as const;
  const { found } = await reach(call, gate, grant, auditId, () => lookUp(gate, auditId));
  return found;
}

function eventsOf(session: SessionDetail): z.infer<typeof SessionEventList>["items"] {
  const { decisions, streams, connections, openedAt, upstream, upstreamProtocol, protocol } = session;
  const { outcome, endedAt, endReason, endedBy, message, code, exitCode, bytesIn, bytesOut, durationMs } =
    session;
  const end = { endReason, endedBy, message, code, exitCode, bytesIn, bytesOut, durationMs };
  return [
    ...decisions.map((each) => ({ type: "decision" as const, ...each })),
    ...(openedAt === undefined
      ? []
      : [{ type: "start" as const, at: openedAt, upstream, upstreamProtocol, protocol }]),
    ...streams.map((each) => ({ type: "stream" as const, at: each.openedAt, ...each })),
    ...connections.map((each) => ({ type: "connection" as const, at: each.openedAt, ...each })),
    ...(endedAt === undefined ? [] : [{ type: outcomeOf(outcome), at: endedAt, ...end }]),
  ];
}

function outcomeOf(outcome: string | undefined): "end" | "response" | "refusal" {
  return outcome === "response" || outcome === "refusal" ? outcome : "end";
}

/** Whether a promise settles in time. */
async function within(ms: number, work: Promise<void>): Promise<boolean> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<boolean>((resolve) => timer = setTimeout(() => resolve(false), ms));
  try {
    return await Promise.race([work.then(() => true), late]);
  } finally {
    clearTimeout(timer);
  }
}

/** A request that is none of this API's. */
export function noSuchPath(): Refusal {
  return new Refusal("NotFound", "the server could not find the requested resource");
}
