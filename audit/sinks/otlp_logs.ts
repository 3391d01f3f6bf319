import type { AuditEvent } from "../event.ts";
import { safeJson } from "../line.ts";

/**
 * Events as an OTLP ExportLogsServiceRequest, in protobuf's JSON.
 *
 * Written here and not by OpenTelemetry's exporter, which takes its settings from the environment too, that the gateway
 * may not read, and which follows neither our deadlines nor our files of credentials. A test compares the two.
 *
 * | log record | of the event |
 * | --- | --- |
 * | time, observed time | `stageTimestamp` |
 * | severity | INFO; WARN where a request was denied or a session failed; ERROR where the answer was 500 or more |
 * | event name | `postern.<postern.dev/event>` |
 * | body | the whole event, as JSON |
 * | `audit.id`, `audit.stage`, `audit.verb` | `auditID`, `stage`, `verb` |
 * | `user.name`, `user.id`, `user.roles` | who authenticated: `username`, `uid`, `groups` |
 * | `audit.impersonated_user` | `impersonatedUser.username` |
 * | `client.address` | the first of `sourceIPs` |
 * | `user_agent.original` | `userAgent` |
 * | `audit.object.*`, `k8s.namespace.name`, and for pods `k8s.pod.name`, `k8s.pod.uid` | `objectRef` |
 * | `http.response.status_code` | `responseStatus.code` |
 * | `authorization.k8s.io/…`, `postern.dev/…` | the annotation of that name |
 *
 * @see https://github.com/open-telemetry/opentelemetry-proto opentelemetry/proto/logs/v1/logs.proto
 * @module
 */

/** A value, of the kinds that are used. */
type AnyValue = { stringValue: string } | { intValue: number } | {
  arrayValue: { values: { stringValue: string }[] };
};

interface KeyValue {
  key: string;
  value: AnyValue;
}

/** One event. */
export interface LogRecord {
  /** Nanoseconds since 1970: more than a number holds. */
  timeUnixNano: string;
  observedTimeUnixNano: string;
  severityNumber: number;
  severityText: string;
  eventName: string;
  body: { stringValue: string };
  attributes: KeyValue[];
  droppedAttributesCount: number;
}

/** The document that is posted. */
export interface LogsRequest {
  resourceLogs: {
    resource: { attributes: KeyValue[]; droppedAttributesCount: number };
    scopeLogs: { scope: { name: string }; logRecords: LogRecord[] }[];
  }[];
}

/** The events in one request. */
export function logsRequest(events: readonly AuditEvent[]): LogsRequest {
  const resource = { attributes: keyValues({ "service.name": "postern" }), droppedAttributesCount: 0 };
  const scopeLogs = [{ scope: { name: "postern.dev/audit" }, logRecords: events.map(logRecord) }];
  return { resourceLogs: [{ resource, scopeLogs }] };
}

function logRecord(event: AuditEvent): LogRecord {
  const time = unixNano(event.stageTimestamp);
  return {
    timeUnixNano: time,
    observedTimeUnixNano: time,
    ...severity(event),
    eventName: `postern.${event.annotations["postern.dev/event"] ?? "event"}`,
    body: { stringValue: safeJson(event) },
    attributes: keyValues(attributesOf(event)),
    droppedAttributesCount: 0,
  };
}

/** By outcome: what an operator should look at stands out. */
function severity({ responseStatus, annotations }: AuditEvent): {
  severityNumber: number;
  severityText: string;
} {
  const { code = 0, status } = responseStatus ?? {};
  if (code >= 500) return { severityNumber: 17, severityText: "ERROR" };
  const isDenied = annotations["authorization.k8s.io/decision"] === "forbid";
  if (isDenied || status === "Failure" || code >= 400) return { severityNumber: 13, severityText: "WARN" };
  return { severityNumber: 9, severityText: "INFO" };
}

/** What is told by name, so that it can be searched for. */
export function attributesOf(event: AuditEvent): Record<string, string | number | readonly string[]> {
  const { user, impersonatedUser, objectRef, responseStatus, sourceIPs: [client], userAgent } = event;
  const isPod = objectRef?.resource === "pods";
  const attributes: Record<string, string | number | readonly string[] | undefined> = {
    "audit.id": event.auditID,
    "audit.stage": event.stage,
    "audit.verb": event.verb,
    "user.name": user.username,
    "user.id": user.uid,
    "user.roles": user.groups,
    "audit.impersonated_user": impersonatedUser?.username,
    "client.address": client,
    "user_agent.original": userAgent,
    "audit.object.resource": objectRef?.resource,
    "audit.object.subresource": objectRef?.subresource,
    "audit.object.name": objectRef?.name,
    "audit.object.uid": objectRef?.uid,
    "audit.object.api_group": objectRef?.apiGroup,
    "audit.object.api_version": objectRef?.apiVersion,
    "k8s.namespace.name": objectRef?.namespace,
    "k8s.pod.name": isPod ? objectRef.name : undefined,
    "k8s.pod.uid": isPod ? objectRef.uid : undefined,
    "http.response.status_code": responseStatus?.code,
    ...event.annotations,
  };
  const told: Record<string, string | number | readonly string[]> = {};
  for (const [key, value] of Object.entries(attributes)) if (value !== undefined) told[key] = value;
  return told;
}

function keyValues(attributes: Record<string, string | number | readonly string[]>): KeyValue[] {
  return Object.entries(attributes).map(([key, value]) => ({ key, value: anyValue(value) }));
}

function anyValue(value: string | number | readonly string[]): AnyValue {
  if (typeof value === "string") return { stringValue: value };
  if (typeof value === "number") return { intValue: value };
  return { arrayValue: { values: value.map((each) => ({ stringValue: each })) } };
}

/** Of RFC 3339 with microseconds, which a Date would round. */
function unixNano(timestamp: string): string {
  const micros = /\.[0-9]{3}([0-9]{3})Z$/.exec(timestamp)?.[1] ?? "000";
  return (BigInt(Date.parse(timestamp)) * 1_000_000n + BigInt(micros) * 1_000n).toString();
}
