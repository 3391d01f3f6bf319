import { createHash } from "node:crypto";
import { ArgvMask, type CommandMask } from "./argv/argv_mask.ts";
import { Bounds } from "./bounds.ts";
import { safeJson } from "./line.ts";
import { maskUri } from "./mask.ts";

/**
 * Audit events as the API server writes them, so that a pipeline that reads its log reads this one too.
 *
 * | event | stage | how many | responseStatus |
 * | --- | --- | --- | --- |
 * | `decision` | RequestReceived | one | none |
 * | `start` | ResponseStarted | one, where the session opened | 101 |
 * | `stream` | ResponseStarted | one for each stream of a command, when it ended | 101 |
 * | `connection` | ResponseStarted | one for each connection of a port-forward, when it ended | 101, Failure where it was refused or broke |
 * | `end` | ResponseComplete | one, where the session opened | 101, Failure where it broke |
 * | `response` | ResponseComplete | one, where a request that is no session was decided and answered | the answer's, Failure where it broke off |
 * | `refusal` | ResponseComplete | one, where the request came to nothing | the refusal's |
 * | `retention` | RequestReceived | one for each recording that is deleted because of its age or for want of room, before it is | none |
 * | `refusals` | RequestReceived | two for each source of so many refusals that they are counted: one when that begins, one with the count | none |
 * | `recheck` | RequestReceived | one when nobody can tell any more whether live sessions may go on, and one when somebody can again | none |
 *
 * As there, exactly one event of stage ResponseComplete tells what became of a request, and `auditID` joins all of
 * its events. Unlike there, the event of stage RequestReceived is written after the decision and carries it, and a
 * request that fails before a decision has a `refusal` alone. A pipeline that keeps one event for each auditID and
 * stage loses single streams, whose bytes are summed up in `end`; what tells events apart is auditID,
 * `postern.dev/event` and `postern.dev/stream-id`. The level is Metadata: bodies, and what passes on streams, are
 * not events.
 *
 * A `retention` event is of no request: its `auditID` is its own, and it has no user and no object;
 * `postern.dev/session` is the `auditID` of the session whose recording it is. A deletion that is cut off, or that two
 * replicas begin at once, is announced again.
 *
 * A `refusals` event is of no single request: it has no user, for nobody was known, and an `auditID` that is the count's.
 *
 * A `recheck` event is of no request either: it stands for all sessions of this process. What came of a single one is in its `end`.
 *
 * Every event stands alone: user, target and command are in each. Details are annotations `postern.dev/*`, whose
 * values are strings, as the API has it; lists and objects in them are JSON. What is cut to its bound is named in
 * `postern.dev/truncated`; of a cut command, `postern.dev/argv-sha256` is that of the whole.
 *
 * Secrets in a command are masked before all this: in `postern.dev/argv`, in what `postern.dev/argv-sha256` is of,
 * in the URI and in messages that quote them.
 *
 * @see k8s.io/apiserver pkg/apis/audit/v1/types.go
 * @module
 */

/** `audit.k8s.io/v1` Event, as much of it as is used. */
export interface AuditEvent {
  kind: "Event";
  apiVersion: "audit.k8s.io/v1";
  level: "Metadata";
  auditID: string;
  stage: "RequestReceived" | "ResponseStarted" | "ResponseComplete";
  requestURI: string;
  verb: string;
  /** Who authenticated; empty where nobody did. */
  user: AuditUser;
  /** As whom the request was made, where that is someone else. */
  impersonatedUser?: AuditUser;
  sourceIPs: string[];
  userAgent?: string;
  objectRef?: ObjectReference;
  responseStatus?: ResponseStatus;
  /** RFC 3339 with microseconds. */
  requestReceivedTimestamp: string;
  /** RFC 3339 with microseconds: when this event was made. */
  stageTimestamp: string;
  annotations: Record<string, string>;
}

/** `authentication.k8s.io/v1` UserInfo. */
export interface AuditUser {
  username?: string;
  uid?: string;
  groups?: readonly string[];
  extra?: Readonly<Record<string, readonly string[]>>;
}

