import { OTLPLogExporter } from "@opentelemetry/exporter-logs-otlp-http";
import { LoggerProvider, SimpleLogRecordProcessor } from "@opentelemetry/sdk-logs";
import assert from "node:assert/strict";
import { type AuditEvent, decisionEvent, endEvent, type Facts, refusalEvent } from "../event.ts";
import { SinkJournal } from "../journal.ts";
import { safeJson } from "../line.ts";
import { OtlpSink, type OtlpSinkOptions } from "./otlp.ts";
import { attributesOf, type LogRecord, logsRequest } from "./otlp_logs.ts";
import { TestReceiver, until } from "./test_receiver.ts";

const FACTS: Facts = {
  auditId: "7a1b",
  receivedAt: new Date("2026-01-02T03:04:05.678Z"),
  sourceIps: ["192.0.2.7", "198.51.100.1"],
  userAgent: "kubectl/v1.34.0",
  requestUri: "/api/v1/namespaces/prod/pods/web/exec?command=id",
  verb: "create",
  user: { username: "alice@example.org", uid: "u-1", groups: ["dev", "system:authenticated"] },
  impersonatedUser: { username: "bob" },
  objectRef: {
    resource: "pods",
    namespace: "prod",
    name: "web",
    uid: "p-1",
    apiVersion: "v1",
    subresource: "exec",
  },
  argv: ["sh", "-c", "echo '\u202e\u0000'"],
};

const TARGET = { namespace: "prod", podName: "web", podUid: "p-1", nodeName: "node-1" };
const NOW = new Date("2026-01-02T03:04:06.001Z");
const ALLOWED = decisionEvent(FACTS, undefined, { allowed: true, rule: "default", reason: "" }, NOW);
const DENIED = decisionEvent(FACTS, undefined, { allowed: false, rule: "privileged", reason: "no" }, NOW);

/** A test with a collector, and a sink that loses no time. */
function otlpTest(
  name: string,
  body: (scene: {
    receiver: TestReceiver;
    failures: string[];
    start(more?: Partial<OtlpSinkOptions>): OtlpSink & Disposable;
  }) => Promise<void>,
): void {
  Deno.test({
    name,
    sanitizeOps: true,
    sanitizeResources: true,
    fn: async () => {
      await using receiver = new TestReceiver();
      const failures: string[] = [];
      await body({
        receiver,
        failures,
        start: (more = {}) => {
          const options: OtlpSinkOptions = {
            url: `http://127.0.0.1:${receiver.port}/v1/logs`,
            timeoutSeconds: 30,
            required: false,
            batch: { maxEvents: 100 },
            retry: { initialBackoffSeconds: 0.005, maxBackoffSeconds: 0.02 },
            queue: { maxEvents: 1000, maxBytes: 1 << 20 },
            ...more,
          };
          const sink = new OtlpSink(options, (error) => failures.push(String(error)));
          return Object.assign(sink, { [Symbol.dispose]: () => sink.close() });
        },
      });
    },
  });
}

function lines(...events: AuditEvent[]): Uint8Array {
  return new TextEncoder().encode(events.map((event) => `${safeJson(event)}\n`).join(""));
}

/** The records of what was posted. */
function recordsOf(receiver: TestReceiver): LogRecord[] {
  return receiver.posted.flatMap(({ text }) =>
    JSON.parse(text).resourceLogs.flatMap((resource: { scopeLogs: { logRecords: LogRecord[] }[] }) =>
      resource.scopeLogs.flatMap(({ logRecords }) => logRecords)
    )
  );
}

function numbered(number: number): AuditEvent {
  return { ...ALLOWED, auditID: `${number}` };
}

function auditIds(receiver: TestReceiver): string[] {
  return recordsOf(receiver).map(({ body }) => JSON.parse(body.stringValue).auditID);
}

otlpTest(
  "OtlpSink sends log records as OpenTelemetry's own exporter writes them",
  async ({ receiver, start }) => {
    using sink = start();
    await sink.write(lines(ALLOWED, DENIED));
    const ours = recordsOf(receiver);

    receiver.posted.length = 0;
    const exporter = new OTLPLogExporter({
      url: `http://127.0.0.1:${receiver.port}/v1/logs`,
      keepAlive: false,
    });
    const provider = new LoggerProvider({
      processors: [new SimpleLogRecordProcessor({ exporter })],
      logRecordLimits: { attributeCountLimit: Infinity },
    });
    for (const [index, event] of [ALLOWED, DENIED].entries()) {
      provider.getLogger("postern.dev/audit").emit({
        timestamp: NOW,
        observedTimestamp: NOW,
        eventName: "postern.decision",
        severityNumber: index === 0 ? 9 : 13,
        severityText: index === 0 ? "INFO" : "WARN",
        body: safeJson(event),
        attributes: Object.fromEntries(
          Object.entries(attributesOf(event)).map((
            [key, value],
          ) => [key, value instanceof Array ? [...value] : value]),
        ),
      });
    }
    await provider.shutdown();
    const theirs = recordsOf(receiver);
    assert.equal(theirs.length, 2);
    assert.deepEqual(ours, theirs);
    assert.equal(receiver.posted[0]?.headers.get("content-type"), "application/json");
  },
);

