import assert from "node:assert/strict";
import fc from "fast-check";
import { KEEP_SECRETS_IN_CLEAR } from "./argv/argv_mask.ts";
import {
  type AuditEvent,
  type AuditTarget,
  connectionEvent,
  decisionEvent,
  endEvent,
  type Facts,
  recheckEvent,
  refusalEvent,
  refusalsEvent,
  responseEvent,
  retentionEvent,
  startEvent,
  streamEvent,
} from "./event.ts";
import { safeJson } from "./line.ts";

const AT = new Date("2026-03-01T10:00:01.500Z");

const facts: Facts = {
  auditId: "5f0c8d4e-3a53-4d0f-9c0a-0c4f3a2f8f11",
  receivedAt: new Date("2026-03-01T10:00:00.123Z"),
  sourceIps: ["192.0.2.7"],
  userAgent: "kubectl/v1.32.0",
  requestUri: "/api/v1/namespaces/default/pods/web/exec?command=sh&command=-c&command=id&stdout=true",
  verb: "create",
  user: { username: "alice", uid: "u-1", groups: ["dev", "system:authenticated"], extra: {} },
  objectRef: { resource: "pods", namespace: "default", name: "web", apiVersion: "v1", subresource: "exec" },
  protocol: "SPDY/3.1 v4.channel.k8s.io",
  argv: ["sh", "-c", "id"],
  flags: { stdin: false, stdout: true, stderr: false, tty: false },
};

const target: AuditTarget = {
  namespace: "default",
  podName: "web",
  podUid: "0b1c",
  nodeName: "node-1",
  container: "app",
  containerKind: "regular",
  image: "nginx:1.27",
};

/** What every event of this request has. */
const common = {
  kind: "Event",
  apiVersion: "audit.k8s.io/v1",
  level: "Metadata",
  auditID: facts.auditId,
  requestURI: facts.requestUri,
  verb: "create",
  user: { username: "alice", uid: "u-1", groups: ["dev", "system:authenticated"] },
  sourceIPs: ["192.0.2.7"],
  userAgent: "kubectl/v1.32.0",
  objectRef: {
    resource: "pods",
    namespace: "default",
    name: "web",
    uid: "0b1c",
    apiVersion: "v1",
    subresource: "exec",
  },
  requestReceivedTimestamp: "2026-03-01T10:00:00.123000Z",
  stageTimestamp: "2026-03-01T10:00:01.500000Z",
};
const annotations = {
  "postern.dev/protocol": "SPDY/3.1 v4.channel.k8s.io",
  "postern.dev/argv": '["sh","-c","id"]',
  "postern.dev/stdin": "false",
  "postern.dev/stdout": "true",
  "postern.dev/stderr": "false",
  "postern.dev/tty": "false",
  "postern.dev/namespace": "default",
  "postern.dev/pod": "web",
  "postern.dev/pod-uid": "0b1c",
  "postern.dev/node": "node-1",
  "postern.dev/container": "app",
  "postern.dev/container-kind": "regular",
  "postern.dev/image": "nginx:1.27",
};

const end = { by: "upstream", message: "the command ended", durationMs: 2500.4 } as const;
const streams = [
  { name: "stdout", bytesIn: 0, bytesOut: 12 },
  { name: "stdout", bytesIn: 0, bytesOut: 1 },
  { name: "stdin", bytesIn: 5, bytesOut: 0 },
];