/** What a request is about. */
export interface ObjectReference {
  resource: string;
  namespace?: string;
  name?: string;
  uid?: string;
  apiGroup?: string;
  apiVersion?: string;
  subresource?: string;
}

/** `metav1.Status` without its details. */
export interface ResponseStatus {
  metadata: Record<string, never>;
  status?: "Success" | "Failure";
  message?: string;
  reason?: string;
  code: number;
}

/** What is known of a request, from its first bytes to its authentication. No credential may be in it. */
export interface Facts {
  /** A UUID, the same for all events of a request. */
  auditId: string;
  receivedAt: Date;
  /** The client first, as the API server orders them. */
  sourceIps: readonly string[];
  userAgent?: string;
  /** Path and query as sent; credentials in it are masked here. */
  requestUri: string;
  /** The verb that is authorized: `create` for every session. */
  verb: string;
  /** Who authenticated. */
  user?: AuditUser;
  /** As whom, where allowed `Impersonate-*` headers say so. */
  impersonatedUser?: AuditUser;
  objectRef?: ObjectReference;
  /** What the client speaks, e.g. `SPDY/3.1 v4.channel.k8s.io`. */
  protocol?: string;
  /** The command, argument by argument, as it was sent; it is masked here. */
  argv?: readonly string[];
  /** What masks it. Where nothing is said, its secrets become digests that match within this process's life. */
  commandMask?: CommandMask;
  /** The `auditId` of the refused attempt that this one follows: clients ask again over SPDY where WebSocket was refused. */
  fallbackOf?: string;
  /** The `auditID` of the same session in the API server's own log, where it is opened there. */
  upstreamAuditId?: string;
  /** The streams that were asked for. */
  flags?: { stdin: boolean; stdout: boolean; stderr: boolean; tty: boolean };
}

/** What a session is opened to. A port-forward has no container. */
export interface AuditTarget {
  namespace: string;
  podName: string;
  podUid: string;
  nodeName: string;
  container?: string;
  containerKind?: string;
  image?: string;
  imageId?: string;
}

/** What the policy said. */
export interface AuditDecision {
  allowed: boolean;
  rule: string;
  reason: string;
  obligations?: readonly { type: string }[];
}

/** How a session was opened. */
export interface AuditStart {
  /** `host:port`. */
  upstream: string;
  clientProtocol: string;
  upstreamProtocol: string;
  /** Where its recording lies below the recordings' store; absent where there is none. */
  recording?: string;
}

/** What one stream came to. `bytesIn` is client to pod, `bytesOut` pod to client. */
export interface AuditStream {
  name: string;
  id?: number;
  bytesIn: number;
  bytesOut: number;
  openedAt: Date;
  durationMs: number;
  endedBy?: string;
}

/** What one connection of a port-forward came to. `bytesIn` is client to pod, `bytesOut` pod to client. */
export interface AuditConnection {
  /** What its two streams have in common, as the client numbers them. */
  requestId: string;
  /** In the pod. */
  port: number;
  bytesIn: number;
  bytesOut: number;
  openedAt: Date;
  durationMs: number;
  endedBy: string;
  /** What the client was told on its error stream. */
  error?: string;
  /** The policy refused it. */
  isDenied?: boolean;
}

/** Why a session ended. */
export const END_REASONS = [
  "command_ended",
  "client_closed",
  "client_vanished",
  "upstream_closed",
  "upstream_vanished",
  "upstream_refused",
  "idle_limit",
  "time_limit",
  "setup_timeout",
  "ended_by_operator",
  "credential_revoked",
  "access_revoked",
  "access_unconfirmed",
  "gateway_draining",
  "gateway_lost",
  "protocol_error",
  "audit_failure",
  "gateway_error",
] as const;

export type AuditEndReason = typeof END_REASONS[number];

/** Ends that nobody need look into. */
const ORDERLY: ReadonlySet<AuditEndReason> = new Set(["command_ended", "client_closed", "upstream_closed"]);