Deno.test("logsRequest tells user, object, stage and annotations by name, and the whole event as body", () => {
  const [record] = logsRequest([DENIED]).resourceLogs[0]?.scopeLogs[0]?.logRecords ?? [];
  assert.deepEqual(JSON.parse(record?.body.stringValue ?? ""), DENIED);
  const told = attributesOf(DENIED);
  const want = {
    "audit.id": "7a1b",
    "audit.stage": "RequestReceived",
    "audit.verb": "create",
    "user.name": "alice@example.org",
    "user.id": "u-1",
    "user.roles": ["dev", "system:authenticated"],
    "audit.impersonated_user": "bob",
    "client.address": "192.0.2.7",
    "user_agent.original": "kubectl/v1.34.0",
    "audit.object.resource": "pods",
    "audit.object.subresource": "exec",
    "audit.object.name": "web",
    "audit.object.uid": "p-1",
    "audit.object.api_version": "v1",
    "k8s.namespace.name": "prod",
    "k8s.pod.name": "web",
    "k8s.pod.uid": "p-1",
  };
  assert.deepEqual(told, { ...want, ...DENIED.annotations });
});

const END = { by: "client", message: "m", streams: [], durationMs: 1 } as const;
const severities: { name: string; event: AuditEvent; want: string }[] = [
  { name: "an allowed request", event: ALLOWED, want: "INFO 9" },
  { name: "a denied one", event: DENIED, want: "WARN 13" },
  {
    name: "a session that ended by itself",
    event: endEvent(FACTS, TARGET, { ...END, reason: "command_ended" }),
    want: "INFO 9",
  },
  {
    name: "a session that broke",
    event: endEvent(FACTS, TARGET, { ...END, reason: "upstream_vanished" }),
    want: "WARN 13",
  },
  {
    name: "a refusal",
    event: refusalEvent(FACTS, undefined, { code: 401, reason: "Unauthorized", message: "" }),
    want: "WARN 13",
  },
  {
    name: "a failure of ours",
    event: refusalEvent(FACTS, undefined, { code: 503, reason: "ServiceUnavailable", message: "" }),
    want: "ERROR 17",
  },
];
for (const { name, event, want } of severities) {
  Deno.test(`logsRequest: ${name} is ${want}`, () => {
    const [record] = logsRequest([event]).resourceLogs[0]?.scopeLogs[0]?.logRecords ?? [];
    assert.equal(`${record?.severityText} ${record?.severityNumber}`, want);
  });
}

Deno.test("logsRequest: a time has its microseconds", () => {
  const event = { ...ALLOWED, stageTimestamp: "2026-01-02T03:04:05.678901Z" };
  const [record] = logsRequest([event]).resourceLogs[0]?.scopeLogs[0]?.logRecords ?? [];
  assert.equal(record?.timeUnixNano, "1767323045678901000");
});

otlpTest("OtlpSink sends no more events in one request than it may", async ({ receiver, start }) => {
  using sink = start({ batch: { maxEvents: 3 } });
  await sink.write(lines(...Array.from({ length: 7 }, (_, number) => numbered(number))));
  assert.equal(receiver.posted.length, 3);
  assert.deepEqual(auditIds(receiver), ["0", "1", "2", "3", "4", "5", "6"]);
});

otlpTest(
  "OtlpSink shows its headers, and tells nothing of a file that is wrong",
  async ({ receiver, start }) => {
    const file = await Deno.makeTempFile();
    try {
      await Deno.writeTextFile(file, "Authorization: Bearer secret-one\n\nX-Tenant: a b\n");
      using sink = start({ headersFile: file, required: true });
      await sink.write(lines(ALLOWED));
      const { headers } = receiver.posted[0] ?? { headers: new Headers() };
      assert.deepEqual([headers.get("authorization"), headers.get("x-tenant")], ["Bearer secret-one", "a b"]);
      for (const text of ["secret-two", "a\u0001: secret-two", ": secret-two", "X: secret\u0001two", "X:"]) {
        await Deno.writeTextFile(file, `A: b\n${text}`);
        const isTold = { message: 'no answer: line 2 of the headers file is not "name: value"' };
        await assert.rejects(sink.write(lines(ALLOWED)), isTold, text);
      }
    } finally {
      await Deno.remove(file);
    }
  },
);