const events: { name: string; event: AuditEvent; want: Partial<AuditEvent> }[] = [
  {
    name: "decisionEvent, allowed",
    event: decisionEvent(facts, target, {
      allowed: true,
      rule: "privileged-container",
      reason: "not privileged",
      obligations: [{ type: "record" }],
    }, AT),
    want: {
      stage: "RequestReceived",
      annotations: {
        "postern.dev/event": "decision",
        "authorization.k8s.io/decision": "allow",
        "authorization.k8s.io/reason": "not privileged",
        "postern.dev/rule": "privileged-container",
        "postern.dev/obligations": '["record"]',
      },
    },
  },
  {
    name: "decisionEvent, denied",
    event: decisionEvent(facts, target, { allowed: false, rule: "privileged-container", reason: "no" }, AT),
    want: {
      stage: "RequestReceived",
      annotations: {
        "postern.dev/event": "decision",
        "authorization.k8s.io/decision": "forbid",
        "authorization.k8s.io/reason": "no",
        "postern.dev/rule": "privileged-container",
        "postern.dev/obligations": "[]",
      },
    },
  },
  {
    name: "startEvent",
    event: startEvent(
      facts,
      target,
      { upstream: "10.0.0.1:10250", clientProtocol: "v5", upstreamProtocol: "v4" },
      AT,
    ),
    want: {
      stage: "ResponseStarted",
      responseStatus: { metadata: {}, code: 101 },
      annotations: {
        "postern.dev/event": "start",
        "postern.dev/upstream": "10.0.0.1:10250",
        "postern.dev/client-protocol": "v5",
        "postern.dev/upstream-protocol": "v4",
      },
    },
  },
  {
    name: "streamEvent",
    event: streamEvent(facts, target, {
      name: "stdout",
      id: 3,
      bytesIn: 0,
      bytesOut: 39,
      openedAt: new Date("2026-03-01T10:00:00.500Z"),
      durationMs: 1000.6,
      endedBy: "closed",
    }, AT),
    want: {
      stage: "ResponseStarted",
      responseStatus: { metadata: {}, code: 101 },
      annotations: {
        "postern.dev/event": "stream",
        "postern.dev/stream": "stdout",
        "postern.dev/stream-id": "3",
        "postern.dev/bytes-in": "0",
        "postern.dev/bytes-out": "39",
        "postern.dev/opened-at": "2026-03-01T10:00:00.500000Z",
        "postern.dev/duration-ms": "1001",
        "postern.dev/ended-by": "closed",
      },
    },
  },
  {
    name: "connectionEvent of one that was denied",
    event: connectionEvent(facts, target, {
      requestId: "4",
      port: 5432,
      bytesIn: 0,
      bytesOut: 0,
      openedAt: new Date("2026-03-01T10:00:00.500Z"),
      durationMs: 1.2,
      endedBy: "gateway",
      error: "port 5432 may not be forwarded",
      isDenied: true,
    }, AT),
    want: {
      stage: "ResponseStarted",
      responseStatus: {
        metadata: {},
        status: "Failure",
        message: "port 5432 may not be forwarded",
        code: 101,
      },
      annotations: {
        "authorization.k8s.io/decision": "forbid",
        "authorization.k8s.io/reason": "port 5432 may not be forwarded",
        "postern.dev/event": "connection",
        "postern.dev/port": "5432",
        "postern.dev/request-id": "4",
        "postern.dev/bytes-in": "0",
        "postern.dev/bytes-out": "0",
        "postern.dev/opened-at": "2026-03-01T10:00:00.500000Z",
        "postern.dev/duration-ms": "1",
        "postern.dev/ended-by": "gateway",
        "postern.dev/error": "port 5432 may not be forwarded",
      },
    },
  },
  {
    name: "endEvent of a command with an exit code",
    event: endEvent(facts, target, { ...end, reason: "command_ended", exitCode: 7, streams }, AT),
    want: {
      stage: "ResponseComplete",
      responseStatus: { metadata: {}, code: 101 },
      annotations: {
        "postern.dev/event": "end",
        "postern.dev/end-reason": "command_ended",
        "postern.dev/ended-by": "upstream",
        "postern.dev/message": "the command ended",
        "postern.dev/exit-code": "7",
        "postern.dev/bytes-in": "5",
        "postern.dev/bytes-out": "13",
        "postern.dev/streams":
          '{"stdout":{"streams":2,"bytesIn":0,"bytesOut":13},"stdin":{"streams":1,"bytesIn":5,"bytesOut":0}}',
        "postern.dev/duration-ms": "2500",
      },
    },
  },
  {
    name: "endEvent of a session that broke, with exit code unknown",
    event: endEvent(facts, target, { ...end, reason: "upstream_vanished", message: "lost", streams: [] }, AT),
    want: {
      stage: "ResponseComplete",
      responseStatus: { metadata: {}, status: "Failure", message: "lost", code: 101 },
      annotations: {
        "postern.dev/event": "end",
        "postern.dev/end-reason": "upstream_vanished",
        "postern.dev/ended-by": "upstream",
        "postern.dev/message": "lost",
        "postern.dev/bytes-in": "0",
        "postern.dev/bytes-out": "0",
        "postern.dev/streams": "{}",
        "postern.dev/duration-ms": "2500",
      },
    },
  },
  {
    name: "responseEvent",
    event: responseEvent(facts, target, { code: 200, bytesOut: 4096, durationMs: 12.6 }, AT),
    want: {
      stage: "ResponseComplete",
      responseStatus: { metadata: {}, code: 200 },
      annotations: {
        "postern.dev/event": "response",
        "postern.dev/bytes-out": "4096",
        "postern.dev/duration-ms": "13",
      },
    },
  },
  {
    name: "responseEvent of one that broke off",
    event: responseEvent(facts, target, { code: 200, bytesOut: 1, durationMs: 5, error: "gone" }, AT),
    want: {
      stage: "ResponseComplete",
      responseStatus: { metadata: {}, status: "Failure", message: "gone", code: 200 },
      annotations: {
        "postern.dev/event": "response",
        "postern.dev/bytes-out": "1",
        "postern.dev/duration-ms": "5",
        "postern.dev/error": "gone",
      },
    },
  },
  {
    name: "refusalEvent by a rule",
    event: refusalEvent(
      facts,
      target,
      { code: 403, reason: "Forbidden", message: "no", rule: "privileged" },
      AT,
    ),
    want: {
      stage: "ResponseComplete",
      responseStatus: { metadata: {}, status: "Failure", message: "no", reason: "Forbidden", code: 403 },
      annotations: {
        "postern.dev/event": "refusal",
        "authorization.k8s.io/decision": "forbid",
        "authorization.k8s.io/reason": "no",
        "postern.dev/rule": "privileged",
      },
    },
  },
];
for (const { name, event, want } of events) {
  Deno.test(`${name} is the API server's shape`, () => {
    assert.deepEqual(event, { ...common, ...want, annotations: { ...annotations, ...want.annotations } });
  });
}