/** How a session ended. */
export interface AuditEnd {
  reason: AuditEndReason;
  by: "client" | "upstream" | "gateway";
  /** One sentence, as the client is told it. */
  message: string;
  exitCode?: number;
  /** Summed up by name. `count` is how many there were, where an entry stands for more than one. */
  streams: readonly (Pick<AuditStream, "name" | "bytesIn" | "bytesOut"> & { count?: number })[];
  durationMs: number;
  /** Its recording; `link` is that of the last block, `error` why it is not whole. */
  recording?: { path: string; link?: string; error?: string };
  /** What files passed, as far as it is known. */
  manifests?: readonly FileManifest[];
}

/** Files that passed in one stream. What else is in it is written as it stands. */
export interface FileManifest {
  kind: string;
  /** The first of them; absent where single files are not known. */
  files?: readonly unknown[];
  /** There are more. */
  truncated?: boolean;
}

/** The answer to a request that is no session. */
export interface AuditResponse {
  /** HTTP status. */
  code: number;
  /** Bytes of its body that the client was sent. */
  bytesOut: number;
  /** From the request's first bytes to the answer's last. */
  durationMs: number;
  /** Why it broke off; absent where it came whole. */
  error?: string;
}

/** A refusal, as the client is told it. */
export interface AuditRefusal {
  /** HTTP status. */
  code: number;
  /** A `metav1.StatusReason`. */
  reason: string;
  message: string;
  /** The rule that refused, where it was one. */
  rule?: string;
}

/** A recording, or a chain of recordings, that is not to be kept any longer. */
export interface AuditRetention {
  /** Below the recordings' store. */
  path: string;
  bytes: number;
  modifiedAt: Date;
  /** It is older than recordings are kept, or they take more room than they may. */
  reason: "age" | "size";
  /** The same as a sentence, with the bound. */
  message: string;
}

/** Refusals of strangers from one source, which were counted instead of written down one by one. */
export interface CountedRefusals {
  auditId: string;
  /** An IPv4 address, or a /64 of IPv6; `others` where there were too many. */
  source: string;
  /** How many, by HTTP status. */
  codes: Map<number, number>;
  firstAt: Date;
  lastAt: Date;
  /** Where the last of them came from. */
  lastAddress: string;
}

/** Whether it can be said of live sessions that they may go on. */
export type AuditRecheck =
  | { isAnswered: false; graceMs: number }
  /** `durationMs`: since when it could not. */
  | { isAnswered: true; durationMs: number };

/** Bounds of what a client can make long, in bytes of UTF-8. A line stays below 2 MiB whatever is sent. */
const MAX = {
  uriBytes: 16384,
  userAgentBytes: 1024,
  argvBytes: 65536,
  argvItems: 4096,
  nameBytes: 1024,
  messageBytes: 4096,
  groupsBytes: 32768,
  extraBytes: 32768,
  listItems: 1024,
  sourceIps: 16,
  streamNames: 64,
  filesBytes: 524288,
};

/** Masks the commands of those who say nothing of it: to forget it must not write secrets down. */
const OWN_MASK = new ArgvMask();

/** What was decided, allowed or denied; to be durable before anything opens. */
export function decisionEvent(
  facts: Facts,
  target: AuditTarget | undefined,
  { allowed, rule, reason, obligations = [] }: AuditDecision,
  at = new Date(),
): AuditEvent {
  return event(facts, target, at, {
    type: "decision",
    stage: "RequestReceived",
    annotations: (bounds) => ({
      "authorization.k8s.io/decision": allowed ? "allow" : "forbid",
      "authorization.k8s.io/reason": bounds.text("reason", withoutSecrets(reason, facts), MAX.messageBytes),
      "postern.dev/rule": bounds.text("rule", rule, MAX.nameBytes),
      "postern.dev/obligations": safeJson(obligations.map(({ type }) => type)),
    }),
  });
}

