import { createHash } from "node:crypto";
import { z } from "zod";
import { CatalogError } from "./catalog_error.ts";
import {
  type Cells,
  CONNECTIONS,
  DECISIONS,
  SESSIONS,
  storable,
  STREAMS,
  type Table,
  toCells,
} from "./tables.ts";

/** What of an audit event the index reads: `audit.k8s.io/v1` Event with annotations `postern.dev/*`. */
export interface AuditEventLike {
  auditID: string;
  verb: string;
  user: { username?: string };
  impersonatedUser?: { username?: string };
  sourceIPs: readonly string[];
  userAgent?: string;
  objectRef?: {
    resource: string;
    apiGroup?: string;
    subresource?: string;
    namespace?: string;
    name?: string;
  };
  responseStatus?: { code: number; message?: string };
  requestReceivedTimestamp: string;
  stageTimestamp: string;
  annotations: Readonly<Record<string, string>>;
}

const Event = z.object({
  auditID: z.string().min(1).max(256),
  verb: z.string(),
  user: z.object({ username: z.string().optional() }),
  impersonatedUser: z.object({ username: z.string().optional() }).optional(),
  sourceIPs: z.array(z.string()),
  userAgent: z.string().optional(),
  objectRef: z.object({
    resource: z.string(),
    apiGroup: z.string().optional(),
    subresource: z.string().optional(),
    namespace: z.string().optional(),
    name: z.string().optional(),
  }).optional(),
  responseStatus: z.object({ code: z.int(), message: z.string().optional() }).optional(),
  requestReceivedTimestamp: z.string(),
  stageTimestamp: z.string(),
  annotations: z.record(z.string(), z.string()),
});

/** What one event adds to the index. */
export interface Contribution {
  auditId: string;
  /** A row of `sessions`, most of it null. */
  session: Cells;
  /** Rows of other tables, each known by all that it says. */
  details: { table: Table; cells: Cells }[];
}

/** The group of the gateway's own resources: that a session is read or ended is no session. */
const OWN_GROUP = "postern.dev";

const KINDS: ReadonlySet<string> = new Set(["exec", "attach", "portforward", "ephemeralcontainers", "proxy"]);

/** Rules that allow what they guard only with an obligation to record it. */
const GUARDING: ReadonlySet<string> = new Set(["privileged-container", "ephemeral-container"]);

/**
 * Reads an event from a file or another source that is not trusted.
 *
 * @throws {CatalogError} `invalid`, without a word of what was in it
 */
export function parseEvent(value: unknown): AuditEventLike {
  const parsed = Event.safeParse(value);
  if (parsed.success && parsed.data.annotations["postern.dev/event"] !== undefined) return parsed.data;
  throw new CatalogError("invalid", "this is no audit event of the gateway");
}

/**
 * What an event says of its session. Pure.
 *
 * @returns `undefined` where it is about nothing that is indexed: a request that named no object, or one to the gateway's own API
 * @throws {CatalogError} `invalid`, where a time or number in it is none
 */
export function readEvent(event: AuditEventLike): Contribution | undefined {
  const { annotations, objectRef } = event;
  const auditId = storable(event.auditID);
  if (objectRef === undefined && annotations["postern.dev/pod"] === undefined) return undefined;
  if (objectRef?.apiGroup === OWN_GROUP) return undefined;
  const note = (name: string) => annotations[`postern.dev/${name}`];
  const type = note("event");
  const decision = decisionOf(event, type);
  const details = detailsOf(event, type, decision);
  const session = toCells(SESSIONS, {
    auditId,
    startedAt: microTime(event.requestReceivedTimestamp),
    username: event.user.username,
    impersonatedUser: event.impersonatedUser?.username,
    sourceIp: event.sourceIPs[0],
    userAgent: event.userAgent,
    verb: event.verb,
    kind: kindOf(objectRef?.subresource),
    namespace: note("namespace") ?? objectRef?.namespace,
    pod: note("pod") ?? (objectRef?.resource === "pods" ? objectRef.name : undefined),
    podUid: note("pod-uid"),
    node: note("node"),
    container: note("container"),
    containerKind: note("container-kind"),
    image: note("image"),
    argv: words(note("argv")),
    tty: flagOf(note("tty")),
    stdin: flagOf(note("stdin")),
    protocol: note("protocol"),
    denied: annotations["authorization.k8s.io/decision"] === "forbid" ? true : undefined,
    recording: note("recording"),
    recordingLink: note("recording-link"),
    recordingError: note("recording-error"),
    fallbackOf: note("fallback-of"),
    upstreamAuditId: note("upstream-audit-id"),
    ...decision,
    ...(type === "start" && {
      openedAt: microTime(event.stageTimestamp),
      upstream: note("upstream"),
      upstreamProtocol: note("upstream-protocol"),
    }),
    ...endOf(event, type),
  });
  return { auditId, session, details };
}