Deno.test("refusalEvent of a request without user or target has neither, and claims no decision", () => {
  const { auditId, receivedAt, sourceIps, verb } = facts;
  const refusal = { code: 401, reason: "Unauthorized", message: "Unauthorized" };
  const event = refusalEvent(
    { auditId, receivedAt, sourceIps, verb, requestUri: "/" },
    undefined,
    refusal,
    AT,
  );
  assert.deepEqual(event.user, {});
  assert.equal(event.objectRef, undefined);
  assert.deepEqual(event.annotations, { "postern.dev/event": "refusal" });
});

Deno.test("an impersonated request names both: user authenticated, impersonatedUser is in effect", () => {
  const event = decisionEvent(
    { ...facts, impersonatedUser: { username: "bob", groups: ["ops"], extra: { reason: ["drill"] } } },
    target,
    { allowed: true, rule: "r", reason: "" },
  );
  assert.equal(event.user.username, "alice");
  assert.deepEqual(event.impersonatedUser, {
    username: "bob",
    groups: ["ops"],
    extra: { reason: ["drill"] },
  });
});

Deno.test("an event that was cut says where, and whose argv it was", () => {
  const long = "é".repeat(40000);
  const event = decisionEvent(
    { ...facts, userAgent: long, argv: ["sh", long, "rm -rf /"] },
    target,
    { allowed: true, rule: "r", reason: "ok" },
  );
  assert.equal(event.annotations["postern.dev/truncated"], '["userAgent","argv"]');
  assert.equal(event.userAgent, "é".repeat(512));
  assert.match(event.annotations["postern.dev/argv-sha256"] ?? "", /^[0-9a-f]{64}$/);
  const [shell, kept, ...rest] = JSON.parse(event.annotations["postern.dev/argv"] ?? "");
  assert.deepEqual([shell, rest], ["sh", []]);
  assert.ok(long.startsWith(kept) && kept.length > 32000);
});