/** The session is open: both sides have switched protocols. */
export function startEvent(
  facts: Facts,
  target: AuditTarget,
  { upstream, clientProtocol, upstreamProtocol, recording }: AuditStart,
  at = new Date(),
): AuditEvent {
  return event(facts, target, at, {
    type: "start",
    stage: "ResponseStarted",
    status: () => ({ metadata: {}, code: 101 }),
    annotations: (bounds) => ({
      "postern.dev/upstream": bounds.text("upstream", upstream, MAX.nameBytes),
      "postern.dev/client-protocol": bounds.text("client-protocol", clientProtocol, MAX.nameBytes),
      "postern.dev/upstream-protocol": bounds.text("upstream-protocol", upstreamProtocol, MAX.nameBytes),
      "postern.dev/recording": recording,
    }),
  });
}

/** One stream has ended. */
export function streamEvent(
  facts: Facts,
  target: AuditTarget,
  { name, id, bytesIn, bytesOut, openedAt, durationMs, endedBy }: AuditStream,
  at = new Date(),
): AuditEvent {
  return event(facts, target, at, {
    type: "stream",
    stage: "ResponseStarted",
    status: () => ({ metadata: {}, code: 101 }),
    annotations: (bounds) => ({
      "postern.dev/stream": bounds.text("stream", name, MAX.nameBytes),
      "postern.dev/stream-id": id?.toString(),
      "postern.dev/bytes-in": bytesIn.toString(),
      "postern.dev/bytes-out": bytesOut.toString(),
      "postern.dev/opened-at": timestamp(openedAt),
      "postern.dev/duration-ms": Math.round(durationMs).toString(),
      "postern.dev/ended-by": endedBy,
    }),
  });
}

/** One connection of a port-forward has ended, or was refused. */
export function connectionEvent(
  facts: Facts,
  target: AuditTarget,
  { requestId, port, bytesIn, bytesOut, openedAt, durationMs, endedBy, error, isDenied }: AuditConnection,
  at = new Date(),
): AuditEvent {
  const failure = (bounds: Bounds) =>
    error && bounds.text("error", withoutSecrets(error, facts), MAX.messageBytes);
  return event(facts, target, at, {
    type: "connection",
    stage: "ResponseStarted",
    status: (bounds) => {
      const message = failure(bounds);
      return message ? { metadata: {}, status: "Failure", message, code: 101 } : { metadata: {}, code: 101 };
    },
    annotations: (bounds) => ({
      "authorization.k8s.io/decision": isDenied ? "forbid" : undefined,
      "authorization.k8s.io/reason": isDenied ? failure(bounds) : undefined,
      "postern.dev/port": port.toString(),
      "postern.dev/request-id": bounds.text("request-id", requestId, MAX.nameBytes),
      "postern.dev/bytes-in": bytesIn.toString(),
      "postern.dev/bytes-out": bytesOut.toString(),
      "postern.dev/opened-at": timestamp(openedAt),
      "postern.dev/duration-ms": Math.round(durationMs).toString(),
      "postern.dev/ended-by": endedBy,
      "postern.dev/error": failure(bounds),
    }),
  });
}

/** The session is over. */
export function endEvent(
  facts: Facts,
  target: AuditTarget,
  { reason, by, message, exitCode, streams, durationMs, recording, manifests = [] }: AuditEnd,
  at = new Date(),
): AuditEvent {
  return event(facts, target, at, {
    type: "end",
    stage: "ResponseComplete",
    status: (bounds) =>
      ORDERLY.has(reason) ? { metadata: {}, code: 101 } : {
        metadata: {},
        status: "Failure",
        message: bounds.text("message", withoutSecrets(message, facts), MAX.messageBytes),
        code: 101,
      },
    annotations: (bounds) => ({
      "postern.dev/end-reason": reason,
      "postern.dev/ended-by": by,
      "postern.dev/message": bounds.text("message", withoutSecrets(message, facts), MAX.messageBytes),
      "postern.dev/exit-code": exitCode?.toString(),
      "postern.dev/bytes-in": total(streams, "bytesIn"),
      "postern.dev/bytes-out": total(streams, "bytesOut"),
      "postern.dev/streams": sumsByName(streams, bounds),
      "postern.dev/recording": recording?.path,
      "postern.dev/recording-link": recording?.link,
      "postern.dev/recording-error": recording?.error &&
        bounds.text("recording-error", recording.error, MAX.messageBytes),
      "postern.dev/files": manifests.length > 0 ? filesJson(manifests, bounds) : undefined,
      "postern.dev/duration-ms": Math.round(durationMs).toString(),
    }),
  });
}