function kindOf(subresource: string | undefined): string | undefined {
  if (subresource === undefined) return undefined;
  return KINDS.has(subresource) ? subresource : "other";
}

/** A decision, or a refusal that forbids: the policy was not asked where the API server had already said no. */
function decisionOf(event: AuditEventLike, type: string | undefined) {
  const verdict = event.annotations["authorization.k8s.io/decision"];
  if (verdict === undefined || (type !== "decision" && type !== "refusal")) return undefined;
  const allowed = verdict === "allow";
  const rule = event.annotations["postern.dev/rule"];
  const obligations = words(event.annotations["postern.dev/obligations"]);
  const isGuarded = GUARDING.has(rule ?? "") && (!allowed || obligations?.includes("record") === true);
  return {
    decidedBy: type,
    decidedAt: microTime(event.stageTimestamp),
    allowed,
    rule,
    reason: event.annotations["authorization.k8s.io/reason"],
    obligations,
    privileged: isGuarded,
  };
}

function endOf(event: AuditEventLike, type: string | undefined) {
  if (type !== "end" && type !== "response" && type !== "refusal") return undefined;
  const note = (name: string) => event.annotations[`postern.dev/${name}`];
  return {
    outcome: type,
    endedAt: microTime(event.stageTimestamp),
    endReason: note("end-reason"),
    endedBy: note("ended-by"),
    message: note("message") ?? event.responseStatus?.message,
    code: event.responseStatus?.code,
    exitCode: whole(note("exit-code")),
    bytesIn: whole(note("bytes-in")),
    bytesOut: whole(note("bytes-out")),
    durationMs: whole(note("duration-ms")),
  };
}

function detailsOf(
  event: AuditEventLike,
  type: string | undefined,
  decision: ReturnType<typeof decisionOf>,
): Contribution["details"] {
  const note = (name: string) => event.annotations[`postern.dev/${name}`];
  const traffic = () => ({
    bytesIn: whole(note("bytes-in")) ?? 0,
    bytesOut: whole(note("bytes-out")) ?? 0,
    openedAt: microTime(note("opened-at") ?? event.stageTimestamp),
    durationMs: whole(note("duration-ms")) ?? 0,
    endedBy: note("ended-by"),
  });
  if (decision !== undefined) {
    return [detail(event, DECISIONS, { at: decision.decidedAt, ...decision })];
  }
  if (type === "stream") {
    const row = { name: note("stream") ?? "", streamId: whole(note("stream-id")), ...traffic() };
    return [detail(event, STREAMS, row)];
  }
  if (type !== "connection") return [];
  const reason = event.annotations["authorization.k8s.io/reason"];
  const denied = event.annotations["authorization.k8s.io/decision"] === "forbid";
  const connection = detail(event, CONNECTIONS, {
    requestId: note("request-id") ?? "",
    port: whole(note("port")) ?? 0,
    ...traffic(),
    error: note("error"),
    denied,
  });
  if (!denied) return [connection];
  const at = microTime(event.stageTimestamp);
  return [connection, detail(event, DECISIONS, { at, allowed: false, rule: note("rule"), reason })];
}

/** A row and its key: the digest of all that it says, so that the same event again is the same row. */
function detail(event: AuditEventLike, table: Table, row: Record<string, unknown>) {
  const cells = toCells(table, row);
  const key = createHash("sha256").update(JSON.stringify(cells)).digest("hex");
  return { table, cells: { audit_id: storable(event.auditID), event_key: key, ...cells } };
}

/**
 * A time with exactly six digits behind the second, so that texts sort as times do.
 *
 * @throws {CatalogError} `invalid`
 */
export function microTime(text: string): string {
  const [, seconds, fraction = ""] = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?Z$/.exec(text) ?? [];
  if (seconds === undefined || Number.isNaN(Date.parse(text))) {
    throw new CatalogError("invalid", "expected a time in UTC as RFC 3339 has it");
  }
  return `${seconds}.${fraction.padEnd(6, "0").slice(0, 6)}Z`;
}

function whole(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const number = Number(text);
  if (/^-?\d+$/.test(text) && Number.isSafeInteger(number)) return number;
  throw new CatalogError("invalid", "expected a whole number");
}

function flagOf(text: string | undefined): boolean | undefined {
  return text === undefined ? undefined : text === "true";
}

const Words = z.array(z.string());

function words(json: string | undefined): string[] | undefined {
  if (json === undefined) return undefined;
  try {
    return Words.parse(JSON.parse(json));
  } catch {
    throw new CatalogError("invalid", "expected a list of words");
  }
}