Deno.test("no event says a secret of the command: not argv, nor the URI, nor what is told of it", () => {
  const secret = "Hunter2-hunter2";
  const argv = ["sh", "-c", `mysql -p'${secret}' -e x`, `--token=${secret}`];
  const query = argv.map((word) => `command=${encodeURIComponent(word)}`).join("&");
  const secretive: Facts = { ...facts, argv, requestUri: `/api/v1/namespaces/a/pods/b/exec?${query}` };
  const message = `exec failed: ${argv.join(" ")}`;
  const made = [
    decisionEvent(secretive, target, { allowed: false, rule: "r", reason: message }, AT),
    startEvent(secretive, target, { upstream: "u", clientProtocol: "c", upstreamProtocol: "u" }, AT),
    endEvent(secretive, target, { ...end, reason: "gateway_error", message, streams: [] }, AT),
    responseEvent(secretive, target, { code: 500, bytesOut: 0, durationMs: 1, error: message }, AT),
    refusalEvent(secretive, target, { code: 403, reason: "Forbidden", message }, AT),
  ];
  for (const event of made) {
    const line = safeJson(event);
    assert.ok(!line.includes(secret), line);
    assert.match(event.requestURI, /command=--token%3D\(masked:[0-9a-f]{16}\)/);
  }
});

Deno.test("an event says the secrets of the command where the mask keeps them", () => {
  const argv = ["x", "--token=hunter2"];
  const requestUri = "/exec?command=x&command=--token%3Dhunter2";
  const event = startEvent(
    { ...facts, argv, requestUri, commandMask: KEEP_SECRETS_IN_CLEAR },
    target,
    { upstream: "u", clientProtocol: "c", upstreamProtocol: "u" },
  );
  assert.equal(event.requestURI, requestUri);
  assert.equal(event.annotations["postern.dev/argv"], safeJson(argv));
});

Deno.test("endEvent says which files passed", () => {
  const manifests = [{ kind: "tar", direction: "in", files: [{ path: "a\u202e" }], truncated: false }];
  const event = endEvent(facts, target, { ...end, reason: "command_ended", streams: [], manifests }, AT);
  const json = event.annotations["postern.dev/files"] ?? "";
  assert.deepEqual(JSON.parse(json), manifests);
  assert.ok(json.includes("\\u202e"));
});

Deno.test("endEvent leaves out files that would make it too long, and says so", () => {
  const files = Array.from({ length: 1000 }, (_, at) => ({ path: `${at}${"\u202e".repeat(500)}` }));
  const manifests = [{ kind: "tar", files, truncated: false }, {
    kind: "tar",
    files: [{ path: "b" }],
    truncated: false,
  }];
  const event = endEvent(facts, target, { ...end, reason: "command_ended", streams: [], manifests }, AT);
  const json = event.annotations["postern.dev/files"] ?? "";
  assert.ok(json.length <= 524288);
  const [many, few] = JSON.parse(json);
  assert.deepEqual([many.files, many.truncated], [files.slice(0, 125), true]);
  assert.deepEqual(few, manifests[1]);
});

Deno.test("a command that fits is not marked as cut", () => {
  const argv = ["sh", "-c", "x".repeat(60000), ""];
  const event = decisionEvent({ ...facts, argv }, target, { allowed: true, rule: "r", reason: "ok" });
  assert.equal(event.annotations["postern.dev/truncated"], undefined);
  assert.deepEqual(JSON.parse(event.annotations["postern.dev/argv"] ?? ""), argv);
});

Deno.test("whatever a client sends, an event stays below 2 MiB", () => {
  const huge = "\x1b".repeat(1 << 20);
  const many = Array.from({ length: 50000 }, () => "\x1b\u202e");
  const user = { username: huge, uid: huge, groups: many, extra: { [huge]: many, a: many, b: [huge] } };
  const event = endEvent(
    {
      ...facts,
      requestUri: huge,
      userAgent: huge,
      protocol: huge,
      argv: [huge, ...many],
      user,
      impersonatedUser: user,
      sourceIps: many,
      objectRef: { resource: huge, name: huge, namespace: huge, subresource: huge },
    },
    {
      namespace: huge,
      podName: huge,
      podUid: huge,
      nodeName: huge,
      container: huge,
      image: huge,
      imageId: huge,
    },
    {
      reason: "protocol_error",
      by: "client",
      message: huge,
      durationMs: 0,
      streams: many.map((name, index) => ({
        name: `${huge.slice(0, 2000)}${name}${index}`,
        bytesIn: 1,
        bytesOut: 1,
      })),
    },
  );
  const bytes = new TextEncoder().encode(safeJson(event)).length;
  assert.ok(bytes < 2 << 20, `${bytes} bytes`);
  assert.equal(event.annotations["postern.dev/bytes-in"], "50000");
});