/** A request that is no session, and that was decided, has had its answer. */
export function responseEvent(
  facts: Facts,
  target: AuditTarget | undefined,
  { code, bytesOut, durationMs, error }: AuditResponse,
  at = new Date(),
): AuditEvent {
  const failure = (bounds: Bounds) =>
    error && bounds.text("error", withoutSecrets(error, facts), MAX.messageBytes);
  return event(facts, target, at, {
    type: "response",
    stage: "ResponseComplete",
    status: (bounds) => {
      const message = failure(bounds);
      return message ? { metadata: {}, status: "Failure", message, code } : { metadata: {}, code };
    },
    annotations: (bounds) => ({
      "postern.dev/bytes-out": bytesOut.toString(),
      "postern.dev/duration-ms": Math.round(durationMs).toString(),
      "postern.dev/error": failure(bounds),
    }),
  });
}

/** The request came to nothing: refused by the gateway, or by the upstream before the session opened. */
export function refusalEvent(
  facts: Facts,
  target: AuditTarget | undefined,
  { code, reason, message, rule }: AuditRefusal,
  at = new Date(),
): AuditEvent {
  return event(facts, target, at, {
    type: "refusal",
    stage: "ResponseComplete",
    status: (bounds) => ({
      metadata: {},
      status: "Failure",
      message: bounds.text("message", withoutSecrets(message, facts), MAX.messageBytes),
      reason: bounds.text("reason", reason, MAX.nameBytes),
      code,
    }),
    annotations: (bounds) => ({
      "authorization.k8s.io/decision": code === 403 ? "forbid" : undefined,
      "authorization.k8s.io/reason": code === 403
        ? bounds.text("message", withoutSecrets(message, facts), MAX.messageBytes)
        : undefined,
      "postern.dev/rule": rule === undefined ? undefined : bounds.text("rule", rule, MAX.nameBytes),
    }),
  });
}

/** A recording, or a chain of recordings, is about to be deleted; to be durable before it is. */
export function retentionEvent(
  { path, bytes, modifiedAt, reason, message }: AuditRetention,
  auditId: string,
  at = new Date(),
): AuditEvent {
  const facts = { auditId, receivedAt: at, sourceIps: [], requestUri: "", verb: "delete" };
  const [, session] = /([^/]+)\.rec$/.exec(path) ?? [];
  return event(facts, undefined, at, {
    type: "retention",
    stage: "RequestReceived",
    annotations: (bounds) => ({
      "postern.dev/recording": bounds.text("recording", path, MAX.nameBytes),
      "postern.dev/session": session && bounds.text("session", session, MAX.nameBytes),
      "postern.dev/recording-bytes": bytes.toString(),
      "postern.dev/recording-modified-at": timestamp(modifiedAt),
      "postern.dev/retention-reason": reason,
      "postern.dev/message": bounds.text("message", message, MAX.messageBytes),
    }),
  });
}