otlpTest(
  "OtlpSink: no session waits for a collector that is down, and it has the events later",
  async (scene) => {
    const { receiver, failures, start } = scene;
    receiver.answer = () => new Response(null, { status: 503 });
    const other = { name: "memory", write: () => Promise.resolve(), close: () => {} };
    const journal = new SinkJournal([other, start()]);
    for (let number = 0; number < 5; number++) await journal.append([numbered(number)]);
    assert.equal(journal.status().healthy, true);
    await until(() => failures.length > 2);
    assert.match(failures[0] ?? "", /answered 503/);
    receiver.answer = () => new Response("{}");
    await until(() => recordsOf(receiver).length === 5);
    await journal.close();
    assert.deepEqual(auditIds(receiver), ["0", "1", "2", "3", "4"]);
  },
);

otlpTest(
  "OtlpSink: what does not fit in its queue is lost to it alone, and the log says so once",
  async (scene) => {
    const held = Promise.withResolvers<void>();
    scene.receiver.answer = async () => {
      await held.promise;
      return new Response("{}");
    };
    const other = { name: "memory", write: () => Promise.resolve(), close: () => {} };
    const sink = scene.start({ queue: { maxEvents: 3, maxBytes: 1 << 20 } });
    const log: string[] = [];
    const journal = new SinkJournal([other, sink], {
      onFailure: (name, error) => log.push(`${name}: ${error}`),
    });
    for (let number = 0; number < 6; number++) await journal.append([numbered(number)]);
    assert.equal(log.length, 1);
    assert.match(log[0] ?? "", /^otlp http.*: AuditError: .*3 events of [0-9]+ bytes are waiting$/);
    held.resolve();
    await until(() => recordsOf(scene.receiver).length === 3);
    await journal.append([numbered(6)]);
    await journal.close();
    assert.deepEqual(auditIds(scene.receiver), ["0", "1", "2", "6"]);
  },
);

otlpTest("OtlpSink that is not required does not count where one sink is enough", async ({ start }) => {
  const failing = { name: "broken", write: () => Promise.reject(new Error("no disk")), close: () => {} };
  const journal = new SinkJournal([failing, start()], { requireAll: false });
  await assert.rejects(journal.append([ALLOWED]), /broken: no disk/);
  assert.equal(journal.status().healthy, false);
  await journal.close();
});

otlpTest("OtlpSink alone and not required is no journal: no audit, no session", ({ start }) => {
  using sink = start();
  assert.throws(() => new SinkJournal([sink]), /needs a sink that counts/);
  return Promise.resolve();
});

for (const status of [400, 401, 429, 503]) {
  otlpTest(`OtlpSink that is required fails with the collector: ${status}`, async ({ receiver, start }) => {
    receiver.answer = () => new Response(null, { status });
    const journal = new SinkJournal([start({ required: true })]);
    await assert.rejects(journal.append([ALLOWED]), {
      code: "sink_failed",
      message: new RegExp(`answered ${status}`),
    });
    receiver.answer = () => new Response("{}");
    await journal.append([ALLOWED]);
    await journal.close();
  });
}

for (const rejected of [2, "2"]) {
  otlpTest(
    `OtlpSink says so when the collector rejects records, ${typeof rejected}`,
    async ({ receiver, start }) => {
      receiver.answer = () =>
        Response.json({ partialSuccess: { rejectedLogRecords: rejected, errorMessage: "x" } });
      using sink = start();
      await assert.rejects(sink.write(lines(ALLOWED, DENIED)), /rejected 2 of the events/);
    },
  );
}

otlpTest(
  "OtlpSink does not ask again what the protocol says is final, and goes on",
  async ({ receiver, start }) => {
    let asked = 0;
    receiver.answer = () => new Response(null, { status: ++asked === 1 ? 400 : 200 });
    using sink = start();
    await assert.rejects(sink.write(lines(numbered(0))), /answered 400/);
    await sink.write(lines(numbered(1)));
    assert.deepEqual([asked, auditIds(receiver)], [2, ["1"]]);
  },
);