Deno.test("any strings give an event of one line that parses back, with argv as it was", () => {
  const text = fc.string({ unit: "binary" });
  fc.assert(fc.property(fc.array(text), text, text, (argv, username, userAgent) => {
    const event = decisionEvent(
      { ...facts, argv, user: { username, groups: argv }, userAgent },
      target,
      { allowed: true, rule: "r", reason: username },
    );
    const line = safeJson(event);
    assert.doesNotMatch(line, /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u);
    const parsed = JSON.parse(line);
    assert.deepEqual(parsed, event);
    assert.deepEqual(JSON.parse(parsed.annotations["postern.dev/argv"] ?? ""), argv);
  }));
});

Deno.test("retentionEvent is of the gateway itself, and names the recording and its session", () => {
  const path = "2026/02/28/5f0c8d4e-3a53-4d0f-9c0a-0c4f3a2f8f11.rec";
  const modifiedAt = new Date("2026-02-28T10:00:00.000Z");
  const deletion = { path, bytes: 4096, modifiedAt, reason: "age", message: "older than 1 day" } as const;
  assert.deepEqual(retentionEvent(deletion, "a-1", AT), {
    kind: "Event",
    apiVersion: "audit.k8s.io/v1",
    level: "Metadata",
    auditID: "a-1",
    stage: "RequestReceived",
    requestURI: "",
    verb: "delete",
    user: {},
    sourceIPs: [],
    requestReceivedTimestamp: "2026-03-01T10:00:01.500000Z",
    stageTimestamp: "2026-03-01T10:00:01.500000Z",
    annotations: {
      "postern.dev/event": "retention",
      "postern.dev/recording": path,
      "postern.dev/session": "5f0c8d4e-3a53-4d0f-9c0a-0c4f3a2f8f11",
      "postern.dev/recording-bytes": "4096",
      "postern.dev/recording-modified-at": "2026-02-28T10:00:00.000000Z",
      "postern.dev/retention-reason": "age",
      "postern.dev/message": "older than 1 day",
    },
  });
});

const rechecks = [
  {
    name: "that nobody can tell any more",
    recheck: { isAnswered: false, graceMs: 300_000 },
    annotations: {
      "postern.dev/recheck": "unanswered",
      "postern.dev/message":
        "nobody can say whether live sessions may go on: they do, for as long as is granted",
      "postern.dev/grace-ms": "300000",
    },
  },
  {
    name: "that somebody can again",
    recheck: { isAnswered: true, durationMs: 1234.5 },
    annotations: {
      "postern.dev/recheck": "answered",
      "postern.dev/message": "all live sessions are known again to be allowed, or are over",
      "postern.dev/duration-ms": "1235",
    },
  },
] as const;
for (const { name, recheck, annotations } of rechecks) {
  Deno.test(`recheckEvent is of the gateway itself, and says ${name}`, () => {
    const event = recheckEvent(recheck, "a-1", AT);
    assert.deepEqual(
      [event.auditID, event.stage, event.user, event.objectRef, event.responseStatus],
      ["a-1", "RequestReceived", {}, undefined, undefined],
    );
    assert.deepEqual(event.annotations, { "postern.dev/event": "recheck", ...annotations });
  });
}

Deno.test("refusalsEvent is of nobody, and says how many were refused from where and when", () => {
  const counted = {
    auditId: "a-1",
    source: "2001:db8:0:0::/64",
    codes: new Map([[401, 3], [400, 1]]),
    firstAt: new Date("2026-03-01T10:00:00Z"),
    lastAt: new Date("2026-03-01T10:00:30Z"),
    lastAddress: "2001:db8::7",
  };
  const event = refusalsEvent(counted, "counted", AT);
  assert.deepEqual(
    [event.auditID, event.stage, event.user, event.sourceIPs, event.objectRef, event.responseStatus],
    ["a-1", "RequestReceived", {}, ["2001:db8::7"], undefined, undefined],
  );
  assert.deepEqual(event.annotations, {
    "postern.dev/event": "refusals",
    "postern.dev/refusals": "counted",
    "postern.dev/source": "2001:db8:0:0::/64",
    "postern.dev/message": "4 refusals of strangers from 2001:db8:0:0::/64 were not written one by one",
    "postern.dev/count": "4",
    "postern.dev/codes": '{"400":1,"401":3}',
    "postern.dev/first-at": "2026-03-01T10:00:00.000000Z",
    "postern.dev/last-at": "2026-03-01T10:00:30.000000Z",
  });
});