/** From now on refusals of a source are counted (`counting`); or this is how many there were (`counted`). */
export function refusalsEvent(
  { auditId, source, codes, firstAt, lastAt, lastAddress }: CountedRefusals,
  state: "counting" | "counted",
  at = new Date(),
): AuditEvent {
  const facts = { auditId, receivedAt: firstAt, sourceIps: [lastAddress], requestUri: "", verb: "" };
  const count = codes.values().reduce((sum, each) => sum + each, 0);
  return event(facts, undefined, at, {
    type: "refusals",
    stage: "RequestReceived",
    annotations: () => ({
      "postern.dev/refusals": state,
      "postern.dev/source": source,
      ...(state === "counting"
        ? { "postern.dev/message": `refusals of strangers from ${source} are counted from now on` }
        : {
          "postern.dev/message": `${count} refusals of strangers from ${source} were not written one by one`,
          "postern.dev/count": count.toString(),
          "postern.dev/codes": safeJson(Object.fromEntries(codes)),
          "postern.dev/first-at": timestamp(firstAt),
          "postern.dev/last-at": timestamp(lastAt),
        }),
    }),
  });
}

/** Nobody can tell any more whether live sessions may go on; or somebody can again. */
export function recheckEvent(recheck: AuditRecheck, auditId: string, at = new Date()): AuditEvent {
  const facts = { auditId, receivedAt: at, sourceIps: [], requestUri: "", verb: "" };
  return event(facts, undefined, at, {
    type: "recheck",
    stage: "RequestReceived",
    annotations: () =>
      recheck.isAnswered
        ? {
          "postern.dev/recheck": "answered",
          "postern.dev/message": "all live sessions are known again to be allowed, or are over",
          "postern.dev/duration-ms": Math.round(recheck.durationMs).toString(),
        }
        : {
          "postern.dev/recheck": "unanswered",
          "postern.dev/message":
            "nobody can say whether live sessions may go on: they do, for as long as is granted",
          "postern.dev/grace-ms": recheck.graceMs.toString(),
        },
  });
}

interface Shape {
  type:
    | "decision"
    | "start"
    | "stream"
    | "connection"
    | "end"
    | "response"
    | "refusal"
    | "retention"
    | "refusals"
    | "recheck";
  stage: AuditEvent["stage"];
  status?: (bounds: Bounds) => ResponseStatus;
  annotations: (bounds: Bounds) => Record<string, string | undefined>;
}

function event(facts: Facts, target: AuditTarget | undefined, at: Date, shape: Shape): AuditEvent {
  const { request, annotations: shared, cut } = sharedOf(facts, target);
  const { auditID, requestURI, verb, user, impersonatedUser, sourceIPs, userAgent, objectRef } = request;
  const bounds = new Bounds(cut);
  const responseStatus = shape.status?.(bounds);
  const annotations = {
    "postern.dev/event": shape.type,
    ...shared,
    ...defined(shape.annotations(bounds)),
    ...(bounds.cut.length > 0 && { "postern.dev/truncated": safeJson(bounds.cut) }),
  };
  return {
    kind: "Event",
    apiVersion: "audit.k8s.io/v1",
    level: "Metadata",
    auditID,
    stage: shape.stage,
    requestURI,
    verb,
    user,
    ...(impersonatedUser && { impersonatedUser }),
    sourceIPs,
    ...(userAgent && { userAgent }),
    ...(objectRef && { objectRef }),
    ...(responseStatus && { responseStatus }),
    requestReceivedTimestamp: request.requestReceivedTimestamp,
    stageTimestamp: timestamp(at),
    annotations,
  };
}

/** What all events of a request say that know the same of it. */
interface Shared {
  request: Omit<
    AuditEvent,
    "kind" | "apiVersion" | "level" | "stage" | "responseStatus" | "stageTimestamp" | "annotations"
  >;
  annotations: Record<string, string>;
  cut: readonly string[];
}

/**
 * By what is known of the request, and of its target: a session has six events and more, and masking a URI is most of the work of
 * each.
 */
const SHARED = new WeakMap<Facts, { target: string; shared: Shared }>();

function sharedOf(facts: Facts, target: AuditTarget | undefined): Shared {
  const key = JSON.stringify(target ?? null);
  const known = SHARED.get(facts);
  if (known?.target === key) return known.shared;
  const shared = share(facts, target);
  SHARED.set(facts, { target: key, shared });
  return shared;
}

