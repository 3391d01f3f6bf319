/** Events as the gateway writes them, for tests of the index. */

import {
  type AuditEvent,
  connectionEvent,
  decisionEvent,
  endEvent,
  type Facts,
  refusalEvent,
  startEvent,
  streamEvent,
} from "../audit/event.ts";

/** What of a session a test says. */
export interface Scene {
  auditId: string;
  /** Minutes after noon. */
  minute: number;
  user: string;
  impersonatedUser: string;
  namespace: string;
  pod: string;
  container: string;
  kind: "exec" | "attach" | "portforward";
  argv: readonly string[];
  privileged: boolean;
}

const NOON_MS = Date.parse("2026-11-21T12:00:00Z");

/** Milliseconds after the scene's begin. */
function at({ minute = 0 }: Partial<Scene>, ms: number): Date {
  return new Date(NOON_MS + minute * 60_000 + ms);
}

function factsOf(scene: Partial<Scene>): Facts {
  const { auditId = "00000000-0000-4000-8000-000000000001", user = "alice", impersonatedUser } = scene;
  const { namespace = "default", pod = "web", kind = "exec", argv = ["sh", "-c", "id"] } = scene;
  return {
    auditId,
    receivedAt: at(scene, 0),
    sourceIps: ["192.0.2.7"],
    userAgent: "kubectl/v1.36.0",
    requestUri: `/api/v1/namespaces/${namespace}/pods/${pod}/${kind}`,
    verb: "create",
    user: { username: user },
    ...(impersonatedUser !== undefined && { impersonatedUser: { username: impersonatedUser } }),
    objectRef: { resource: "pods", namespace, name: pod, apiVersion: "v1", subresource: kind },
    protocol: "WebSocket v5.channel.k8s.io",
    ...(kind === "exec" && { argv, flags: { stdin: true, stdout: true, stderr: true, tty: false } }),
  };
}

function targetOf({ namespace = "default", pod = "web", container = "main" }: Partial<Scene>) {
  const containerKind = "regular";
  return { namespace, podName: pod, podUid: "uid-1", nodeName: "node1", container, containerKind };
}

const NOT_PRIVILEGED = { allowed: true, rule: "privileged-container", reason: "not privileged" };
const ADMIN = { ...NOT_PRIVILEGED, reason: "is a cluster-admin", obligations: [{ type: "record" }] };
const FORBIDDEN = { allowed: false, rule: "privileged-container", reason: "only cluster-admins may open it" };

/** A session that was decided, opened, had its streams, and ended. */
export function wholeSession(scene: Partial<Scene> = {}): AuditEvent[] {
  const facts = factsOf(scene);
  const target = targetOf(scene);
  const streams = ["stdin", "stdout", "stderr"].map((name, index) => ({
    name,
    id: 2 * index + 1,
    bytesIn: index === 0 ? 3 : 0,
    bytesOut: index === 0 ? 0 : 40 + index,
    openedAt: at(scene, 20),
    durationMs: 900,
    endedBy: "upstream",
  }));
  return [
    ...openSession(scene),
    ...streams.map((stream) => streamEvent(facts, target, stream, at(scene, 920))),
    endEvent(facts, target, {
      reason: "command_ended",
      by: "upstream",
      message: "the command ended with exit code 7",
      exitCode: 7,
      streams,
      durationMs: 1000,
    }, at(scene, 1000)),
  ];
}

/** A session that was decided and opened, and goes on. */
export function openSession(scene: Partial<Scene> = {}): AuditEvent[] {
  const facts = factsOf(scene);
  const target = targetOf(scene);
  const upstream = "192.0.2.1:10250";
  return [
    decisionEvent(facts, target, scene.privileged ? ADMIN : NOT_PRIVILEGED, at(scene, 5)),
    startEvent(facts, target, {
      upstream,
      clientProtocol: "WebSocket v5.channel.k8s.io",
      upstreamProtocol: "SPDY/3.1 v4.channel.k8s.io",
    }, at(scene, 20)),
  ];
}

/** An attempt that the policy forbade. */
export function deniedSession(scene: Partial<Scene> = {}): AuditEvent[] {
  const facts = factsOf(scene);
  const refusal = { code: 403, reason: "Forbidden", message: FORBIDDEN.reason, rule: FORBIDDEN.rule };
  return [
    decisionEvent(facts, targetOf(scene), FORBIDDEN, at(scene, 5)),
    refusalEvent(facts, targetOf(scene), refusal, at(scene, 6)),
  ];
}

/** An attempt by somebody whom the API server does not allow it: the policy was not asked. */
export function unauthorizedSession(scene: Partial<Scene> = {}): AuditEvent[] {
  const message = `User "${scene.user}" cannot create pods/exec`;
  const refusal = { code: 403, reason: "Forbidden", message, rule: "authorization" };
  return [refusalEvent(factsOf(scene), undefined, refusal, at(scene, 6))];
}

/** A port-forward with one connection that passed and one that was refused. */
export function portForward(scene: Partial<Scene> = {}): AuditEvent[] {
  const facts = factsOf({ ...scene, kind: "portforward" });
  const target = targetOf(scene);
  const connection = { bytesIn: 1, bytesOut: 2, openedAt: at(scene, 30), durationMs: 5, endedBy: "client" };
  return [
    ...openSession({ ...scene, kind: "portforward" }),
    connectionEvent(facts, target, { ...connection, requestId: "0", port: 8080 }, at(scene, 35)),
    connectionEvent(facts, target, {
      ...connection,
      requestId: "1",
      port: 22,
      error: "port 22 may not be forwarded",
      isDenied: true,
    }, at(scene, 36)),
    endEvent(facts, target, {
      reason: "client_closed",
      by: "client",
      message: "the client closed the session",
      streams: [{ name: "data", bytesIn: 1, bytesOut: 2, count: 2 }],
      durationMs: 60,
    }, at(scene, 60)),
  ];
}