function share(facts: Facts, target: AuditTarget | undefined): Shared {
  const bounds = new Bounds();
  const user = userOf(facts.user ?? {}, "user", bounds);
  const impersonatedUser = facts.impersonatedUser &&
    userOf(facts.impersonatedUser, "impersonatedUser", bounds);
  const objectRef = facts.objectRef && objectReference(facts.objectRef, target, bounds);
  const userAgent = facts.userAgent && bounds.text("userAgent", facts.userAgent, MAX.userAgentBytes);
  const annotations = defined({
    ...requestAnnotations(facts, bounds),
    ...(target && targetAnnotations(target, bounds)),
  });
  // Cut first: what nobody will read is not worth looking for secrets.
  const uri = bounds.text("requestURI", facts.requestUri, MAX.uriBytes);
  const requestURI = maskOf(facts).uri(maskUri(uri));
  const sourceIPs = bounds.list("sourceIPs", facts.sourceIps, MAX.sourceIps * 64, MAX.sourceIps);
  const request = {
    ...{ auditID: facts.auditId, requestURI, verb: facts.verb, user, sourceIPs },
    ...(impersonatedUser && { impersonatedUser }),
    ...(userAgent && { userAgent }),
    ...(objectRef && { objectRef }),
    requestReceivedTimestamp: timestamp(facts.receivedAt),
  };
  return { request, annotations, cut: bounds.cut };
}

function maskOf({ commandMask = OWN_MASK }: Facts): CommandMask {
  return commandMask;
}

/** What is said to people may quote the command. */
export function withoutSecrets(message: string, facts: Facts): string {
  return facts.argv === undefined ? message : maskOf(facts).message(message, facts.argv);
}

function requestAnnotations(facts: Facts, bounds: Bounds): Record<string, string | undefined> {
  const { protocol, flags, fallbackOf, upstreamAuditId } = facts;
  const argv = facts.argv && maskOf(facts).argv(facts.argv);
  const kept = argv && bounds.list("argv", argv, MAX.argvBytes, MAX.argvItems);
  return {
    "postern.dev/protocol": protocol && bounds.text("protocol", protocol, MAX.nameBytes),
    "postern.dev/argv": kept && safeJson(kept),
    "postern.dev/argv-sha256": bounds.cut.includes("argv") ? sha256(JSON.stringify(argv)) : undefined,
    "postern.dev/stdin": flags?.stdin.toString(),
    "postern.dev/stdout": flags?.stdout.toString(),
    "postern.dev/stderr": flags?.stderr.toString(),
    "postern.dev/tty": flags?.tty.toString(),
    "postern.dev/fallback-of": fallbackOf,
    "postern.dev/upstream-audit-id": upstreamAuditId &&
      bounds.text("upstream-audit-id", upstreamAuditId, MAX.nameBytes),
  };
}

function targetAnnotations(target: AuditTarget, bounds: Bounds): Record<string, string | undefined> {
  const short = (name: string, value: string | undefined) =>
    value === undefined ? undefined : bounds.text(name, value, MAX.nameBytes);
  return {
    "postern.dev/namespace": short("namespace", target.namespace),
    "postern.dev/pod": short("pod", target.podName),
    "postern.dev/pod-uid": short("pod-uid", target.podUid),
    "postern.dev/node": short("node", target.nodeName),
    "postern.dev/container": short("container", target.container),
    "postern.dev/container-kind": target.containerKind,
    "postern.dev/image": short("image", target.image),
    "postern.dev/image-id": short("image-id", target.imageId),
  };
}

function userOf({ username, uid, groups, extra }: AuditUser, name: string, bounds: Bounds): AuditUser {
  return {
    ...(username !== undefined && { username: bounds.text(`${name}.username`, username, MAX.nameBytes) }),
    ...(uid && { uid: bounds.text(`${name}.uid`, uid, MAX.nameBytes) }),
    ...(groups && { groups: bounds.list(`${name}.groups`, groups, MAX.groupsBytes, MAX.listItems) }),
    ...(extra && Object.keys(extra).length > 0 && { extra: extraOf(extra, `${name}.extra`, bounds) }),
  };
}

/** Keys and values share one bound. What does not fit is left out key by key, so that none lacks its values. */
function extraOf(extra: Readonly<Record<string, readonly string[]>>, name: string, bounds: Bounds) {
  const kept = new Map<string, readonly string[]>();
  let left = MAX.extraBytes;
  for (const [key, values] of Object.entries(extra)) {
    const [keptKey, ...keptValues] = bounds.list(name, [key, ...values], left, MAX.listItems);
    if (keptKey === undefined) break;
    kept.set(keptKey, keptValues);
    left -= safeJson([keptKey, ...keptValues]).length;
  }
  return Object.fromEntries(kept);
}

function objectReference(reference: ObjectReference, target: AuditTarget | undefined, bounds: Bounds) {
  const { resource, namespace, name, uid = target?.podUid, apiGroup, apiVersion, subresource } = reference;
  const cut: Record<string, string | undefined> = { namespace, name, uid, apiGroup, apiVersion, subresource };
  return {
    resource: bounds.text("objectRef.resource", resource, MAX.nameBytes),
    ...defined(cut, (key, value) => bounds.text(`objectRef.${key}`, value, MAX.nameBytes)),
  };
}

/** The entries that have a value. */
function defined(
  entries: Record<string, string | undefined>,
  map = (_key: string, value: string) => value,
): Record<string, string> {
  const kept: Record<string, string> = {};
  for (const [key, value] of Object.entries(entries)) {
    if (value !== undefined && value !== "") kept[key] = map(key, value);
  }
  return kept;
}

function total(streams: AuditEnd["streams"], key: "bytesIn" | "bytesOut"): string {
  return streams.reduce((sum, stream) => sum + stream[key], 0).toString();
}

/** `{"stdout":{"streams":1,"bytesIn":0,"bytesOut":12}}` */
function sumsByName(streams: AuditEnd["streams"], bounds: Bounds): string {
  const sums = new Map<string, { streams: number; bytesIn: number; bytesOut: number }>();
  for (const { name, bytesIn, bytesOut, count = 1 } of streams) {
    // The names of a session's streams are few; whatever else comes shares the last entry.
    const known = sums.has(name) || sums.size < MAX.streamNames;
    const key = known ? bounds.text("streams", name, MAX.nameBytes) : "";
    const sum = sums.get(key) ?? { streams: 0, bytesIn: 0, bytesOut: 0 };
    sums.set(key, {
      streams: sum.streams + count,
      bytesIn: sum.bytesIn + bytesIn,
      bytesOut: sum.bytesOut + bytesOut,
    });
  }
  return safeJson(Object.fromEntries(sums));
}

/**
 * Manifests as JSON. Where they are longer than an event may be, files are left out from the end until they are not,
 * and a manifest that lacks some says so.
 */
function filesJson(manifests: readonly FileManifest[], bounds: Bounds): string {
  const most = Math.max(...manifests.map(({ files = [] }) => files.length));
  for (let kept = most; kept > 0; kept >>= 1) {
    const json = safeJson(manifests.map((each) => withFiles(each, kept)));
    // Each unit is a byte at least, and all that is not ASCII costs three at most.
    if (json.length * 3 <= MAX.filesBytes || new TextEncoder().encode(json).length <= MAX.filesBytes) {
      return json;
    }
  }
  return bounds.text("files", safeJson(manifests.map((each) => withFiles(each, 0))), MAX.filesBytes);
}

function withFiles(manifest: FileManifest, kept: number): FileManifest {
  const { files } = manifest;
  if (files === undefined || files.length <= kept) return manifest;
  return { ...manifest, files: files.slice(0, kept), truncated: true };
}

/** RFC 3339 with microseconds, as `metav1.MicroTime`; the clock has milliseconds. */
function timestamp(date: Date): string {
  return date.toISOString().replace("Z", "000Z");
}

function sha256(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}
